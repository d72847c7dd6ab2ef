"""Reads: the rate of status queries of one account, kept by the ledger for all processes together.

A read takes a *turn*, which the ledger gives by its clock, turns of all processes one after the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from kling_async.core.rounds import Rounds
from kling_async.core.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.core.queries import QueryForms
    from kling_async.core.schedule_parts import ScheduleParts
    from kling_async.options import Polling

__all__ = ["AskingSchedule", "LedgerRounds", "ReadTurnStock"]

_AHEAD: Final = 0.05
"""Seconds of the rate that are asked for at once: a trip to the ledger takes some milliseconds."""


class ReadTurnStock:
    """The turns that this process has from the ledger and has not used.

    Args:
        order: Asks the ledger for so many turns, of a rate in requests a second.
    """

    def __init__(self, order: Callable[[int, float], None]) -> None:
        self._order = order
        self._turns = 0
        self._ordered = False

    @property
    def pending(self) -> bool:
        """Whether a read must wait for turns that are on their way."""
        return self._ordered and self._turns <= 0

    def has(self, rate: float) -> bool:
        """Tell whether there is a turn; if not, one is asked for."""
        if self._turns <= 0 and not self._ordered:
            self._ordered = True
            self._order(max(1, int(rate * _AHEAD)), rate)
        return self._turns > 0

    def spend(self, turns: int) -> None:
        """Use turns; a read of many requests may use more than there are, and those after it wait."""
        self._turns -= turns

    def come(self, turns: int) -> None:
        """Take turns that came."""
        self._ordered = False
        self._turns += turns

    def forget(self) -> None:
        """Wait no more for turns that came to a loop that has ended."""
        self._ordered = False


class LedgerRounds(Rounds):
    """Rounds whose rate is the ledger's, for all processes together.

    Args:
        polling: How often to ask.
        forms: What the server can be asked.
        stock: The turns of this process.
    """

    def __init__(self, polling: Polling, forms: QueryForms, stock: ReadTurnStock) -> None:
        self._stock = stock
        super().__init__(polling, forms)

    @property
    def rate_allows(self) -> float:
        """When the rate lets the next read go: now, or when turns come, which wakes whoever waits."""
        return math.inf if self._stock.pending else -math.inf

    @rate_allows.setter
    def rate_allows(self, when: float) -> None:
        """Do nothing: the ledger knows."""

    def allows(self, due: float, now: float) -> bool:
        """Return whether a group due then may ask now."""
        return self.earliest(due) <= now and self._stock.has(self._polling.requests_per_second)

    def spend(self, requests: int, now: float) -> None:
        """Take note of a query that goes out now."""
        super().spend(requests, now)
        self._stock.spend(requests)

    def spend_spare(self, now: float) -> bool:  # noqa: ARG002 - as `Rounds` says
        """Take one request of the rate, outside of rounds; return whether one is to be had now."""
        if not self._stock.has(self._polling.requests_per_second):
            return False
        self._stock.spend(1)
        return True


class AskingSchedule(Schedule):
    """A schedule of the process that asks for all, at the ledger's rate."""

    def __init__(self, parts: ScheduleParts, rounds: Rounds) -> None:
        super().__init__(parts)
        self._rounds = rounds
