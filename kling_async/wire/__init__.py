"""How requests are constructed, described, checked and encoded, the same for both generations of the API.

`requests` has their base classes, whose metaclass is in `construction`; `describe` reads the descriptions of
fields out of docstrings; `checks` walks a request's fields, and `caller` finds the user's line for its
warnings; `media` and `media_formats` judge files; `endpoints` has the row types of the catalog.

From outside: the bases in `requests`, `check`, `media()`, `Endpoint`. A request goes in, problems or JSON
come out.
"""
