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
        phase: Where it is, if it is read back from where it was written down.
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

    def __init__(
        self,
        weight: int,
        *,
        priority: int = 0,
        label: str = "",
        kind: Kind | None = None,
        phase: Phase = Phase.NEW,
    ) -> None:
        self.weight = weight
        self.priority = priority
        self.label = label
        self.kind = kind
        self.life = Lifecycle(PHASE_MOVES, phase)
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
        self._shut: set[str] = set()
        """Labels that are passed over, in all priorities."""

    def __iter__(self) -> Iterator[Ticket]:
        """All that queue, in no particular order."""
        for priority in self._priorities.values():
            for label in priority.labels.values():
                yield from (ticket for _, ticket in label.tickets)

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
            self._priorities[ticket.priority] = _Priority(self._shut)
            bisect.insort(self._order, ticket.priority)
        self._priorities[ticket.priority].put(ticket)
        self.open(ticket.label)

    def shut(self, label: str) -> None:
        """Pass over the tickets of a label, until one of them comes or leaves, or `open` is called."""
        self._shut.add(label)
        for priority in self._priorities.values():
            priority.hide(label)

    def open(self, label: str) -> None:
        """Let a label take its turns again; harmless for one that does."""
        if label in self._shut:
            self._shut.discard(label)
            for priority in self._priorities.values():
                priority.show(label)

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

    def remove(self, ticket: Ticket) -> None:
        """Take out a ticket that left; harmless for one that does not stand here."""
        priority = self._priorities.get(ticket.priority)
        if priority is not None:
            priority.remove(ticket)
            self.open(ticket.label)

    def position(self, ticket: Ticket) -> int:
        """Return how many tickets are served before one, if no other comes."""
        higher = self._order[bisect.bisect_right(self._order, ticket.priority) :]
        return sum(self._priorities[number].count for number in higher) + (
            self._priorities[ticket.priority].position(ticket) if ticket.priority in self._priorities else 0
        )


class _Label:
    """The tickets of one label in one priority."""

    __slots__ = ("shown", "tickets", "turn")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        """The turn of its next ticket that never had one."""
        self.tickets: list[tuple[int, Ticket]] = []
        """(arrival, ticket), sorted. A list, for a ticket nearly always comes at its end and leaves at its
        front, and asking for a place in it takes a binary search."""
        self.shown: tuple[int, int, str] | None = None
        """Its entry in the ring; any other is out of date."""

    def head(self) -> Ticket | None:
        return self.tickets[0][1] if self.tickets else None

    def rank(self, ticket: Ticket) -> int:
        """Return how many of the label's tickets arrived before one."""
        return bisect.bisect_left(self.tickets, ticket.sequence, key=_arrival)

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out; return whether it stood here."""
        index = self.rank(ticket)
        if index == len(self.tickets) or self.tickets[index][1] is not ticket:
            return False
        del self.tickets[index]
        return True

    def key(self, index: int) -> tuple[int, int]:
        """Return the place in the order of all labels of the ticket at an index."""
        arrival, ticket = self.tickets[index]
        return ticket.turn or self.turn + index - self.returned, arrival  # those sent before keep their turns

    def key_of(self, ticket: Ticket) -> tuple[int, int]:
        """Return the place in the order of all labels of a ticket, or of where one would stand."""
        return ticket.turn or self.turn + self.rank(ticket) - self.returned, ticket.sequence

    @property
    def returned(self) -> int:
        """How many were sent before, and refused: they arrived before all others."""
        return bisect.bisect_left(self.tickets, True, key=_is_new)

    def before(self, key: tuple[int, int]) -> int:
        """Return how many of the label's tickets are served before a place in the order."""
        return bisect.bisect_left(range(len(self.tickets)), key, key=self.key)


def _arrival(item: tuple[int, Ticket]) -> int:
    return item[0]


def _is_new(item: tuple[int, Ticket]) -> bool:
    return not item[1].turn


class _Priority:
    """The labels of one priority, and whose turn it is among them."""

    __slots__ = ("count", "idle", "idle_max", "labels", "ring", "shut", "turn")

    def __init__(self, shut: set[str]) -> None:
        self.shut = shut
        """Labels that are passed over; the queue's own set."""
        self.count = 0
        """How many tickets queue."""
        self.turn = 0
        """The last turn that was served."""
        self.labels: dict[str, _Label] = {}
        """Those that have somebody queued."""
        self.idle: dict[str, int] = {}
        """Next turn of labels that have nobody queued but were served lately: they must not push in."""
        self.idle_max = _IDLE_MAX
        self.ring: list[tuple[int, int, str]] = []
        """(turn, arrival, label) of the head of each label, a heap; those out of date are passed over."""

    def put(self, ticket: Ticket) -> None:
        label = self.labels.get(ticket.label)
        if label is None:
            label = self.labels[ticket.label] = _Label(max(self.turn, self.idle.pop(ticket.label, 1)))
        bisect.insort(label.tickets, (ticket.sequence, ticket), key=_arrival)
        self.count += 1
        self._show(label, ticket.label)

    def head(self) -> Ticket | None:
        while self.ring:
            entry = self.ring[0]
            label = self.labels.get(entry[2])
            if label is not None and label.shown == entry:
                return label.tickets[0][1]
            heapq.heappop(self.ring)
        return None

    def _pop(self, ticket: Ticket) -> _Label:
        label = self.labels[ticket.label]
        del label.tickets[0]
        self.count -= 1
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

    def remove(self, ticket: Ticket) -> None:
        label = self.labels.get(ticket.label)
        if label is None or not label.remove(ticket):
            return
        self.count -= 1
        if not label.tickets or (label.shown is not None and label.shown[1] == ticket.sequence):
            self._show(label, ticket.label)

    def hide(self, name: str) -> None:
        label = self.labels.get(name)
        if label is not None:
            label.shown = None  # its entry in the ring is out of date

    def show(self, name: str) -> None:
        label = self.labels.get(name)
        if label is not None:
            # the turns that it missed are gone: it may not take them one after the other now
            label.turn = max(label.turn, self.turn)
            self._show(label, name)

    def position(self, ticket: Ticket) -> int:
        label = self.labels.get(ticket.label)
        if label is None:
            return 0
        key = label.key_of(ticket)
        return sum(label.before(key) for label in self.labels.values())

    def _show(self, label: _Label, name: str) -> None:
        ticket = label.head()
        if ticket is None:
            self._remove(name)
            return
        if name in self.shut:
            label.shown = None
            return
        entry = (ticket.turn or label.turn, ticket.sequence, name)
        if entry != label.shown:
            label.shown = entry
            heapq.heappush(self.ring, entry)
        if len(self.ring) > _IDLE_MAX + 2 * len(self.labels):  # sweep out what is out of date
            self.ring = [label.shown for label in self.labels.values() if label.shown is not None]
            heapq.heapify(self.ring)

    def _remove(self, name: str) -> None:
        """Nobody queues with this label: remember its turn as long as that says anything."""
        label = self.labels.pop(name, None)
        if label is not None and label.turn > self.turn:
            self.idle[name] = label.turn
        if len(self.idle) > self.idle_max:
            self.idle = {name: turn for name, turn in self.idle.items() if turn > self.turn}
            self.idle_max = max(_IDLE_MAX, 2 * len(self.idle))
