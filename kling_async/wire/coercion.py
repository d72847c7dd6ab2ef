"""Bring the values of a request into the form that checks, fingerprints and the encoder rely on."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from msgspec import inspect as mi

from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.fields import entries, fields
from kling_async.wire.media import Media, media
from kling_async.wire.plain import plain, plain_json

__all__ = ["coerce"]


@functools.cache
def _media_names(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.name for field in fields(struct) if "media" in field.extra)


@functools.cache
def _without_text(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Return the optional fields that take numbers, objects or arrays: a blank text there is no value."""
    kinds = mi.IntType | mi.FloatType | mi.BoolType | mi.StructType | mi.VarTupleType
    return frozenset(
        field.name
        for field in fields(struct)
        if field.optional and isinstance(field.type, kinds) and "media" not in field.extra
    )


def coerce(request: msgspec.Struct) -> None:
    """Turn values into the exact types that the encoder takes, in place, at construction.

    Subclasses of text and numbers and enum members become plain values, lists tuples, blank texts empty ones
    (or None, where a field takes no text), and the values of media fields `Media`. So rules can ask for a
    blank text as for any other missing value, and equal requests have equal fingerprints.
    """
    kind = type(request)
    media_names = _media_names(kind)
    for name, value in zip(kind.__struct_fields__, msgspec.structs.astuple(request), strict=True):
        if value is None:  # most fields are: the quickest way out
            continue
        made = plain_json(value) if isinstance(value, dict) else value if name == "extra" else plain(value)
        if isinstance(made, str) and (not made or made.isspace()):
            made = None if name in _without_text(kind) else ""
        elif name in media_names:
            made = _as_media(kind.__name__, name, made)
        if made is not value:
            msgspec.structs.force_setattr(request, name, made)


def _as_media(request: str, name: str, value: Any) -> Media | tuple[Media, ...]:
    """Return the media of a field.

    Raises:
        RequestInvalid: A value is none; each is named.
    """
    made: list[Media] = []
    wrong: list[Problem] = []
    for path, item in entries(name, value):
        try:
            made.append(media(item))
        except (ValueError, TypeError) as error:
            wrong.append(Problem(path, str(error)))
    if wrong:
        raise RequestInvalid(request, wrong)
    return tuple(made) if isinstance(value, tuple) else made[0]
