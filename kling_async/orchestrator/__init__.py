"""What stands between a submit and its result: slots, creates, doubts, questions.

`engine` puts the drivers of one account together. `submission` is one submit on its way; `submitter` sends it
when `limiter` has slots for it; `recovery` and `lookup` find out what became of a lost create; `poller` asks
about running tasks with `status_reader`; `tracked` is what is known of each task; `packs` learns the limits.
All decisions are in `kling_async.core`.

From outside: `Engine`. Requests go in by `Engine.new_submission`, tracked tasks come out of
`Submitter.submit`.
"""
