"""Services of the process: the event loop, file locks, signals.

`loop` has the clock and the background work of a client, over several event loops if need be; `filelock`
keeps other processes away from a file; `signals` reports SIGINT and SIGTERM to a batch.

From outside: all of it. Nothing here knows the API.
"""
