"""The slots of the account: so many unfinished tasks of each pack type, and not one more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Pools"]


class Pools:
    """Slots per pool: its size, what our tasks hold, and what somebody else holds unseen."""

    def __init__(
        self, sizes: Mapping[str, int], foreign: Mapping[str, int], changed: Callable[[str, int], None]
    ) -> None:
        self.sizes = dict(sizes)
        self.foreign = dict(foreign)
        self._used = dict.fromkeys(sizes, 0)
        self._changed = changed

    def __repr__(self) -> str:
        pools = (f"{p} {self._used[p]}+{self.foreign.get(p, 0)}/{size}" for p, size in self.sizes.items())
        return f"<Pools {', '.join(pools)}>"

    def take(self, pool: str, weight: int) -> bool:
        """Hold ``weight`` slots if so many are free; all or none. No slots are always free."""
        if weight and self._used[pool] + self.foreign.get(pool, 0) + weight > self.sizes[pool]:
            return False
        self._move(pool, weight)
        return True

    def free(self, pool: str, weight: int) -> None:
        """Give slots back."""
        self._move(pool, -weight)

    def resize(self, pool: str, size: int) -> None:
        """Change a pool's size. Tasks beyond a smaller one run on."""
        self.sizes[pool] = size
        self._used.setdefault(pool, 0)

    def _move(self, pool: str, by: int) -> None:
        if by:  # some tasks take none, of no pool
            self._used[pool] += by
            self._changed(pool, self._used[pool])
