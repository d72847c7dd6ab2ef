"""The slots of an account: kept by this process, or in a ledger that all processes of a machine share.

`protocol` is what the rest of the orchestrator knows of either. The memory of one process is
`orchestrator.limiter`. A shared ledger is a SQLite file: `steps` are what processes say to it and hear from
it, `lines` and `leases` its rows, `book` one transaction, in which `core.admission` decides as it does in
memory, `store` the file, its owners and its clock, `shared` the driver in each process, and `asking` lets one
process ask about the tasks of all.
"""
