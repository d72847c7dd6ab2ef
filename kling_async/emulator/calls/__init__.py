"""Every request that the API understands: creates, queries, lists, packs and synchronous calls.

Above ``state``, below ``http``. Knows no HTTP: no headers, statuses or connections, and never awaits. From
outside: `creates.create_task`, `queries`, `packs.list_packs`, `table.make_call`, and `records`, the forms in
which answers show a task; `callbacks` has the form of callbacks. Those of the second generation are
`second_creates`, `histories` (its lists), `unified` and `second_outputs` (its forms of a task). Each function
gets the account and the parsed request. It judges the request, reads or changes the state, and returns the
``data`` of the answer, or raises `Refusal`. The maker of file URLs (`fields.Links`) is passed in from above.
"""
