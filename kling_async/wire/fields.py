"""Read the fields of a struct off its annotations."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import inspect as mi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["WHOLE", "Field", "entries", "fields"]

WHOLE: Final = "the request"
"""Field of a `Problem` that concerns the request as a whole; no field has a blank in its name."""


class Field(NamedTuple):
    """One field of a struct, by its annotations."""

    name: str
    wire_name: str
    type: mi.Type
    optional: bool
    required: bool
    extra: Mapping[str, Any]


@functools.cache
def fields(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the fields of a request struct, ``extra`` left out."""
    info = mi.type_info(struct)
    assert isinstance(info, mi.StructType)  # noqa: S101 - what type_info gives for a struct
    return tuple(_field(f) for f in info.fields if f.name != "extra")


def _field(f: mi.Field) -> Field:
    node, optional = f.type, False
    if isinstance(node, mi.UnionType):
        kinds = tuple(t for t in node.types if not isinstance(t, mi.NoneType))
        optional = len(kinds) < len(node.types)
        node = kinds[0] if len(kinds) == 1 else mi.UnionType(kinds)
    extra: Mapping[str, Any] = {}
    if isinstance(node, mi.Metadata):
        extra, node = node.extra or {}, node.type
    return Field(f.name, f.encode_name, node, optional, f.required, extra)


def entries(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value, or each of an array's, with its path."""
    if isinstance(value, tuple):
        yield from ((f"{path}[{index}]", entry) for index, entry in enumerate(value))
    else:
        yield path, value
