"""Many requests as one job: fed, journaled, resumed, downloaded, reported.

Inside, `source` reads the input, `planner` compares it with the journal, `job` carries one request to its
outcome, `batch` feeds the jobs and hands the outcomes out; `journal` keeps what must outlive the process.
`entry`, `identity`, `failures` and `budget` decide and are pure.

From outside: `Batch` and what it yields in `outcomes`. Requests go in at `source`, outcomes come out of
`Batch`.
"""
