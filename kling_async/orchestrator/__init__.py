"""The orchestrator: queue submits, send creates, recover lost ones, and poll tasks until they end.

`engine` puts the drivers of one account together. `submission` is one submit on its way, `attempts` what was
sent of it; `submitter` sends it when `limiter` has slots; `recovery`, `lookup` and `findings` find out what
became of a create whose answer was lost; `poller` asks about running tasks with `status_reader`; `tracked`
holds what is known of each task, and `registry` finds it by either id; `packs` learns the limits; `holds`
tells of creates that wait because all like them are refused. `discovery` finds a task by its id alone,
`history` lists those of the account, by `unified` queries of the second generation; `spending` keeps
``max_units``, `calibration` knows whether a gateway finds external ids, `leftovers` names what runs on when a
client ends. The slots are kept as `slot_keeper` says, by `limiter` or, for several processes, by `ledger`.
All decisions are in `kling_async.core`.

From outside: `Engine`. Requests go in by `Engine.new_submission`, tracked tasks come out of
`Submitter.submit`.
"""
