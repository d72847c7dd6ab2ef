"""Who may create now: the slots of one pool, as a plain state machine.

A pool has a *limit*, its size as far as anybody told or taught us, and a *belief*, how many slots we think
we may hold now: other users of the account hold slots we cannot see. A refusal (1303) of weight w says that
fewer than w are free, so belief becomes held + w - 1; a *probe*, a create sent although the belief says full,
finds out whether there is room again. A request is a `Ticket`; it keeps its place through all refusals.

Times are seconds of the caller's clock; ``jitter`` is the caller's random number in [0, 1). Methods that find
their call impossible raise `AdmissionError` and change nothing.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.queue import AdmissionError, FairQueue, Phase, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.errors import KlingError

__all__ = ["AdmissionError", "Phase", "Pool", "Ticket", "View"]

PAUSE: Final = 1.0
PAUSE_MAX: Final = 30.0
JITTER: Final = 0.25
ASIDE_MAX: Final = 600.0
HALF_OPEN: Final = 60.0


class View(NamedTuple):
    """A pool at one moment."""

    limit: int
    source: str
    belief: int
    held: int
    queued: int
    closed: KlingError | None


class Pool:
    """The slots of one pack type. See the module's docstring; the rules are numbered in the tests."""

    def __init__(
        self,
        name: str,
        limit: int,
        *,
        source: str = "default",
        life: float = math.inf,
        gate: bool = True,
    ) -> None:
        self.name = name
        self.limit = limit
        self.source = source
        """``caller`` and ``packs`` bind; ``default`` and ``learned`` may be passed by probes."""
        self.life = life
        """Seconds after which a held slot stops counting."""
        self.gate = gate
        """False: count only, let every create through at once (``queueing=False``)."""
        self.belief = limit
        self.held = 0
        """Slots of tasks that run or may run, creates in flight included."""
        self.queued = 0
        self.closed: KlingError | None = None
        self._sent: set[Ticket] = set()
        self._flying = 0
        """Weight of what is sent and not answered."""
        self._holding: set[Ticket] = set()
        self._ends: list[tuple[float, int, Ticket]] = []
        self._epoch = 0
        self._single = False
        self._pause = PAUSE
        self._next_try = -math.inf
        self._calm = -math.inf
        self._reopens = math.inf
        self._sequence = 0
        self._queue = FairQueue()
        self._aside: list[tuple[float, int, Ticket]] = []

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.held} of {self.belief} held, {self.queued} queued"
        return f"Pool({self.name}: {state}, limit {self.limit} by {self.source})"

    # -- in and out of the queue

    @property
    def told(self) -> bool:
        """Whether somebody who knows set the limit."""
        return self.source in ("caller", "packs")

    def fits_ever(self, weight: int) -> bool:
        """Tell whether the pool could hold this weight at all, as far as known."""
        return not self.gate or not self.told or weight <= self.limit

    def enter(self, ticket: Ticket, now: float) -> KlingError | None:
        """Queue a new ticket; return the error of a closed pool instead, if it is closed."""
        _need(ticket.phase is Phase.GONE and ticket.sequence == 0, "only a new ticket enters")
        if self.closed is not None and now < self._reopens:
            return self.closed
        self._sequence += 1
        ticket.sequence, ticket.pool = self._sequence, self
        self._put(ticket)
        return None

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue."""
        _need(ticket.queued and ticket.pool is self, f"{ticket} is not queued here")
        ticket.phase = Phase.GONE
        self.queued -= 1
        self._queue.dropped(ticket)

    def admit(self, now: float) -> list[Ticket]:
        """Return the tickets whose creates are to be sent now, their slots taken."""
        self._bring_back(now)
        out: list[Ticket] = []
        while (ticket := self._queue.head()) is not None:
            if self._when(ticket) > now:
                break
            self._queue.serve(ticket)
            ticket.probe = self.held + ticket.weight > self.belief
            ticket.phase, ticket.epoch, ticket.since = Phase.SENT, self._epoch, now
            self.queued -= 1
            self.held += ticket.weight
            self._flies(ticket)
            out.append(ticket)
        return out

    def _when(self, ticket: Ticket) -> float:
        """Return when this head may be sent if nothing else happens before; inf: something must happen."""
        wait = self._calm
        if self.closed is not None:  # half-open: one goes ahead, those behind it wait
            wait = math.inf if self._sent else max(wait, self._reopens)
        if not self.gate:
            return wait
        if not ticket.weight and self._single:  # nothing of ours makes room for it: only time does
            return math.inf if self._sent else max(wait, self._next_try)
        after = self.held + ticket.weight
        if after <= self.belief:
            return math.inf if self._single and self._sent else wait
        if self._sent or (self.told and after > self.limit):
            return math.inf
        return max(wait, self._next_try)

    def is_next(self, ticket: Ticket) -> bool:
        """Tell whether it is this ticket's turn."""
        return self._queue.head() is ticket

    def next_time(self) -> float:
        """Return when `admit` or `expire` may have something to do without any other call; inf: never."""
        head = self._queue.head()
        times = [math.inf if head is None else self._when(head)]
        if self._aside:
            times.append(self._aside[0][0])
        while self._ends and self._ends[0][2] not in self._holding:
            heapq.heappop(self._ends)
        if self._ends:
            times.append(self._ends[0][0])
        return min(times)

    # -- what became of a create

    def accepted(self, ticket: Ticket, now: float) -> None:
        """The vendor made the task: it holds its slots until `release`."""
        self._answered(ticket)
        self._open_if_probed(ticket)
        self._hold(ticket, now)
        if ticket.epoch == self._epoch:
            self._single = False
            if not ticket.weight:
                self._pause = PAUSE
        ours = self.held - self._flying
        if not self.told and ours > self.limit:
            self.limit, self.source = ours, "learned"
        if min(ours, self.limit) > self.belief:
            self.belief = min(ours, self.limit)
            if ticket.probe:  # there may be more room: ask on at once
                self._pause, self._next_try = PAUSE, now

    def refused(self, ticket: Ticket, now: float, jitter: float, *, drop: bool = False) -> bool:
        """1303: back to its place; belief and pace follow.

        Returns:
            Whether it queues again: not if ``drop`` (its caller has left), nor if it can never be sent.
        """
        self._answered(ticket)
        self._open_if_probed(ticket)
        if ticket.weight:
            self.belief = max(0, min(self.belief, self.held + ticket.weight - 1))
        self._single = True
        if ticket.epoch == self._epoch:  # refusals of creates in flight together count as one
            self._epoch += 1
            self._spend_pause(now, jitter)
        if drop or not self._may_return(ticket):
            return False
        if ticket.weight > 1 and self.held == 0 and self._queue.head() is not None:
            self._step_aside(ticket, now)
        else:
            self._put(ticket)
        return True

    def requeue(
        self, ticket: Ticket, now: float, after: float, *, drop: bool = False, opens: bool = False
    ) -> bool:
        """It surely was not made, for no reason of the pool's: back to its place, all wait a while.

        Args:
            ticket: What was sent.
            now: The time.
            after: For how long nothing is sent.
            drop: Its caller has left.
            opens: The vendor did answer, so a half-open pool opens.

        Returns:
            Whether it queues again.
        """
        self._answered(ticket)
        if opens:
            self._open_if_probed(ticket)
        self._calm = max(self._calm, now + after)
        if drop or not self._may_return(ticket):
            return False
        self._put(ticket)
        return True

    def withdrawn(self, ticket: Ticket, *, opens: bool = True) -> None:
        """It was refused for its own sake: its slots are free, it is gone."""
        self._answered(ticket)
        if opens:
            self._open_if_probed(ticket)

    def unknown(self, ticket: Ticket, now: float) -> None:
        """Its answer was lost: its slots stay held as if the task ran, for it may."""
        self._answered(ticket)
        self._hold(ticket, now)
        if ticket.probe:
            self._spend_pause(now, 0.0)

    def resume(self, ticket: Ticket, now: float) -> bool:
        """It was looked up and surely made nothing: it is sent again, in the slots it holds.

        False if it holds none any more: then it must not be sent.
        """
        _need(ticket.pool is self, f"{ticket} is another pool's")
        if ticket.phase is not Phase.HELD:
            return False
        self._holding.discard(ticket)
        self._flies(ticket)
        ticket.phase, ticket.epoch, ticket.since, ticket.probe = Phase.SENT, self._epoch, now, False
        return True

    # -- tasks that run

    def occupy(self, ticket: Ticket, now: float, age: float = 0.0) -> None:
        """A task made elsewhere, or before, is found running: it holds its slots too."""
        _need(ticket.phase is Phase.GONE and ticket.pool is None, f"{ticket} was used already")
        ticket.pool = self
        self._hold(ticket, now - age)

    def release(self, ticket: Ticket, now: float) -> bool:
        """The task was seen ended: free its slots. False if it held none any more."""
        _need(ticket.pool is self, f"{ticket} is another pool's")
        if ticket.phase is not Phase.HELD:
            return False
        self._drop_hold(ticket, now)
        return True

    def expire(self, now: float) -> list[Ticket]:
        """Let go of slots that were held longer than ``life``; return their tickets."""
        out: list[Ticket] = []
        while self._ends and self._ends[0][0] <= now:
            ticket = heapq.heappop(self._ends)[2]
            if ticket in self._holding:
                self._drop_hold(ticket, now)
                out.append(ticket)
        return out

    # -- the pool itself

    def resize(self, limit: int, source: str) -> list[Ticket]:
        """Take a limit from somebody who knows; return the queued tickets that can never fit."""
        unlowered = self.belief >= self.limit
        self.limit, self.source = limit, source
        self.belief = limit if unlowered else min(self.belief, limit)
        return self._purge(lambda t: not self.fits_ever(t.weight))

    def close(self, error: KlingError, now: float) -> list[Ticket]:
        """Stop creating; return what was queued, to be failed with that error."""
        self.closed, self._reopens = error, now + HALF_OPEN
        return self._purge(lambda _: True)

    def reopen(self) -> None:
        """Let creates through again at once."""
        self._open()
        self._next_try = self._calm = -math.inf

    def tickets(self) -> list[Ticket]:
        """Return all tickets that queue, are in flight, or hold slots."""
        aside = [item[-1] for item in self._aside if item[-1].phase is Phase.ASIDE]
        return [*self._queue, *aside, *self._sent, *self._holding]

    def oldest(self) -> Ticket | None:
        """Return the ticket that came first of those that queue, whoever's turn it is."""
        aside = (item[-1] for item in self._aside if item[-1].phase is Phase.ASIDE)
        return min((*self._queue.heads(), *aside), key=lambda ticket: ticket.sequence, default=None)

    def view(self) -> View:
        """Return the pool's state as a value."""
        return View(self.limit, self.source, self.belief, self.held, self.queued, self.closed)

    # -- within

    def _put(self, ticket: Ticket) -> None:
        self._queue.put(ticket)
        self.queued += 1

    def _may_return(self, ticket: Ticket) -> bool:
        """Whether what was sent may queue again: the pool may have closed or shrunk since."""
        if self.closed is not None and ticket.since < self._reopens:
            return False
        return self.fits_ever(ticket.weight)

    def _step_aside(self, ticket: Ticket, now: float) -> None:
        """A heavy head that even an empty pool refused lets those behind it pass for a while."""
        ticket.phase = Phase.ASIDE
        self.queued += 1
        heapq.heappush(self._aside, (now + ticket.aside, ticket.sequence, ticket))
        ticket.aside = min(ASIDE_MAX, ticket.aside * 2)

    def _bring_back(self, now: float) -> None:
        while self._aside and (self._aside[0][0] <= now or self._aside[0][2].phase is Phase.GONE):
            ticket = heapq.heappop(self._aside)[2]
            if ticket.phase is Phase.ASIDE:
                self._queue.put(ticket)

    def _spend_pause(self, now: float, jitter: float) -> None:
        self._next_try = now + self._pause * (1 + JITTER * jitter)
        self._pause = min(PAUSE_MAX, self._pause * 2)

    def _flies(self, ticket: Ticket) -> None:
        self._sent.add(ticket)
        self._flying += ticket.weight

    def _answered(self, ticket: Ticket) -> None:
        _need(ticket in self._sent, f"{ticket} is not in flight here")
        self._sent.discard(ticket)
        self._flying -= ticket.weight
        self.held -= ticket.weight
        ticket.phase = Phase.GONE

    def _hold(self, ticket: Ticket, since: float) -> None:
        ticket.phase, ticket.since = Phase.HELD, since
        self.held += ticket.weight
        self._holding.add(ticket)
        if self.life < math.inf:
            self._sequence += 1
            heapq.heappush(self._ends, (since + self.life, self._sequence, ticket))

    def _drop_hold(self, ticket: Ticket, now: float) -> None:
        self._holding.discard(ticket)
        ticket.phase = Phase.GONE
        self.held -= ticket.weight
        if self.held == 0:  # an emptied pool tries at once
            self._next_try = min(self._next_try, now)
        if len(self._ends) > 64 and len(self._ends) > 2 * len(self._holding):
            self._ends = [item for item in self._ends if item[2] in self._holding]
            heapq.heapify(self._ends)

    def _open_if_probed(self, ticket: Ticket) -> None:
        """An answer opens a half-open pool; one to a create sent before it closed says nothing."""
        if ticket.since >= self._reopens:
            self._open()

    def _open(self) -> None:
        self.closed, self._reopens = None, math.inf

    def _purge(self, unwanted: Callable[[Ticket], bool]) -> list[Ticket]:
        gone = [t for t in self.tickets() if t.queued and unwanted(t)]
        gone.sort(key=lambda t: t.sequence)
        for ticket in gone:
            self.leave(ticket)
        return gone


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AdmissionError(message)
