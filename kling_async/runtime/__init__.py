"""Services of the process: the event loop, file locks, signals.

`loop` is the clock and the background work of a client, over several event loops if need be; `filelock` keeps
other processes away from a file; `signals` tells a batch that the process is to end.

From outside: all of it. Nothing here knows the API.
"""
