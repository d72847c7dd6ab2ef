"""Units of money: reserved before a create, and settled once its task has ended, never beyond a limit.

A limit given as one number holds for each pool by itself, for a unit of video is not one of images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kling_async.core.pool_sizes import POOLS
from kling_async.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UnitBudget", "is_amount", "wrong_units"]


def is_amount(units: object) -> bool:
    """Tell whether a value is a number of units."""
    return isinstance(units, int | float) and not isinstance(units, bool) and 0 <= units < math.inf


def wrong_units(limits: object) -> Iterator[Problem]:
    """Yield what is wrong with a limit of units: a number for each pool, a dict by pool, or None."""
    for units in limits.values() if isinstance(limits, Mapping) else [limits]:
        if units is not None and not is_amount(units):
            text = f"must be a number of units of at least 0, or a dict of such by pool, not {units!r:.40}"
            yield Problem("max_units", text)
    # a misspelt pool would be no limit at all
    for pool in limits if isinstance(limits, Mapping) else ():
        if pool not in POOLS:
            yield Problem(f"max_units[{pool!r:.40}]", f"is not a pool; the pools are {', '.join(POOLS)}")


class UnitBudget:
    """Spent and reserved units, pool by pool.

    Args:
        most: The limit for each pool, or limits by pool; None: no limit.
    """

    def __init__(self, most: float | Mapping[str, float] | None) -> None:
        self._most = most
        self.spent: dict[str, float] = {}
        self.reserved: dict[str, float] = {}

    @property
    def limited(self) -> bool:
        """Whether any pool has a limit."""
        return self._most is not None

    def limit(self, pool: str) -> float | None:
        """Return the limit of a pool's units; None: there is none."""
        return self._most if isinstance(self._most, int | float | None) else self._most.get(pool)

    def fits(self, pool: str, units: float) -> bool:
        """Tell whether so many units more may be reserved now."""
        limit = self.limit(pool)
        taken = self.spent.get(pool, 0.0) + self.reserved.get(pool, 0.0)
        # rounded, or tasks of 0.1 and 0.2 units would not fit into 0.3: their sum is 0.30000000000000004
        return limit is None or round(taken + units, 6) <= limit

    def reserve(self, pool: str, units: float) -> None:
        """Set units aside for a task."""
        self.reserved[pool] = round(self.reserved.get(pool, 0.0) + units, 6)

    def settle(self, pool: str, reserved: float, spent: float) -> None:
        """Exchange a reservation for what the task cost, once it has ended."""
        self.reserved[pool] = max(0.0, round(self.reserved.get(pool, 0.0) - reserved, 6))
        self.spent[pool] = round(self.spent.get(pool, 0.0) + spent, 6)
