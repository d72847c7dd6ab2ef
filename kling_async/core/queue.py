"""One request's claim on slots, and whose turn it is: see `kling_async.core.admission`."""

from __future__ import annotations

import bisect
import enum
import heapq
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ASIDE", "AdmissionError", "FairQueue", "Phase", "Ticket"]

ASIDE: Final = 30.0
"""Seconds for which a heavy ticket first lets those behind it pass."""


IDLE_LANES: Final = 64
"""Priorities that are remembered, with whose turn it is, though nobody queues with them."""


class AdmissionError(RuntimeError):
    """A step that the state of the ticket or pool does not allow: a bug in the driver."""


class Phase(enum.Enum):
    """Where a ticket is."""

    QUEUED = "queued"
    ASIDE = "aside"
    SENT = "sent"
    HELD = "held"
    GONE = "gone"


class Ticket:
    """One request's claim on slots: its place in the queue, then its hold on them."""

    __slots__ = (
        "aside",
        "epoch",
        "label",
        "owner",
        "phase",
        "pool",
        "priority",
        "probe",
        "sequence",
        "since",
        "turn",
        "weight",
    )

    def __init__(self, weight: int, *, priority: int = 0, label: str = "", owner: Any = None) -> None:
        self.weight = weight
        self.priority = priority
        self.label = label
        self.owner = owner
        """Whatever the driver wants to find again."""
        self.phase = Phase.GONE
        self.pool: object = None
        self.sequence = 0
        """Order of arrival; 0: not entered yet."""
        self.turn = 0
        """Its label's turn, taken when it is first sent and kept through refusals; 0: not taken yet."""
        self.epoch = -1
        self.probe = False
        self.since = 0.0
        """When it was sent, then when it began to hold."""
        self.aside = ASIDE

    @property
    def queued(self) -> bool:
        """Whether it waits for slots."""
        return self.phase in (Phase.QUEUED, Phase.ASIDE)

    def __repr__(self) -> str:
        return f"Ticket({self.sequence} {self.phase.value} weight={self.weight})"


class FairQueue:
    """Tickets in the order in which they are served.

    Higher priority first; within one priority labels take turns; within one label first come, first served.
    """

    def __init__(self) -> None:
        self._lanes: dict[int, _Priority] = {}
        self._order: list[int] = []
        """The lanes' priorities, lowest first."""

    def __iter__(self) -> Iterator[Ticket]:
        """All that queue, in no particular order."""
        for lane in self._lanes.values():
            for line in lane.lines.values():
                yield from (ticket for _, ticket in line.tickets if ticket.phase is Phase.QUEUED)

    def heads(self) -> Iterator[Ticket]:
        """Of each label in each priority, the one that came first."""
        for lane in self._lanes.values():
            for line in lane.lines.values():
                if (ticket := line.head()) is not None:
                    yield ticket

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket: a new one behind those of its label, one that was sent in its old place."""
        ticket.phase = Phase.QUEUED
        if ticket.priority not in self._lanes:
            self._lanes[ticket.priority] = _Priority()
            bisect.insort(self._order, ticket.priority)
        self._lanes[ticket.priority].put(ticket)

    def head(self) -> Ticket | None:
        """Return whose turn it is."""
        for passed, priority in enumerate(reversed(self._order)):
            ticket = self._lanes[priority].head()
            if ticket is not None:
                if passed > IDLE_LANES:
                    self._tidy()
                return ticket
        if len(self._order) > IDLE_LANES:
            self._tidy()
        return None

    def _tidy(self) -> None:
        """Forget priorities that nobody queues with: a caller may use a new one each time."""
        self._lanes = {priority: lane for priority, lane in self._lanes.items() if lane.lines}
        self._order = sorted(self._lanes)

    def serve(self, ticket: Ticket) -> None:
        """Take the head out: it is sent."""
        self._lanes[ticket.priority].serve(ticket)

    def dropped(self, ticket: Ticket) -> None:
        """A ticket left: see that the gone do not outnumber those who queue."""
        lane = self._lanes.get(ticket.priority)
        if lane is not None and ticket.label in lane.lines:
            lane.lines[ticket.label].dropped()


class _Label:
    """The tickets of one label in one priority."""

    __slots__ = ("gone", "shown", "tickets", "turn")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        """The turn of its next ticket that never had one."""
        self.tickets: list[tuple[int, Ticket]] = []
        self.gone = 0
        self.shown: tuple[int, int, str] | None = None
        """Its entry in the ring; any other is out of date."""

    def head(self) -> Ticket | None:
        while self.tickets:
            ticket = self.tickets[0][1]
            if ticket.phase is Phase.QUEUED:
                return ticket
            heapq.heappop(self.tickets)
            self.gone = max(0, self.gone - 1)
        return None

    def dropped(self) -> None:
        self.gone += 1
        if self.gone > 64 and 2 * self.gone > len(self.tickets):
            self.tickets = [item for item in self.tickets if item[1].phase is Phase.QUEUED]
            heapq.heapify(self.tickets)
            self.gone = 0


class _Priority:
    """The labels of one priority, and whose turn it is among them."""

    __slots__ = ("left", "lines", "ring", "room", "turn")

    def __init__(self) -> None:
        self.turn = 0
        """The last turn that was served."""
        self.lines: dict[str, _Label] = {}
        self.left: dict[str, int] = {}
        """Next turn of labels that have nobody queued but were served lately: they must not push in."""
        self.room = 64
        self.ring: list[tuple[int, int, str]] = []
        """(turn, arrival, label) of the heads of the lines; out of date ones are passed over."""

    def put(self, ticket: Ticket) -> None:
        line = self.lines.get(ticket.label)
        if line is None:
            line = self.lines[ticket.label] = _Label(max(self.turn, self.left.pop(ticket.label, 1)))
        heapq.heappush(line.tickets, (ticket.sequence, ticket))
        self._show(line, ticket.label)

    def head(self) -> Ticket | None:
        while self.ring:
            entry = self.ring[0]
            line = self.lines.get(entry[2])
            current = line is not None and line.shown == entry
            ticket = line.head() if line is not None and current else None
            if ticket is not None and ticket.sequence == entry[1]:
                return ticket
            heapq.heappop(self.ring)
            if line is not None and current:  # its head left: show the next one
                self._show(line, entry[2])
        return None

    def serve(self, ticket: Ticket) -> None:
        line = self.lines[ticket.label]
        heapq.heappop(line.tickets)
        heapq.heappop(self.ring)
        line.shown = None
        if not ticket.turn:
            ticket.turn = line.turn
            line.turn += 1
        self.turn = max(self.turn, ticket.turn)
        self._show(line, ticket.label)

    def _show(self, line: _Label, label: str) -> None:
        ticket = line.head()
        if ticket is None:
            self._part(label)
            return
        entry = (ticket.turn or line.turn, ticket.sequence, label)
        if entry != line.shown:
            line.shown = entry
            heapq.heappush(self.ring, entry)

    def _part(self, label: str) -> None:
        """A line is empty: remember its turn as long as that says anything."""
        line = self.lines.pop(label, None)
        if line is not None and line.turn > self.turn:
            self.left[label] = line.turn
        if len(self.left) > self.room:
            self.left = {name: turn for name, turn in self.left.items() if turn > self.turn}
            self.room = max(64, 2 * len(self.left))
