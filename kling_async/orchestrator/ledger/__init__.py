"""The slots of an account in a ledger that processes share: a SQLite file of one machine, or a PostgreSQL.

`facts` and `steps` are what processes say to it and hear from it, `leases` and `lines` its rows, `book` one
transaction, in which `core.admission` decides as it does in memory, `membership` all that one owner does in
any `connection`. For a file, `database` opens it, `presence` and `mailbox` are the lives of its owners and
the way to them, `store` puts it together; for a server `postgres_database`, `postgres_tables`, `connecting`,
`server_time` and `postgres` do so, and `listening` hears of news. In each process `shared` drives it with the
`claims` of that process, through `messenger`, whose `errands` run in a thread; `asking` lets one process ask
about the tasks of all. The rest of the orchestrator knows `slot_keeper` alone; `opening` is what the engine
calls.
"""
