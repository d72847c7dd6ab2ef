"""Services of the process: the event loop, files, signals.

`loop` has the clock and the background work of a client, over several event loops if need be; `filelock`
keeps other processes away from a file; `input_files` opens regular files only; `signals` reports SIGINT and
SIGTERM to a batch; `boot_time` counts the seconds of suspended machines, too; `kernels` lets a waiting cell
of a notebook notice its interrupt.

From outside: all of it. Nothing here knows the API.
"""
