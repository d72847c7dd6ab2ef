"""Translate the answers of gateways into the vendor's form, so that the rest of the client knows one API.

`dialect` says what each dialect can do, `tasks` reads its task objects, `refusals` its errors, and
`translate` recognises an answer by its shape and remembers the dialect.

From outside: `translate.Dialects`, the language of one server, and `dialect.Dialect`, what it can be asked.
Bytes go in; out come a code, a message and a task under the names of ``/v1``. Nothing here sends anything or
knows a clock.
"""
