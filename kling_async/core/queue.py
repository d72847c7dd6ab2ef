"""Tickets, one request's claim on slots each, and the order in which those that wait are served."""

from __future__ import annotations

import bisect
import enum
import heapq
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.lifecycle import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.core.lifecycle import Moves

__all__ = [
    "PHASE_MOVES",
    "AdmissionError",
    "FairQueue",
    "Kind",
    "Phase",
    "Ticket",
]

_IDLE_MAX: Final = 64
"""Priorities, and labels, that are remembered although nobody queues with them; more are swept out."""
_GONE_MAX: Final = 64
"""Tickets that left but still stand in a heap; with fewer than this a sweep is not worth it."""


class AdmissionError(RuntimeError):
    """A step that the state of the ticket or pool does not allow: a bug in the driver."""


class Kind(NamedTuple):
    """Creates that a refusal may concern alike: those of one endpoint and model."""

    endpoint: str
    model: str
    """Empty where the request names none."""
    pool: str

    def __str__(self) -> str:
        return f"{self.endpoint} {self.model}".rstrip()


class Phase(enum.Enum):
    """Where a ticket is."""

    NEW = "new"  # made; neither queues nor holds slots
    QUEUED = "queued"  # waits its turn
    ASIDE = "aside"  # waits, and lets those behind it pass for a pause
    PARKED = "parked"  # waits, and lets all others pass, while creates of its kind are held
    SENT = "sent"  # has its slots; its create is on its way
    HELD = "held"  # has its slots; its task runs, or may run
    GONE = "gone"  # waits for nothing and holds nothing, for good


PHASE_MOVES: Final[Moves[Phase]] = {
    Phase.NEW: frozenset({Phase.QUEUED, Phase.HELD}),
    Phase.QUEUED: frozenset({Phase.SENT, Phase.PARKED, Phase.GONE}),
    Phase.PARKED: frozenset({Phase.QUEUED, Phase.GONE}),
    Phase.ASIDE: frozenset({Phase.QUEUED, Phase.GONE}),
    Phase.SENT: frozenset({Phase.QUEUED, Phase.ASIDE, Phase.HELD, Phase.GONE}),
    Phase.HELD: frozenset({Phase.SENT, Phase.GONE}),
    Phase.GONE: frozenset(),
}


class Ticket:
    """One request's claim on slots: its place in the queue, then its hold on them.

    Args:
        weight: Slots it takes.
        priority: Higher is served first.
        label: Within one priority, labels take turns.
        kind: The creates with which it may be held; None: with none.
    """

    __slots__ = (
        "__weakref__",
        "entered",
        "epoch",
        "kind",
        "label",
        "life",
        "pool",
        "priority",
        "probe",
        "sequence",
        "since",
        "turn",
        "weight",
    )

    def __init__(self, weight: int, *, priority: int = 0, label: str = "", kind: Kind | None = None) -> None:
        self.weight = weight
        self.priority = priority
        self.label = label
        self.kind = kind
        self.life = Lifecycle(PHASE_MOVES, Phase.NEW)
        self.pool = ""
        """Name of the pool it queues for or holds slots of; empty while it is new."""
        self.entered = 0.0
        """When it entered the queue."""
        self.sequence = 0
        """Order of arrival in the queue; 0: not entered."""
        self.turn = 0
        """Its label's turn, taken when it is first sent and kept through refusals; 0: not taken yet."""
        self.epoch = -1
        """Refusals of its pool before it was sent, those of creates in flight together counted as one."""
        self.probe = False
        """Whether it was sent although the pool was believed to be full."""
        self.since = 0.0
        """When it was sent, then when it began to hold."""

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self.life.state

    @property
    def queued(self) -> bool:
        """Whether it waits for slots."""
        return self.life.state in (Phase.QUEUED, Phase.ASIDE, Phase.PARKED)

    def __repr__(self) -> str:
        return f"Ticket({self.sequence} {self.phase.value} weight={self.weight})"


class FairQueue:
    """Tickets in the order in which they are served.

    Higher priority first; within one priority labels take turns; within one label first come, first served.
    """

    def __init__(self) -> None:
        self._priorities: dict[int, _Priority] = {}
        self._order: list[int] = []
        """The keys of ``_priorities``, lowest first."""

    def __iter__(self) -> Iterator[Ticket]:
        """All that queue, in no particular order."""
        for priority in self._priorities.values():
            for label in priority.labels.values():
                yield from (ticket for _, ticket in label.tickets if ticket.phase is Phase.QUEUED)

    def heads(self) -> Iterator[Ticket]:
        """For each label in each priority, the ticket that arrived first."""
        for priority in self._priorities.values():
            for label in priority.labels.values():
                if (ticket := label.head()) is not None:
                    yield ticket

    def put(self, ticket: Ticket) -> None:
        """Queue a ticket: a new one behind those of its label, one that was sent in its old place."""
        ticket.life.move(Phase.QUEUED)
        if ticket.priority not in self._priorities:
            self._priorities[ticket.priority] = _Priority()
            bisect.insort(self._order, ticket.priority)
        self._priorities[ticket.priority].put(ticket)

    def head(self) -> Ticket | None:
        """Return the ticket whose turn it is."""
        for passed, priority in enumerate(reversed(self._order)):
            ticket = self._priorities[priority].head()
            if ticket is not None:
                if passed > _IDLE_MAX:
                    self._sweep()
                return ticket
        if len(self._order) > _IDLE_MAX:
            self._sweep()
        return None

    def _sweep(self) -> None:
        """Forget priorities that nobody queues with: a caller may use a new one each time."""
        self._priorities = {number: found for number, found in self._priorities.items() if found.labels}
        self._order = sorted(self._priorities)

    def serve(self, ticket: Ticket) -> None:
        """Take out the head: it is sent."""
        self._priorities[ticket.priority].serve(ticket)

    def pass_over(self, ticket: Ticket) -> None:
        """Take out the head, which is not sent: its label keeps its turn."""
        self._priorities[ticket.priority].pass_over(ticket)

    def dropped(self, ticket: Ticket) -> None:
        """Note that a ticket left, so that the gone never outnumber those who queue for long."""
        priority = self._priorities.get(ticket.priority)
        if priority is not None and ticket.label in priority.labels:
            priority.labels[ticket.label].dropped()


class _Label:
    """The tickets of one label in one priority."""

    __slots__ = ("gone", "shown", "tickets", "turn")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        """The turn of its next ticket that never had one."""
        self.tickets: list[tuple[int, Ticket]] = []
        """(arrival, ticket), a heap; tickets that left are passed over."""
        self.gone = 0
        """How many of these left."""
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
        if self.gone > _GONE_MAX and 2 * self.gone > len(self.tickets):
            self.tickets = [item for item in self.tickets if item[1].phase is Phase.QUEUED]
            heapq.heapify(self.tickets)
            self.gone = 0


class _Priority:
    """The labels of one priority, and whose turn it is among them."""

    __slots__ = ("idle", "idle_max", "labels", "ring", "turn")

    def __init__(self) -> None:
        self.turn = 0
        """The last turn that was served."""
        self.labels: dict[str, _Label] = {}
        """Those that have somebody queued."""
        self.idle: dict[str, int] = {}
        """Next turn of labels that have nobody queued but were served lately: they must not push in."""
        self.idle_max = _IDLE_MAX
        self.ring: list[tuple[int, int, str]] = []
        """(turn, arrival, label) of the head of each label, a heap; out of date ones are passed over."""

    def put(self, ticket: Ticket) -> None:
        label = self.labels.get(ticket.label)
        if label is None:
            label = self.labels[ticket.label] = _Label(max(self.turn, self.idle.pop(ticket.label, 1)))
        heapq.heappush(label.tickets, (ticket.sequence, ticket))
        self._show(label, ticket.label)

    def head(self) -> Ticket | None:
        while self.ring:
            entry = self.ring[0]
            label = self.labels.get(entry[2])
            current = label is not None and label.shown == entry
            ticket = label.head() if label is not None and current else None
            if ticket is not None and ticket.sequence == entry[1]:
                return ticket
            heapq.heappop(self.ring)
            if label is not None and current:  # its head left: show the next one
                self._show(label, entry[2])
        return None

    def _pop(self, ticket: Ticket) -> _Label:
        label = self.labels[ticket.label]
        heapq.heappop(label.tickets)
        heapq.heappop(self.ring)
        label.shown = None
        return label

    def pass_over(self, ticket: Ticket) -> None:
        self._show(self._pop(ticket), ticket.label)

    def serve(self, ticket: Ticket) -> None:
        label = self._pop(ticket)
        if not ticket.turn:
            ticket.turn = label.turn
            label.turn += 1
        self.turn = max(self.turn, ticket.turn)
        self._show(label, ticket.label)

    def _show(self, label: _Label, name: str) -> None:
        ticket = label.head()
        if ticket is None:
            self._remove(name)
            return
        entry = (ticket.turn or label.turn, ticket.sequence, name)
        if entry != label.shown:
            label.shown = entry
            heapq.heappush(self.ring, entry)

    def _remove(self, name: str) -> None:
        """Nobody queues with this label: remember its turn as long as that says anything."""
        label = self.labels.pop(name, None)
        if label is not None and label.turn > self.turn:
            self.idle[name] = label.turn
        if len(self.idle) > self.idle_max:
            self.idle = {name: turn for name, turn in self.idle.items() if turn > self.turn}
            self.idle_max = max(_IDLE_MAX, 2 * len(self.idle))
