"""HTTP with the API and with file servers: sessions, authentication, one exchange, repeats of reads.

`sessions` opens aiohttp's sessions, `auth` signs tokens, `addresses` judges where files may come from,
`transport` sends one request, `answers` reads what comes back, `own_files` tells which files a gateway serves
itself, `body` knows whether any of it was written, `words` finds the words of errors in other forms,
`failures` turns exceptions of aiohttp into values, `retry` repeats what is harmless to repeat.

From outside: `Transport.create`, `Transport.read`, `read_patiently`, `with_retries` and `Sessions`. Requests
go in as path and bytes, verdicts of `core.verdict` come out. No aiohttp exception leaves this package: its
repr holds the Authorization header.
"""
