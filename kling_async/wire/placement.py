"""Placement: where the fields of a request of the second generation stand in its body.

A request has plain fields; its body has an array ``contents`` and the objects ``settings`` and ``options``.
The place of a field stands in its ``Meta(extra={"place": ...})``, as the path of the reference:

- ``settings.duration``: a value in an object;
- ``contents.first_frame.url``: the value of a ``contents`` entry of that type, one entry for each value;
- ``contents.element``: an entry of that type with the fields of a part;
- ``path``: the field is not in the body, but in the path of the create.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IN_PATH", "merged", "put"]

IN_PATH: Final = "path"
"""Place of a field that is not sent in the body."""
_ENTRIES: Final = "contents"


def put(body: dict[str, Any], place: str, value: Any) -> None:
    """Put the wire form of a field into a body, at its place."""
    if place == IN_PATH:
        return
    *outer, name = place.split(".")
    if outer and outer[0] == _ENTRIES:
        kind, *inner = place.split(".")[1:]
        body.setdefault(_ENTRIES, []).extend(
            {"type": kind, **({inner[0]: entry} if inner else entry)}
            for entry in (value if isinstance(value, list) else [value])
        )
        return
    for step in outer:
        body = body.setdefault(step, {})
    body[name] = value


def merged(body: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with more fields: objects are merged, ``contents`` is continued, all else is replaced."""
    made = dict(body)
    for name, value in more.items():
        here = made.get(name)
        if isinstance(here, dict) and isinstance(value, dict):
            made[name] = merged(here, value)
        elif name == _ENTRIES and isinstance(here, list) and isinstance(value, list):
            made[name] = [*here, *value]
        else:
            made[name] = value
    return made
