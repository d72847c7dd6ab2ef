"""The slots of one pool that are taken: by creates on their way, and by tasks that run or may run.

`LabelLimits` counts those of labels that may have only so many.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from kling_async.core.queue import AdmissionError, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kling_async.core.queue import Ticket

__all__ = ["LabelLimits", "SlotLedger"]

_STALE_MAX: Final = 64
"""Expiry times of slots that are free already; with fewer than this a sweep is not worth it."""


class LabelLimits:
    """How many slots of a pool labels may hold, and hold.

    Args:
        limits: Most slots by label; a label that is not named may hold any number.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = dict(limits)
        self._held = dict.fromkeys(self.limits, 0)
        self._freed: set[str] = set()

    def take(self, ticket: Ticket) -> None:
        """Count slots that are taken, of a label that is limited."""
        self._held[ticket.label] += ticket.weight

    def give_back(self, ticket: Ticket) -> None:
        """Count slots that are free again, of a label that is limited."""
        self._held[ticket.label] -= ticket.weight
        self._freed.add(ticket.label)

    def allows(self, ticket: Ticket) -> bool:
        """Tell whether the ticket's label may have its slots now, as well as those it has."""
        held = self._held.get(ticket.label)
        return held is None or not ticket.weight or held + ticket.weight <= self.limits[ticket.label]

    def fits_ever(self, ticket: Ticket) -> bool:
        """Tell whether the ticket's label may have so many slots at all."""
        return ticket.weight <= self.limits.get(ticket.label, math.inf)

    def take_freed(self) -> set[str]:
        """Return the labels whose slots became free since the last call."""
        freed, self._freed = self._freed, set()
        return freed


class SlotLedger:
    """Which tickets hold slots, and since when.

    Args:
        life: Seconds after which the slots of a task stop counting, seen ended or not.
        labels: Told of all slots that are taken and given back.
    """

    def __init__(self, life: float = math.inf, labels: LabelLimits | None = None) -> None:
        self.life = life
        self.labels = LabelLimits({}) if labels is None else labels
        self.held = 0
        """Slots of all tasks that run or may run, creates in flight included."""
        self.in_flight = 0
        """Slots of creates that are sent and not answered."""
        self._sent: set[Ticket] = set()
        self._holding: set[Ticket] = set()
        self._expiries: list[tuple[float, int, Ticket]] = []
        """(when its slots expire, order, ticket), a heap; tickets that hold no more are passed over."""
        self._order = 0

    def __iter__(self) -> Iterator[Ticket]:
        """All tickets that hold slots."""
        yield from self._sent
        yield from self._holding

    @property
    def busy(self) -> bool:
        """Whether a create is on its way."""
        return bool(self._sent)

    def _take(self, ticket: Ticket) -> None:
        self.held += ticket.weight
        if ticket.label in self.labels.limits:
            self.labels.take(ticket)

    def _give_back(self, ticket: Ticket) -> None:
        self.held -= ticket.weight
        if ticket.label in self.labels.limits:
            self.labels.give_back(ticket)

    def send(self, ticket: Ticket) -> None:
        """Take slots for a create that is sent now; one that holds them already keeps them."""
        if ticket.phase is Phase.HELD:
            self._holding.discard(ticket)
            self._give_back(ticket)
        ticket.life.move(Phase.SENT)
        self._sent.add(ticket)
        self.in_flight += ticket.weight
        self._take(ticket)

    def restore(self, ticket: Ticket) -> None:
        """Take back a ticket that was in flight, or held slots, when its pool was written down."""
        self._take(ticket)
        if ticket.phase is Phase.SENT:
            self._sent.add(ticket)
            self.in_flight += ticket.weight
        else:
            self._holding.add(ticket)
            self._expire_later(ticket)

    def answered(self, ticket: Ticket) -> None:
        """Free the slots of a create in flight; the caller says where its ticket moves.

        Raises:
            AdmissionError: It is not in flight here; nothing has changed.
        """
        if ticket not in self._sent:
            raise AdmissionError(f"{ticket} is not in flight here")
        self._sent.discard(ticket)
        self.in_flight -= ticket.weight
        self._give_back(ticket)

    def hold(self, ticket: Ticket, since: float) -> None:
        """Take slots for a task that has run, or may have run, since then."""
        ticket.life.move(Phase.HELD)
        ticket.since = since
        self._take(ticket)
        self._holding.add(ticket)
        self._expire_later(ticket)

    def _expire_later(self, ticket: Ticket) -> None:
        if self.life < math.inf:
            self._order += 1
            heapq.heappush(self._expiries, (ticket.since + self.life, self._order, ticket))

    def release(self, ticket: Ticket) -> None:
        """Free the slots of a task."""
        ticket.life.move(Phase.GONE)
        self._holding.discard(ticket)
        self._give_back(ticket)
        if len(self._expiries) > _STALE_MAX and len(self._expiries) > 2 * len(self._holding):
            self._expiries = [item for item in self._expiries if item[2] in self._holding]
            heapq.heapify(self._expiries)

    def pass_on(self, holder: Ticket, ticket: Ticket) -> None:
        """Give the slots of a task to another ticket of it, which holds some itself, or none."""
        self.release(holder)
        self._give_back(ticket)
        ticket.weight += holder.weight
        self._take(ticket)

    def lend(self, holder: Ticket, ticket: Ticket) -> None:
        """Give the slots of a task that may run to a ticket that has none: a create that goes on with it."""
        self._give_back(holder)
        ticket.weight, holder.weight = max(ticket.weight, holder.weight), 0
        self.hold(ticket, holder.since)

    def take_back(self, holder: Ticket, ticket: Ticket) -> None:
        """Give lent slots back, before the ticket gives up its own."""
        holder.weight = ticket.weight
        self._take(holder)

    def expired(self, now: float) -> list[Ticket]:
        """Return the tickets whose slots were held longer than ``life``, each once."""
        due: list[Ticket] = []
        while self._expiries and self._expiries[0][0] <= now:
            ticket = heapq.heappop(self._expiries)[2]
            # one that was sent again in between holds them from a later time on, and has another entry
            if ticket in self._holding and ticket.since + self.life <= now and ticket not in due:
                due.append(ticket)
        return due

    def next_expiry(self) -> float:
        """Return when the next slots expire; inf: none do."""
        while self._expiries and self._expiries[0][2] not in self._holding:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else math.inf
