"""How requests are constructed, described, checked and encoded, the same for both generations of the API.

`requests` has their base classes, whose metaclass is in `construction`; at construction `coercion` brings
values into their `plain` form; `fields` reads annotations, `describe` the descriptions in docstrings;
`checks` walks a request's fields, and `caller` finds the user's line for its warnings; `media`,
`media_formats` and `hosts` judge files and addresses; `endpoints` has the row types of the catalog;
`placement` puts the fields of the second generation into their places. `players` shows result files as HTML,
and `dialects` translates the answers of gateways. `json_bridge` reads requests out of JSON and writes them,
`schema` describes them, and `pydantic_hooks` does both for pydantic and FastAPI.

From outside: the bases in `requests`, `check`, `media()`, `Endpoint`. A request goes in, problems or JSON
come out.
"""
