"""Claims: the tickets of this process, with whoever waits for their slots or holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kling_async.core.queue import Phase
from kling_async.orchestrator.ledger.facts import facts_of
from kling_async.orchestrator.ledger.steps import Enter, Occupy
from kling_async.orchestrator.tracked import TrackedTask

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from kling_async.core.queue import Ticket
    from kling_async.events import Subject
    from kling_async.orchestrator.ledger.mailbox import Letter
    from kling_async.orchestrator.ledger.steps import HeldTask, Step
    from kling_async.orchestrator.slot_keeper import SlotClaimant

__all__ = ["AsksForAll", "Claim", "entry"]


class AsksForAll(Protocol):
    """Asks about the tasks of the ledger, and knows who has a claim's task (`ledger.asking.Asking`)."""

    def on_tasks(self, tasks: Sequence[HeldTask], contended: frozenset[str], now: float, /) -> None:
        """Ask about these tasks and no others, by the ledger's time ``now``; none: another process asks."""

    def on_ended(self, holder: Subject, /) -> None:
        """Read the result of a task of this process, which another one has seen ended."""

    def on_letter(self, letter: Letter, /) -> None:
        """Take the result of a task of this process, which another one has read."""

    def on_turn(self) -> None:
        """Send what waits for its turn to read."""

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""


class Claim:
    """A ticket of this process."""

    __slots__ = ("claimant", "confirmed", "confirming", "holder", "ticket")

    def __init__(
        self, ticket: Ticket, claimant: SlotClaimant | None = None, holder: Subject | None = None
    ) -> None:
        self.ticket = ticket
        self.claimant = claimant
        """Whoever waits, or has a create on its way."""
        self.holder = holder
        """The task that holds the slots."""
        self.confirming: asyncio.Future[bool] | None = None
        self.confirmed = False

    @property
    def in_use(self) -> bool:
        """Whether its slots are in use: a create was sent, or its task runs or may run."""
        return self.ticket.phase is Phase.HELD or (self.ticket.phase is Phase.SENT and self.confirmed)

    def steps(self, now: float) -> list[Step]:
        """Return the steps that write it into a new file, at a time of the client's clock."""
        ticket = self.ticket
        if ticket.queued and self.claimant is not None:
            return [entry(ticket, self.claimant)]
        about = self.holder if self.claimant is None else self.claimant.subject
        if not self.in_use or about is None:  # granted, and nothing sent: it queues anew when it asks
            return []
        started = about.started if isinstance(about, TrackedTask) else None
        age = 0.0 if started is None else max(0.0, now - started)
        return [Occupy(ticket.pool, ticket.sequence, ticket.weight, age, facts_of(about), ticket.label)]


def entry(ticket: Ticket, claimant: SlotClaimant) -> Enter:
    """Return the step that queues a ticket."""
    about = facts_of(claimant.subject)
    place = ticket.weight, ticket.priority, ticket.label
    return Enter(ticket.pool, ticket.sequence, *place, about, ticket.kind)
