"""Decisions as plain classes and functions: no clock, no I/O, no randomness of their own, no await.

`admission` decides who may create a task when, over `slots` (what is held), `pacing` (how fast to probe, and
when a pool is closed), `breaker` (which creates are held because all like them are refused), `waiting_line`
and `queue` (whose turn it is) and `pool_sizes` (what packs say of a pool's size). `schedule` decides what to
ask when, over `rounds`, `grouping`, `poll_groups`, `queries` and `durations`. `verdict` and `status` say what
an answer and a status word mean, `misses` and `ownership` what a look-up by external id proves, `rechecks`
when to look again, `callbacks` how far a receiver can be relied upon. States with a life are a `lifecycle`.

From outside: the classes that the drivers in `kling_async.orchestrator` own (`Pool`, `Schedule`, `Durations`)
and the values that they take and return. Facts, times and random numbers come in as arguments; what is to be
done goes out as values, and the driver that called does it.
"""
