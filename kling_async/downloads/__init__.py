"""The files of a task's result: fetched, resumed, checked and stored under safe names.

`result_files` stores all files of one task, `fetch` gets one address, `partial` keeps what broke off,
`naming` makes file names, `ranges` decides what an answer to a range request means and is pure.

From outside: `result_files.fetch_all` and `naming.Template`. A task's record goes in, paths come out.
"""
