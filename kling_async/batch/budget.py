"""What a batch may spend: units are reserved before a create, and settled when its task has ended.

A number counts for the units of every pool on its own, for a unit of video is not one of images.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Budget", "is_amount"]


def is_amount(units: object) -> bool:
    """Tell whether something is a number of units."""
    return isinstance(units, int | float) and not isinstance(units, bool) and 0 <= units < math.inf


class Budget:
    """Spent and reserved units, pool by pool."""

    def __init__(self, most: float | Mapping[str, float] | None) -> None:
        self._most = most
        self.spent: dict[str, float] = {}
        self.reserved: dict[str, float] = {}

    @property
    def limited(self) -> bool:
        """Whether anything is limited at all."""
        return self._most is not None

    def limit(self, pool: str) -> float | None:
        """Return the limit of a pool's units; None: there is none."""
        return self._most if isinstance(self._most, int | float | None) else self._most.get(pool)

    def fits(self, pool: str, units: float) -> bool:
        """Tell whether so much more may be reserved now."""
        limit = self.limit(pool)
        taken = self.spent.get(pool, 0.0) + self.reserved.get(pool, 0.0)
        return limit is None or round(taken + units, 6) <= limit

    def holds(self, pool: str) -> bool:
        """Tell whether what is spent and reserved keeps within the limit."""
        return self.fits(pool, 0.0)

    def may_fit_later(self, pool: str, units: float) -> bool:
        """Tell whether it may fit when what is reserved turns out cheaper, or to cost nothing."""
        limit = self.limit(pool)
        return limit is None or round(self.spent.get(pool, 0.0) + units, 6) <= limit

    def reserve(self, pool: str, units: float) -> None:
        """Set so much aside for a task."""
        self.reserved[pool] = round(self.reserved.get(pool, 0.0) + units, 6)

    def settle(self, pool: str, reserved: float, spent: float) -> None:
        """The task ended: what was set aside for it is free, what it cost is spent."""
        self.reserved[pool] = max(0.0, round(self.reserved.get(pool, 0.0) - reserved, 6))
        self.spent[pool] = round(self.spent.get(pool, 0.0) + spent, 6)
