"""Numbers and times as people read them: lengths, ages, units."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.prices import Estimate

__all__ = ["clock", "counted", "length", "moment", "price_words", "status_word", "time_span", "units_by_pool"]

_SPANS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def clock(seconds: float) -> str:
    """Return a time that runs, as a clock shows it.

    >>> clock(83), clock(3723)
    ('1:23', '1:02:03')
    """
    hours, rest = divmod(max(0, round(seconds)), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def counted(number: int, name: str) -> str:
    """Return a number of things.

    >>> counted(1, "job"), counted(2, "wrong line")
    ('1 job', '2 wrong lines')
    """
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def length(seconds: float) -> str:
    """Return a span of time in its largest unit.

    >>> length(42), length(150), length(200_000)
    ('42 s', '2 min', '2 d')
    """
    for name, size in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return "0 s"


def moment(milliseconds: int) -> str:
    """Return a time of the vendor's in the local zone; a dash if it is not known."""
    if not milliseconds:
        return "-"
    return f"{dt.datetime.fromtimestamp(milliseconds / 1000).astimezone():%Y-%m-%d %H:%M}"


def status_word(status: str) -> str:
    """Return a status for people: ``/tasks`` has another word for ``succeed`` than the other answers."""
    return {"succeeded": "succeed", "unknown": "not asked yet"}.get(status, status)


def time_span(text: str, now: dt.datetime) -> dt.datetime:
    """Return the moment that ``2h``, ``3d`` or an ISO date says.

    Raises:
        ValueError: The text is none of these.
    """
    if found := re.fullmatch(r"(\d{1,6})\s*(d|h|min|m|s)", text):
        sizes = {**dict(_SPANS), "m": 60}
        return now - dt.timedelta(seconds=int(found[1]) * sizes[found[2]])
    return dt.datetime.fromisoformat(text).astimezone()


def units_by_pool(units: Mapping[str, float]) -> str:
    """Return units of pools as one sum; empty for none.

    >>> units_by_pool({"video": 4.5, "image": 40})
    '40 image + 4.5 video units'
    """
    some = [f"{number:.10g} {pool}" for pool, number in sorted(units.items())]
    return f"{' + '.join(some)} units" if some else ""


def price_words(estimate: Estimate, *, terms: bool = True) -> str:
    """Return what a request costs, in units and, where known, in dollars at the list price.

    Args:
        estimate: The expected price.
        terms: Whether the terms of a known price follow.
    """
    if estimate.units is None:
        most = "" if estimate.most is None else f" at most {estimate.most:.10g} {estimate.pool} units;"
        return f"the price is not known:{most} {estimate.why}"
    dollars = "" if not estimate.usd else f", ${estimate.usd:.2f} at the list price"
    return f"{estimate.units:.10g} {estimate.pool} units{dollars}" + (f" ({estimate.why})" if terms else "")
