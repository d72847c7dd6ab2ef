"""Slots of the account: the limits on unfinished tasks per pack type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SlotPools"]


class SlotPools:
    """Slots per pool: the size, the slots of the account's tasks, and those that somebody else holds.

    Args:
        sizes: Slots of each pool.
        foreign: Slots per pool that somebody else holds. They are never visible, except that creates fail.
        on_change: Called with the pool and the slots held by tasks, after every change.
    """

    def __init__(
        self, sizes: Mapping[str, int], foreign: Mapping[str, int], on_change: Callable[[str, int], None]
    ) -> None:
        self.sizes = dict(sizes)
        self.foreign = dict(foreign)
        self._used = dict.fromkeys(sizes, 0)
        self._on_change = on_change

    def __repr__(self) -> str:
        pools = (f"{p} {self._used[p]}+{self.foreign.get(p, 0)}/{size}" for p, size in self.sizes.items())
        return f"<SlotPools {', '.join(pools)}>"

    def take(self, pool: str, weight: int) -> bool:
        """Hold ``weight`` slots if that many are free, and tell whether it did; weight 0 always fits."""
        if weight and self._used[pool] + self.foreign.get(pool, 0) + weight > self.sizes[pool]:
            return False
        self._move(pool, weight)
        return True

    def free(self, pool: str, weight: int) -> None:
        """Give slots back."""
        self._move(pool, -weight)

    def resize(self, pool: str, size: int) -> None:
        """Change the size of a pool; tasks that exceed a smaller size keep running."""
        self.sizes[pool] = size
        self._used.setdefault(pool, 0)

    def _move(self, pool: str, by: int) -> None:
        if by:  # tasks outside all pools have weight 0
            self._used[pool] += by
            self._on_change(pool, self._used[pool])
