"""Admission: which creates may be sent now, decided for the slots of one pool as a plain state machine.

A pool has a *limit*, its size as far as anybody told or taught us, and a *belief*, how many slots we think
we may hold now: other users of the account hold slots we cannot see. A refusal (1303) of weight w says that
fewer than w are free, so belief becomes held + w - 1; a *probe*, a create sent although the belief says full,
finds out whether there is room again. A request is a `Ticket`; it keeps its place through all refusals.
Creates of an endpoint and model that the `breaker` holds are parked, and labels that hold all the slots they
may have are passed over; all others go on in their order.

Times are seconds of the caller's clock; ``jitter`` is the caller's random number in [0, 1). Methods that find
their call impossible raise `AdmissionError` or `IllegalMove` and change nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kling_async.core.breaker import Breakers, HoldStep
from kling_async.core.pacing import Access, Closure, Pacing
from kling_async.core.pool_sizes import LimitSource
from kling_async.core.queue import AdmissionError, Phase, Ticket
from kling_async.core.slots import LabelLimits, SlotLedger
from kling_async.core.waiting_line import TicketLine, WaitingLine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.core.breaker import HoldChange
    from kling_async.core.queue import Kind
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.errors import KlingError

__all__ = ["AdmissionError", "LimitSource", "Phase", "Pool", "Ticket", "View"]


class View(NamedTuple):
    """A pool at one moment."""

    limit: int
    source: LimitSource
    belief: int
    held: int
    queued: int
    closed: KlingError | None


class Pool:
    """The slots of one pack type. See the module's docstring; the rules are numbered in the tests.

    Args:
        name: Of the pack type.
        limit: Its size.
        source: Who said so: ``caller`` and ``packs`` bind; ``default`` may be passed by probes.
        life: Seconds after which a held slot stops counting.
        gate: False: count only, let every create through at once (``queueing=False``).
        label_limits: Most slots that the tickets of a label may hold together.
        waiting: Keeps the tickets that wait; None: a line of this process's own.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        source: LimitSource = "default",
        life: float = math.inf,
        gate: bool = True,
        label_limits: Mapping[str, int] | None = None,
        waiting: TicketLine | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        self.source: LimitSource = source
        self.gate = gate
        self.belief = limit
        self.waiting: TicketLine = WaitingLine() if waiting is None else waiting
        self.labels = LabelLimits(label_limits or {})
        self.slots = SlotLedger(life, self.labels)
        self.pacing = Pacing()
        self.closure = Closure()
        self.breakers = Breakers()
        self._arrivals = 0

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.held} of {self.belief} held, {self.queued} queued"
        return f"Pool({self.name}: {state}, limit {self.limit} by {self.source})"

    @property
    def held(self) -> int:
        """Slots of tasks that run or may run, creates in flight included."""
        return self.slots.held

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        return self.waiting.count

    @property
    def contended(self) -> bool:
        """Whether any ticket waits for slots, and not for the end of a hold."""
        return self.waiting.count > self.waiting.parked

    @property
    def closed(self) -> KlingError | None:
        """The error that creates fail with; None: they are let through."""
        return self.closure.error

    @property
    def binding(self) -> bool:
        """Whether the limit is never passed: somebody who knows has set it."""
        return self.source in ("caller", "packs")

    def fits_ever(self, weight: int) -> bool:
        """Tell whether the pool could hold this weight at all, as far as known."""
        return not self.gate or not self.binding or weight <= self.limit

    # -- in and out of the queue

    def enter(self, ticket: Ticket, now: float) -> KlingError | None:
        """Queue a new ticket; return the error of a closed pool instead, if it is closed."""
        _need(ticket.phase is Phase.NEW, "only a new ticket enters")
        if self.closure.advance(now) is Access.CLOSED:
            return self.closure.error
        self._arrivals += 1
        if not ticket.sequence:  # a ledger shared by processes numbers arrivals by its clock
            ticket.sequence = self._arrivals
        ticket.entered, ticket.pool = now, self.name
        self.waiting.put(ticket)
        return None

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue."""
        _need(ticket.queued and ticket.pool == self.name, f"{ticket} is not queued here")
        self.waiting.leave(ticket)

    def admit(self, now: float) -> list[Ticket]:
        """Return the tickets whose creates are to be sent now, their slots taken."""
        self.closure.advance(now)
        self.waiting.bring_back(now)
        self._choose_probes(now)
        admitted: list[Ticket] = []
        while (ticket := self._head()) is not None:
            if self.gate and self.breakers.holds(ticket, now):
                self.waiting.park(ticket)
                continue
            if self._earliest(ticket) > now:
                break
            probe = self.held + ticket.weight > self.belief
            self.waiting.serve(ticket)
            self._send(ticket, now, probe=probe)
            admitted.append(ticket)
        return admitted

    def _head(self) -> Ticket | None:
        """Return the ticket whose turn it is, labels passed over that may have no more slots."""
        if not self.labels.limits:
            return self.waiting.head()
        for label in self.labels.take_freed():
            self.waiting.open(label)
        while (ticket := self.waiting.head()) is not None and not self.labels.allows(ticket):
            self.waiting.shut(ticket.label)
        return ticket

    def _choose_probes(self, now: float) -> None:
        """Put one ticket of each kind that wants a probe back in its place."""
        for kind in self.waiting.parked_kinds:
            if self.breakers.wants_probe(kind, now):
                able = filter(self.labels.allows, self.waiting.parked_of(kind))
                if (probe := self.waiting.unpark_first(able)) is not None:
                    self.breakers.holds(probe, now)

    def _send(self, ticket: Ticket, now: float, *, probe: bool) -> None:
        self.slots.send(ticket)
        ticket.epoch, ticket.since, ticket.probe = self.pacing.epoch, now, probe

    def _earliest(self, ticket: Ticket) -> float:
        """Return when this head may be sent if nothing else happens before; inf: something must happen."""
        pacing, busy = self.pacing, self.slots.busy
        earliest = pacing.quiet_until
        if self.closed is not None:  # half-open: one goes ahead, those behind it wait
            earliest = math.inf if busy else max(earliest, self.closure.half_open_at)
        if not self.gate:
            return earliest
        if not ticket.weight and pacing.one_at_a_time:  # nothing of ours makes room for it: only time does
            return math.inf if busy else max(earliest, pacing.next_probe)
        after = self.held + ticket.weight
        if after <= self.belief:
            return math.inf if pacing.one_at_a_time and busy else earliest
        if busy or (self.binding and after > self.limit):
            return math.inf
        return max(earliest, pacing.next_probe)

    def is_next(self, ticket: Ticket) -> bool:
        """Tell whether it is this ticket's turn."""
        return self._head() is ticket

    def position(self, ticket: Ticket) -> int | None:
        """Return how many tickets go before one that waits here; None for any other."""
        return self.waiting.position(ticket) if ticket.queued and ticket.pool == self.name else None

    def next_time(self) -> float:
        """Return when `admit` or `expire` may have something to do without any other call; inf: never."""
        head = self._head()
        send = math.inf if head is None else self._earliest(head)
        times = [send, self.waiting.next_return(), self.slots.next_expiry()]
        probes = map(self.breakers.next_probe, filter(self._can_probe, self.waiting.parked_kinds))
        return min(times + [time for time in probes if time is not None])

    def _can_probe(self, kind: Kind) -> bool:
        """Whether the label of any parked ticket of a kind may have more slots."""
        return any(map(self.labels.allows, self.waiting.parked_of(kind)))

    # -- answers to creates

    def judged(self, ticket: Ticket, verdict: CreateVerdict | Resolved, now: float) -> HoldChange | None:
        """Note what an attempt of a create came to; return the hold that begins, goes on or ends by it.

        Its slots are the business of the other methods.
        """
        change = self.breakers.judged(ticket, verdict, now) if self.gate else None
        if change is not None and change.step is HoldStep.ENDED:
            self.waiting.unpark(change.hold.kind)
        return change

    def accepted(self, ticket: Ticket, now: float) -> None:
        """Note that the vendor made the task, which holds its slots until `release`."""
        self.slots.answered(ticket)
        self.closure.answered(ticket.since)
        self.slots.hold(ticket, now)
        self.pacing.accepted(ticket.epoch)
        if not ticket.weight and ticket.epoch == self.pacing.epoch:
            self.pacing.reset()
        ours = self.held - self.slots.in_flight
        if not self.binding and ours > self.limit:
            self.limit, self.source = ours, "learned"
        if min(ours, self.limit) > self.belief:
            self.belief = min(ours, self.limit)
            if ticket.probe:  # there may be more room: the next probe goes at once
                self.pacing.reset()
                self.pacing.next_probe = now

    def refused(self, ticket: Ticket, now: float, jitter: float, *, drop: bool = False) -> bool:
        """Put a create that the full account refused (1303) back in its place; belief and pace follow.

        Returns:
            Whether it queues again: not if ``drop`` (its caller has left), nor if it can never be sent.
        """
        self.slots.answered(ticket)
        self.closure.answered(ticket.since)
        if ticket.weight:
            self.belief = max(0, min(self.belief, self.held + ticket.weight - 1))
        self.pacing.refused(ticket.epoch, now, jitter)
        if drop or not self._may_return(ticket):
            ticket.life.move(Phase.GONE)
            return False
        # A heavy head that even an empty pool refused waits for slots of others: they may be held for long,
        # and those behind it must not starve meanwhile.
        if ticket.weight > 1 and self.held == 0 and self._head() is not None:
            self.waiting.step_aside(ticket, now)
        else:
            self.waiting.put(ticket)
        return True

    def requeue(
        self, ticket: Ticket, now: float, after: float, *, drop: bool = False, opens: bool = False
    ) -> bool:
        """Put a create that surely made nothing, for no reason of the pool's, back in its place.

        Args:
            ticket: Its ticket.
            now: The time.
            after: Seconds for which the pool sends nothing.
            drop: Its caller has left.
            opens: The vendor did answer, so a half-open pool opens.

        Returns:
            Whether it queues again.
        """
        self.slots.answered(ticket)
        if opens:
            self.closure.answered(ticket.since)
        self.pacing.rest(now + after)
        if drop or not self._may_return(ticket):
            ticket.life.move(Phase.GONE)
            return False
        self.waiting.put(ticket)
        return True

    def _may_return(self, ticket: Ticket) -> bool:
        """Whether what was sent may queue again: the pool may have closed or shrunk since."""
        return not self.closure.shuts_out(ticket.since) and self.fits_ever(ticket.weight)

    def lapse(self, ticket: Ticket) -> None:
        """Free the slots of a create that has not been sent and is not sent now; `rejoin` follows."""
        self.slots.answered(ticket)

    def rejoin(self, ticket: Ticket) -> None:
        """Put a ticket whose slots lapsed back in its place."""
        self.waiting.put(ticket)

    def withdrawn(self, ticket: Ticket, *, opens: bool = True) -> None:
        """Free the slots of a create that was refused for its own sake."""
        self.slots.answered(ticket)
        ticket.life.move(Phase.GONE)
        if opens:
            self.closure.answered(ticket.since)

    def unknown(self, ticket: Ticket, now: float) -> None:
        """Note that an answer was lost: the slots stay held as if the task ran, for it may."""
        self.slots.answered(ticket)
        self.slots.hold(ticket, now)
        if ticket.probe:
            self.pacing.lengthen(now, 0.0)

    def resume(self, ticket: Ticket, now: float) -> bool:
        """Send a create again, in the slots it holds: it was looked up and surely made nothing.

        Returns:
            False if it holds no slots any more: then it must not be sent.
        """
        _need(ticket.pool == self.name, f"{ticket} is another pool's")
        if ticket.phase is not Phase.HELD:
            return False
        self.closure.advance(now)
        self._send(ticket, now, probe=False)
        return True

    # -- tasks that run

    def occupy(self, ticket: Ticket, now: float, age: float = 0.0) -> None:
        """Take slots for a task made elsewhere, or before, that is found running."""
        _need(ticket.phase is Phase.NEW, f"{ticket} was used already")
        ticket.pool = self.name
        self.slots.hold(ticket, now - age)

    def take_over(self, ticket: Ticket, holder: Ticket) -> None:
        """Hand the slots of a task, or of a create in doubt, to a ticket of the same task, new or held."""
        held = ticket.phase is Phase.HELD and ticket.pool == self.name
        _need(held or ticket.phase is Phase.NEW, f"{ticket} was used already")
        _need(holder.phase is Phase.HELD and holder.pool == self.name, f"{holder} holds no slots here")
        if held:
            self.slots.pass_on(holder, ticket)
            return
        self.slots.release(holder)
        ticket.pool = self.name
        self.slots.hold(ticket, holder.since)

    def lend(self, ticket: Ticket, holder: Ticket, now: float) -> None:
        """Let a create go on in the slots of one in doubt: `SlotLedger.take_back` gives them back."""
        _need(ticket.phase is Phase.SENT and ticket not in self.slots, f"{ticket} has slots")
        self.slots.lend(holder, ticket)
        self._send(ticket, now, probe=False)

    def release(self, ticket: Ticket, now: float) -> bool:
        """Free the slots of a task that was seen ended; False if it held none any more."""
        _need(ticket.pool == self.name, f"{ticket} is another pool's")
        if ticket.phase is not Phase.HELD:
            return False
        self._release(ticket, now)
        return True

    def expire(self, now: float) -> list[Ticket]:
        """Free slots that were held longer than a task's life; return their tickets."""
        expired = self.slots.expired(now)
        for ticket in expired:
            self._release(ticket, now)
        return expired

    def _release(self, ticket: Ticket, now: float) -> None:
        self.slots.release(ticket)
        if self.held == 0:  # an emptied pool tries at once
            self.pacing.probe_from(now)

    # -- the pool itself

    def resize(self, limit: int, source: LimitSource) -> list[Ticket]:
        """Take a limit from somebody who knows; return the queued tickets that can never fit."""
        unlowered = self.belief >= self.limit
        self.limit, self.source = limit, source
        self.belief = limit if unlowered else min(self.belief, limit)
        return self._purge(lambda ticket: not self.fits_ever(ticket.weight))

    def close(self, error: KlingError, now: float) -> list[Ticket]:
        """Stop creating; return what was queued, to be failed with that error."""
        self.closure.close(error, now)
        return self._purge(lambda _: True)

    def reopen(self) -> list[HoldChange]:
        """Let creates through again at once; return the holds that this ends."""
        self.closure.open()
        self.pacing.hurry()
        for kind in self.waiting.parked_kinds:
            self.waiting.unpark(kind)
        return self.breakers.reset()

    def _purge(self, unwanted: Callable[[Ticket], bool]) -> list[Ticket]:
        purged = sorted(filter(unwanted, self.waiting), key=lambda ticket: ticket.sequence)
        for ticket in purged:
            self.waiting.leave(ticket)
        return purged

    def tickets(self) -> list[Ticket]:
        """Return all tickets that queue, are in flight, or hold slots."""
        return [*self.waiting, *self.slots]

    def oldest(self) -> Ticket | None:
        """Return the ticket that arrived first of those that queue, whoever's turn it is."""
        return self.waiting.oldest()

    def view(self) -> View:
        """Return the pool's state as a value."""
        return View(self.limit, self.source, self.belief, self.held, self.queued, self.closed)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AdmissionError(message)
