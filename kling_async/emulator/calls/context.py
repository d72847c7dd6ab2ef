"""What the synchronous calls work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

    from kling_async.emulator.calls.results import Links
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Tasks

__all__ = ["Body", "Call", "Desk"]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """The account behind one call."""

    library: Library
    tasks: Tasks
    clock: Clock
    links: Links
    units: Decimal
    """The price of the call."""
    left: Mapping[str, float]
    """Units left by pool; a pool that is not in it never runs out."""


Call = Callable[[Desk, Body], Any]
"""Does what a call asks and returns the ``data`` of its answer. The fields have their defaults."""
