"""The HTTP server: sockets, routes, keys, signed file downloads, callbacks, and scripted faults.

The top storey, above ``calls``. From outside: `server.Server` (built by ``emulator.Emulator``), `auth.Keys`,
`routes.Routes`, `media_host.MediaHost`, and `faults.Fault`, which users of the emulator arm. A request
passes: `routes` (which endpoint), a row in the ledger, `faults` (whether it goes wrong), then `dispatch`
(key, then ``calls``), and back as an `answers.HttpAnswer` that the server sends. A `gateway` may stand before
the dispatcher, with answers in `gateway_forms`. Callbacks are posted by `courier.Courier`, signed by
`webhook_signing`. All awaiting happens in `server` and `courier`.
"""
