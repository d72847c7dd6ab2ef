"""Salvage: as much of an object as its type can take, so that one odd field hides no paid result."""

from __future__ import annotations

import types
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from kling_async.decoding.lenient import text_of

__all__ = ["salvaged"]

_UNIONS: Final = (Union, types.UnionType)
_DROPPED: Final = msgspec.UNSET
"""Stands for a value that its type cannot take in any way."""


def salvaged(kind: type[Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the fields that a struct cannot take.

    Numbers become text where text is wanted, an object stands for an array of one, and arrays lose the
    entries that cannot be read.

    Args:
        kind: A type of `msgspec.Struct`.
        value: Plain data.
    """
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in value and (kept := _salvage(field.type, value[name])) is not _DROPPED:
            fields[name] = kept
    return fields


def _salvage(kind: Any, value: Any) -> Any:
    """Return a value that a type can take, or `_DROPPED`."""
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return _reduced(kind, value)
    return value


def _reduced(kind: Any, value: Any) -> Any:
    if get_origin(kind) in _UNIONS:
        found = (_reduced(member, value) for member in get_args(kind))
        return next((kept for kept in found if kept is not _DROPPED), _DROPPED)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        entries = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
        kept = [kept for entry in entries if (kept := _salvage(item, entry)) is not _DROPPED]
        return kept or _DROPPED
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return salvaged(kind, value) if isinstance(value, dict) else _DROPPED
    text = text_of(value) if kind is str else None
    return _DROPPED if text is None else text
