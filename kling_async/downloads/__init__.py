"""Download the files of a task's result: named, resumed, checked, stored whole or not at all.

`result_files` stores all files of one task and renews addresses that have died, `fetch` downloads one file,
`partial` keeps the part of a file that is still coming, `ranges` decides which bytes to request and what an
answer means (pure), `placing` gives a whole file a name that nobody has and proves a folder, `naming` makes
file names from a template.

From outside: `result_files.fetch_all`, with a `naming.Template` and what a journal knows (`KnownFile`), and
`placing.prove_folder`. A task that succeeded goes in; paths, sizes and hashes come out. On the way down
`result_files` calls `fetch`, which calls `partial` in threads. Downloads use the client's sessions, clock and
slots through the Protocol `DownloadContext`; nothing here knows the engine.
"""
