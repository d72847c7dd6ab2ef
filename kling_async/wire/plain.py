"""Turn text and numbers of any type into exactly `str`, `int` or `float`, as the JSON encoder wants them.

Libraries hand over subclasses of these (`numpy.str_`, `numpy.float64`, members of an enum), which the encoder
refuses, and other numbers (`numpy.int64`) that count as whole ones.
"""

from __future__ import annotations

import math
import operator
from decimal import Decimal
from enum import Enum
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EXACT", "plain", "plain_json", "wrong_json"]

EXACT: Final = frozenset({type(None), str, int, float, bool})
"""Types of scalars that the encoder takes as they are."""


def plain(value: Any) -> Any:
    """Return a scalar in its exact type, and arrays of them as tuples; anything else as it is.

    A member of an enum becomes its value if that is text or a number.
    """
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return _scalar(value)


_SLOTS: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (int, int.__index__),
    (float, float.__float__),
)
"""Conversions of the bases: a subclass may override what ``str()``, ``int()`` and ``float()`` call."""


def _scalar(value: Any) -> Any:
    if type(value) in EXACT:
        return value
    for base, convert in _SLOTS:
        if issubclass(type(value), base):
            return convert(value)
    if isinstance(value, Enum):
        inner = plain(value.value)
        return inner if type(inner) in EXACT else value
    return _index(value) if isinstance(value, Integral) else value


def _index(value: Any) -> Any:
    try:
        return operator.index(value)
    except TypeError:
        return value


def plain_json(value: Any) -> Any:
    """Return an object of JSON with plain values at every depth: a new one, except of what is not JSON."""
    try:
        return _json(value)
    except RecursionError:  # a circle, which `wrong_json` tells
        return value


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {_scalar(name): _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return _scalar(value)


def wrong_json(value: Any) -> str | None:
    """Return why a value cannot be sent as JSON, None if it can."""
    try:
        return next(_odd_values(value, ""), None) or _unencodable(value)
    except RecursionError:
        return "cannot be sent as JSON: it contains itself, or is nested too deep"


def _odd_values(value: Any, path: str) -> Iterator[str]:
    """Yield words for values that the encoder takes but turns into something else."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _odd_values(item, f"{path}[{name!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _odd_values(item, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"cannot be sent as JSON: {path} is {value}, which is no number there"
    elif isinstance(value, Decimal):
        yield f"cannot be sent as JSON: {path} is a Decimal; use float(...), or str(...) where it wants text"


def _unencodable(value: Any) -> str | None:
    try:
        msgspec.json.encode(value)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - objects of the caller's raise anything
        return f"cannot be sent as JSON: {error}"
    return None
