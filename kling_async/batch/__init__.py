"""Run many requests as one job: fed, journaled, resumed, downloaded, reported.

`source` reads the input, `planner` compares it with the journal (without an input `journal_planner` goes
through the journal), `refetch` finds files that are gone, `feeder` begins jobs as there is room and money,
`job` carries one request to its outcome, `job_files` stores its files, and `batch` holds the jobs under way
and hands outcomes out. `lifecycle` has the states of batch and job with their legal moves. `journal` keeps
what must outlive the process, in the database of `journal_store`, with `read_ahead`, `checksums` and
`digests`; `journal_view` and `journal_match` look into it beside a run; `exported` reads what was exported of
one. `report` and `dry_run` add up, `observing` and `progress` show how far a batch is; `job_outcomes` makes
outcomes of entries. `readers` reads jobs files: `lines`, `json_objects`, `csv_objects` with `cells`.
`steering` and `pausing` change a batch while it runs. `budget`, `checksums`, `entry`, `exclusions`,
`failures`, `identity`, `lifecycle`, `pace` and `planned` decide and are pure.

From outside: `batch.Batch` with `options.BatchOptions`, and the values of `outcomes`. Requests go in at
`source`, each passes `planner`, `feeder` and `job`, and its outcome comes out of `Batch`.
"""
