"""Display: values as HTML for notebooks, beside the text that terminals show.

`html` makes escaped HTML out of text (pure), `fields` a table of any value's fields, `players` pictures and
players of files, `stored` knows which files of this process's downloads lie where. Values in the rooms above
have a method `_repr_mimebundle_` of a line or two that calls these. Data goes from plain values to HTML;
nothing here knows a task or a client.

Addresses stand whole in the HTML of pictures and players alone, since a browser cannot fetch them otherwise.
All other text, ``text/plain`` included, cuts them as `kling_async.redaction` does.
"""
