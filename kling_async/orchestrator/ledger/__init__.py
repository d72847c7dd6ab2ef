"""The slots of an account in a ledger that all processes of a machine share: a SQLite file.

`facts` and `steps` are what processes say to it and hear from it, `leases` and `lines` its rows, `book` one
transaction, in which `core.admission` decides as it does in memory, `database` the file, `presence` and
`mailbox` the lives of its owners and the way to them, `store` all this for one owner. In each process
`shared` drives it with the `claims` of that process, through `messenger`, whose `errands` run in a thread;
`asking` lets one process ask about the tasks of all. The rest of the orchestrator knows `slot_keeper` alone;
`opening` is what the engine calls.
"""
