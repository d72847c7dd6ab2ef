"""State of the one emulated account: slots, units, packs, tasks, the library of results, and the ledger.

Above ``judging`` and ``footage``, below ``calls`` and ``http``. Knows no HTTP and never awaits. From
outside: `account.EmulatedAccount` with its parts, `ledger.Ledger`, and the functions that derive slots,
price, duration, shape and source of a task from its request (`weights`, `prices`, `durations`,
`result_aspect`, `lookups`). ``calls`` changes the state through the account's parts; at the end of a task
the account itself gives slots back and fills the library. Users of the emulator see `ledger.Row`,
`packs.Pack`, `tasks.Task` and the classes of `items` through ``kling_async.testing``.
"""
