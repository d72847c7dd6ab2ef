"""The units of the account: how many are left in each pool."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Wallet"]


class Wallet:
    """Units left per pool. A pool that is not listed never runs out.

    Args:
        left: Units at the start.
    """

    def __init__(self, left: Mapping[str, float]) -> None:
        self.left = dict(left)

    def covers(self, pool: str, units: Decimal) -> bool:
        """Tell whether a pool has units left, and enough for this price."""
        left = self.left.get(pool, float("inf"))
        return left > 0 and left >= units

    def add(self, pool: str, units: Decimal) -> None:
        """Add units to a pool, or take them with a negative number."""
        if pool in self.left:
            # Prices have decimals that floats cannot add exactly.
            self.left[pool] = float(Decimal(str(self.left[pool])) + units)
