"""Lenient reading: values out of the fields of answers that are not of the documented type.

Gateways re-encode answers: ``[]`` stands for an empty object, a number for a text, seconds or ISO 8601 for
milliseconds. Each function returns None, 0 or "" for a value that says nothing, and never raises.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Final

import msgspec

__all__ = ["decimal_of", "milliseconds_of", "text_of", "words_of"]

_SECONDS: Final = (1e8, 1e11)
"""Times between these count as seconds: as milliseconds they would lie in the years 1970 to 1973."""
_MILLISECONDS_MAX: Final = 253402300799999
"""The last millisecond of the year 9999."""


def text_of(value: Any) -> str | None:
    """Return a text that is not blank, or a number as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def words_of(value: Any) -> str:
    """Return a text for people: an object or array becomes its JSON, nothing becomes ""."""
    if isinstance(value, str):
        return value
    if not value or isinstance(value, bool):
        return ""
    return msgspec.json.encode(value).decode()


def milliseconds_of(value: Any) -> int:
    """Return a time as milliseconds since 1970; 0 if it cannot be known.

    Taken are milliseconds and seconds as numbers or text, and ISO 8601 with an offset: without one the time
    could be hours off.
    """
    if isinstance(value, str):
        value = _time_in(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    time = value * 1000 if _SECONDS[0] <= value < _SECONDS[1] else value
    return int(time) if 0 < time <= _MILLISECONDS_MAX else 0


def _time_in(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        time = dt.datetime.fromisoformat(text)
        return None if time.tzinfo is None else time.timestamp() * 1000
    except (ValueError, OverflowError):
        return None


def decimal_of(value: Any) -> str | None:
    """Return a number as text, as it was sent; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return str(value).strip() or None
