"""Ids of tasks and results: unique, increasing, and the same for equal seeds."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["IdSequence"]

_FIRST_ID: Final = 847_570_360_000_000_000
"""The vendor's task ids have 18 digits."""


class IdSequence:
    """The account's ids, drawn from a seeded generator.

    Args:
        seed: Equal seeds give equal ids.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"{seed} ids")  # noqa: S311 - made up, not secret
        """The generator; also decides how many images an open series has."""
        self._last = _FIRST_ID

    def next(self) -> str:
        """Return a new id, greater than all before."""
        self._last += self.rng.randrange(2, 1_000_000)
        return str(self._last)
