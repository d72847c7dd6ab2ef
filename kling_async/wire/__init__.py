"""How requests are described, checked and encoded, the same for both generations of the API.

`requests` has their base classes, `checks` walks a request's fields, `media` and `media_formats` judge files,
`endpoints` is the row type of the catalog.

From outside: the bases in `requests`, `check`, `media()`, `Endpoint`. A request goes in, problems or JSON
come out.
"""
