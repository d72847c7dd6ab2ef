"""Download the files of a task's result: named, resumed, checked, stored whole or not at all; or stream one.

`result_files` stores all files of one task, `fetch` downloads one file, `stream` hands one on to a consumer
that stores it elsewhere. Both talk to the file's server through `remote`, over addresses that
`result_addresses` renews once they have died. `partial` keeps the part of a file that is still coming,
`ranges` decides which bytes to request and what an answer means (pure), `placing` gives a whole file a name
that nobody has and proves a folder, `naming` makes file names from a template. `showing` and `embedding` show
files in notebooks.

From outside: `result_files.fetch_all`, with a `naming.Template` and what a journal knows (`KnownFile`);
`placing.prove_folder`; `stream.FileStream`. A task that succeeded goes in; paths, sizes and hashes come out,
or chunks. On the way down `result_files` calls `fetch`, which calls `partial` in threads. Downloads use the
client's sessions, clock and slots through the Protocol `DownloadContext`; nothing here knows the engine.
"""
