"""The parts of the account, the price and the URLs of files that a synchronous call works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decimal import Decimal

    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Tasks

__all__ = ["Body", "CallContext", "SyncCall"]

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallContext:
    """The account as one synchronous call sees it."""

    library: Library
    tasks: Tasks
    clock: Clock
    links: Links
    units: Decimal
    """Price of the call."""
    left: Mapping[str, float]
    """Units left by pool; a pool that is not listed never runs out."""


SyncCall = Callable[[CallContext, Body], Any]
"""Function that does one call and returns the ``data`` of its answer. The body has its defaults filled in."""
