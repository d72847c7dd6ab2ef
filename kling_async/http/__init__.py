"""The HTTP side of the API: sessions, authentication, sending, reading, repeating.

`sessions` holds aiohttp's sessions, `auth` makes tokens, `addresses` tells safe addresses from others,
`transport` turns every exchange into one of three outcomes and these into verdicts, `retry` repeats what is
harmless to repeat. No aiohttp exception leaves this package: its repr holds the Authorization header.

From outside: `Transport.create`, `Transport.read`, `read_patiently` and `Sessions`.
"""
