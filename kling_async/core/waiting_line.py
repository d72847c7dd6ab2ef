"""The tickets of one pool that wait: in turn, stepped aside for a pause, or parked while held."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

from kling_async.core.queue import AdmissionError, FairQueue, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kling_async.core.queue import Kind, Ticket

__all__ = ["ASIDE", "ASIDE_MAX", "TicketLine", "WaitingLine"]

ASIDE: Final = 30.0
"""Seconds for which a heavy ticket first steps aside: one generation of short tasks may pass meanwhile."""
ASIDE_MAX: Final = 600.0
"""Longest such pause; each doubles. Ten minutes are more than nearly all tasks last, so the slot that keeps
the heavy ticket out is likely to be another by then."""


class TicketLine(Protocol):
    """Keeps the tickets that wait for one pool (`WaitingLine`, or a ledger that processes share)."""

    @property
    def count(self) -> int:
        """How many wait."""
        ...

    @property
    def parked(self) -> int:
        """How many of them are parked."""
        ...

    @property
    def parked_kinds(self) -> list[Kind]:
        """The kinds of which tickets are parked."""
        ...

    def __iter__(self) -> Iterator[Ticket]:
        """All that wait, in no particular order."""
        ...

    def put(self, ticket: Ticket, /) -> None:
        """Add a ticket: a new one behind those of its label, one that was sent in its old place."""

    def step_aside(self, ticket: Ticket, now: float, /) -> None:
        """Add a ticket that was sent and lets those behind it pass for a pause."""

    def bring_back(self, now: float, /) -> None:
        """Put those whose pause is over back in their places."""

    def next_return(self) -> float:
        """Return when the next pause is over; inf: nobody stepped aside."""
        ...

    def park(self, head: Ticket, /) -> None:
        """Take the head out of the line until creates of its kind are held no longer."""

    def parked_of(self, kind: Kind, /) -> Iterator[Ticket]:
        """Iterate over the parked tickets of a kind, in no particular order."""
        ...

    def unpark_first(self, tickets: Iterable[Ticket], /) -> Ticket | None:
        """Put the one of some parked tickets that comes first back in its place; None: there are none."""
        ...

    def unpark(self, kind: Kind, /) -> None:
        """Put all parked tickets of a kind back in their places."""

    def shut(self, label: str, /) -> None:
        """Pass over the tickets of a label: it has all the slots that it may have."""

    def open(self, label: str, /) -> None:
        """Let a label take its turns again."""

    def head(self) -> Ticket | None:
        """Return the ticket whose turn it is."""
        ...

    def serve(self, ticket: Ticket, /) -> None:
        """Take out the head: it is sent."""

    def leave(self, ticket: Ticket, /) -> None:
        """Take out any ticket for good."""

    def position(self, ticket: Ticket, /) -> int:
        """Return how many tickets go before one that waits."""
        ...

    def oldest(self) -> Ticket | None:
        """Return the ticket that arrived first of all that wait."""
        ...


class WaitingLine:
    """All tickets that wait for the slots of one pool: in turn, stepped aside for a while, or parked."""

    def __init__(self) -> None:
        self.count = 0
        """How many wait."""
        self._queue = FairQueue()
        self._aside: list[tuple[float, int, Ticket]] = []
        """(when it comes back, arrival, ticket), a heap; tickets that left meanwhile are passed over."""
        self._pauses: WeakKeyDictionary[Ticket, float] = WeakKeyDictionary()
        """Seconds for which tickets that stepped aside before would do so next."""
        self._parked: dict[Kind, set[Ticket]] = {}
        """Those that are parked; no kind is empty."""

    def __iter__(self) -> Iterator[Ticket]:
        """All that wait, in no particular order."""
        yield from self._queue
        yield from self._stepped_aside()
        for parked in self._parked.values():
            yield from parked

    def _stepped_aside(self) -> Iterator[Ticket]:
        return (ticket for _, _, ticket in self._aside if ticket.phase is Phase.ASIDE)

    def put(self, ticket: Ticket) -> None:
        """Add a ticket: a new one behind those of its label, one that was sent in its old place."""
        self._queue.put(ticket)
        self.count += 1

    def step_aside(self, ticket: Ticket, now: float) -> None:
        """Add a ticket that was sent and lets those behind it pass for a pause."""
        ticket.life.move(Phase.ASIDE)
        pause = self._pauses.get(ticket, ASIDE)
        heapq.heappush(self._aside, (now + pause, ticket.sequence, ticket))
        self._pauses[ticket] = min(ASIDE_MAX, pause * 2)
        self.count += 1

    def bring_back(self, now: float) -> None:
        """Put those whose pause is over back in their places."""
        while self._aside and (self._aside[0][0] <= now or self._aside[0][2].phase is Phase.GONE):
            ticket = heapq.heappop(self._aside)[2]
            if ticket.phase is Phase.ASIDE:
                self._queue.put(ticket)

    def next_return(self) -> float:
        """Return when the next pause is over; inf: nobody stepped aside."""
        return self._aside[0][0] if self._aside else math.inf

    # -- parked

    @property
    def parked_kinds(self) -> list[Kind]:
        """The kinds of which tickets are parked."""
        return list(self._parked)

    @property
    def parked(self) -> int:
        """How many are parked."""
        return sum(map(len, self._parked.values()))

    def park(self, head: Ticket) -> None:
        """Take the head out of the line until creates of its kind are held no longer.

        Raises:
            AdmissionError: It has no kind.
        """
        if head.kind is None:
            raise AdmissionError(f"{head} has no kind to be parked with")
        self._queue.pass_over(head)
        head.life.move(Phase.PARKED)
        self._parked.setdefault(head.kind, set()).add(head)

    def parked_of(self, kind: Kind) -> Iterator[Ticket]:
        """Iterate over the parked tickets of a kind, in no particular order."""
        return iter(self._parked.get(kind, ()))

    def unpark_first(self, tickets: Iterable[Ticket]) -> Ticket | None:
        """Put the one of some parked tickets that comes first, by priority and arrival, back in its place.

        Returns:
            That ticket; None if there are none.
        """
        first = min(tickets, key=_probe_order, default=None)
        if first is None:
            return None
        self._take_out(first)
        self._queue.put(first)
        return first

    def unpark(self, kind: Kind) -> None:
        """Put all parked tickets of a kind back in their places."""
        for ticket in self._parked.pop(kind, ()):
            self._queue.put(ticket)

    def _take_out(self, ticket: Ticket) -> None:
        """Take a ticket out of those that are parked, if it is among them."""
        if ticket.kind is not None and (parked := self._parked.get(ticket.kind)) is not None:
            parked.discard(ticket)
            if not parked:
                del self._parked[ticket.kind]

    # -- labels that may take no more slots

    def shut(self, label: str) -> None:
        """Pass over the tickets of a label: it has all the slots that it may have."""
        self._queue.shut(label)

    def open(self, label: str) -> None:
        """Let a label take its turns again."""
        self._queue.open(label)

    # -- in turn

    def head(self) -> Ticket | None:
        """Return the ticket whose turn it is."""
        return self._queue.head()

    def serve(self, ticket: Ticket) -> None:
        """Take out the head: it is sent."""
        self._queue.serve(ticket)
        self.count -= 1

    def leave(self, ticket: Ticket) -> None:
        """Take out any ticket for good."""
        ticket.life.move(Phase.GONE)
        self.count -= 1
        self._take_out(ticket)
        self._queue.remove(ticket)

    def position(self, ticket: Ticket) -> int:
        """Return how many tickets go before one that waits.

        One that waits aside counts in its old place; one that is parked goes after those that are not, in
        the order in which probes are chosen. The parked ones go before nobody else.
        """
        if ticket.phase is not Phase.PARKED:
            return self._queue.position(ticket)
        order = _probe_order(ticket)
        parked = (other for tickets in self._parked.values() for other in tickets)
        return self.count - self.parked + sum(_probe_order(other) < order for other in parked)

    def oldest(self) -> Ticket | None:
        """Return the ticket that arrived first of all that wait, whoever's turn it is."""
        parked = (ticket for tickets in self._parked.values() for ticket in tickets)
        waiting = (*self._queue.heads(), *self._stepped_aside(), *parked)
        return min(waiting, key=lambda ticket: ticket.sequence, default=None)


def _probe_order(ticket: Ticket) -> tuple[int, int]:
    """Return the place of a parked ticket among those that wait for the same hold to end."""
    return -ticket.priority, ticket.sequence
