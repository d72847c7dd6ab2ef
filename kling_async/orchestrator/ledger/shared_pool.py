"""Shared pool: a pool of the ledger, as this process last heard of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.core.breaker import HoldChange, HoldStep

if TYPE_CHECKING:
    from kling_async.core.breaker import Hold
    from kling_async.core.pool_sizes import LimitSource
    from kling_async.core.queue import Kind, Ticket
    from kling_async.errors import KlingError
    from kling_async.orchestrator.ledger.steps import PoolFacts

__all__ = ["SharedPool"]

_NS: Final = 1e9
_BURST: Final = 8
"""Tickets of one process that may wait at once; more count as arriving one by one."""
_SPACING: Final = 0.25
"""Seconds between these, so that a process that queues much at once does not shut the others out: four that
queue 40 each, started within a second, end within a tenth of each other."""


class SharedPool:
    """A pool of the ledger, as this process last heard of it."""

    def __init__(self, name: str, facts: PoolFacts) -> None:
        self.name = name
        self.facts = facts
        self.ahead: dict[Ticket, int] = {}
        """How many tickets go before each that waits here: all that waited, until the ledger has said it."""
        self.queued_here = 0
        self.contended = False
        """What listeners were last told."""
        self._last_arrival = 0
        self._holds: dict[Kind, Hold] = {}

    @property
    def breakers(self) -> SharedPool:
        """Holds of the pool."""
        return self

    def all_holds(self) -> list[Hold]:
        """Return the holds as they stand, in this client's time."""
        return list(self._holds.values())

    def hear(self, facts: PoolFacts, offset: float) -> list[HoldChange]:
        """Take what the ledger says; return the holds that have changed.

        Args:
            facts: What it says.
            offset: Seconds from the ledger's time to the client's.
        """
        before, told = self._holds, {hold.kind: hold.probe_at for hold in self.facts.holds}
        changes: list[HoldChange] = []
        holds: dict[Kind, Hold] = {}
        for hold in facts.holds:
            known = before.get(hold.kind)
            if known is None or told.get(hold.kind) != hold.probe_at:
                holds[hold.kind] = hold._replace(probe_at=hold.probe_at + offset)
                step = HoldStep.BEGUN if known is None else HoldStep.RENEWED
                changes.append(HoldChange(step, holds[hold.kind]))
            else:
                holds[hold.kind] = known
        changes += [HoldChange(HoldStep.ENDED, hold) for kind, hold in before.items() if kind not in holds]
        self.facts, self._holds = facts, holds
        return changes

    @property
    def limit(self) -> int:
        """Size of the pool."""
        return self.facts.limit

    @property
    def source(self) -> LimitSource:
        """Source of the size."""
        return self.facts.source

    @property
    def belief(self) -> int:
        """How many slots may be held now, as far as known."""
        return self.facts.belief

    @property
    def held(self) -> int:
        """Slots of tasks of all processes."""
        return self.facts.held

    @property
    def queued(self) -> int:
        """How many tickets of all processes wait."""
        return max(self.facts.queued, self.queued_here)

    @property
    def closed(self) -> KlingError | None:
        """The error that creates fail with; None: they are let through."""
        return self.facts.closed

    def fits_ever(self, weight: int) -> bool:
        """Tell whether the pool could hold this weight at all, as far as known."""
        return self.source not in ("caller", "packs") or weight <= self.limit

    def position(self, ticket: Ticket) -> int | None:
        """Return how many tickets go before one that waits here, as last heard; None for any other."""
        return self.ahead.get(ticket) if ticket.queued else None

    def place(self, ticket: Ticket, before: int) -> None:
        """Take how many tickets go before one that waits here."""
        if ticket in self.ahead:
            self.ahead[ticket] = before

    def arrival(self, now: float) -> int:
        """Return the time of arrival, in nanoseconds, that counts for a ticket that comes now."""
        spaced = now + max(0, self.queued_here - _BURST + 1) * _SPACING
        last = self._last_arrival + 1 if self.queued_here else 0  # first come, first served among our own
        self._last_arrival = max(last, int(spaced * _NS))
        return self._last_arrival

    def put(self, ticket: Ticket) -> None:
        """Count a ticket of this process that waits."""
        self.ahead[ticket] = self.queued
        self.queued_here += 1

    def take(self, ticket: Ticket) -> None:
        """Count a ticket of this process that waits no more."""
        if self.ahead.pop(ticket, None) is not None:
            self.queued_here -= 1
