"""Turn the cells of one CSV row into the object that a request is read from; columns are paths of fields."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import inspect as mi

from kling_async.wire.fields import fields
from kling_async.wire.media import Media

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.wire.requests import TaskRequest

__all__ = ["CsvColumn", "RowObject", "column", "row_object"]

_SPLIT: Final = re.compile(r"[.\[\]]+")
_ROUNDED: Final = re.compile(r"\d([.,]\d+)?E\+\d+", re.ASCII)
"""A long number as Excel writes it after it has dropped its last digits."""
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+", re.ASCII)
_FREE: Final = mi.DictType(mi.StrType(), mi.AnyType())
"""The type of ``extra``: fields of the API that a request's type lacks."""


class CsvColumn(NamedTuple):
    """One column: the header, and the path that it names."""

    header: str
    path: tuple[str, ...]


class RowObject(NamedTuple):
    """The object of one row."""

    data: dict[str, Any]
    problems: tuple[tuple[str, str], ...]
    """Header and words for each cell that cannot be read."""
    headers: dict[str, str]
    """The header of each field, by the path under which a request's errors name it."""


class BadCell(Exception):
    """A cell that cannot be of its field's type, in words."""


def column(header: str) -> CsvColumn:
    """Return the column of a header: ``camera_control.config.zoom``, ``image_list.0.image``."""
    return CsvColumn(header, tuple(part for part in _SPLIT.split(header.strip()) if part))


def row_object(kind: type[TaskRequest[Any]] | None, cells: Iterable[tuple[CsvColumn, str]]) -> RowObject:
    """Return the object of a row; an empty cell sets nothing.

    Args:
        kind: Type of the request; None if it is not known: then all cells are text.
        cells: The columns with their texts.
    """
    data: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for at, text in cells:
        if not text.strip():
            continue
        try:
            _put(data, at, _value(_type_at(kind, at.path), text))
        except BadCell as error:
            problems.append((at.header, str(error)))
    _lists(kind, data, "", "", headers)
    return RowObject(data, tuple(problems), headers)


def _put(data: dict[str, Any], at: CsvColumn, value: Any) -> None:
    """Set a value at a path.

    Raises:
        BadCell: Another column has set that value, or one above it.
    """
    inner: Any = data
    for part in at.path[:-1]:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise BadCell("another column sets the whole of it; use one of both")
    if at.path[-1] in inner:
        raise BadCell("another column sets it, too; use one of both")
    inner[at.path[-1]] = value


def _lists(kind: Any, data: dict[str, Any], path: str, header: str, headers: dict[str, str]) -> None:
    """Turn objects by index into lists where a type wants lists, in place; note the headers of all fields."""
    for name, value in data.items():
        inner, place = _step(kind, name), f"{path}{name}"
        headers[place] = f"{header}{name}"
        if isinstance(inner, mi.VarTupleType) and isinstance(value, dict) and all(map(str.isdigit, value)):
            entries = sorted(value.items(), key=lambda item: int(item[0]))
            data[name] = [entry for _, entry in entries]
            for at, (number, entry) in enumerate(entries):
                headers[f"{place}[{at}]"] = f"{header}{name}.{number}"
                if isinstance(entry, dict):
                    _lists(inner.item_type, entry, f"{place}[{at}].", f"{header}{name}.{number}.", headers)
        elif isinstance(value, dict) and not isinstance(inner, mi.DictType):
            _lists(inner, value, f"{place}.", f"{header}{name}.", headers)


# -- types


def _type_at(kind: Any, path: tuple[str, ...]) -> Any:
    """Return the type of the field at a path; None if there is no such field."""
    for part in path:
        kind = _step(kind, part)
    return kind


def _step(kind: Any, part: str) -> Any:
    """Return the type of a field of a type, or of an entry of a list; None if it has none."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    match kind:
        case mi.DictType() | mi.AnyType():
            return mi.AnyType()
        case mi.VarTupleType() if part.isdigit():
            return kind.item_type
        case mi.StructType() if kind.cls is not Media:
            kind = kind.cls
        case type():
            if part == "extra":
                return _FREE
        case _:
            return None
    found = next((field for field in fields(kind) if field.name == part), None)
    return None if found is None else found.type


def _value(node: Any, text: str) -> Any:  # noqa: PLR0911 - one line a type
    """Return the value of a cell by the type of its field.

    Raises:
        BadCell: There is none.
    """
    match node:
        case mi.Metadata():
            return _value(node.type, text)
        case mi.BoolType():
            return _bool(text)
        case mi.IntType() | mi.FloatType():
            return _number(text, whole=isinstance(node, mi.IntType))
        case mi.LiteralType():
            return next((word for word in node.values if str(word) == text.strip()), text.strip())
        case mi.VarTupleType():
            return _json(text, list, "a JSON list, or use columns with an index: name.0, name.1")
        case mi.StructType() if node.cls is not Media:
            return _json(text, dict, "a JSON object, or use a column for each of its fields: name.field")
        case mi.DictType():
            return _json(text, dict, "a JSON object")
        case mi.AnyType():
            return _json_or_text(text)
        case _:
            if _ROUNDED.fullmatch(text.strip()):
                raise BadCell(
                    f"{text.strip()} is a number that lost its last digits; format the column as text"
                )
            return text


def _bool(text: str) -> bool:
    """Return a truth value as spreadsheets write it."""
    word = text.strip().lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise BadCell(f"must be true or false, not {text.strip()!r:.40}")


def _number(text: str, *, whole: bool) -> float:
    word = text.strip()
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        fix = "; write a point, no comma" if _DECIMAL_COMMA.fullmatch(word) else ""
        raise BadCell(f"must be a {'whole ' if whole else ''}number, not {word!r:.40}{fix}")
    # spreadsheets write 5 as 5.0 or 5,00; a number that is not whole is judged by the field's check
    return int(number) if number.is_integer() else number


def _json(text: str, kind: type, words: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise BadCell(f"must be {words}")
    return value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text
