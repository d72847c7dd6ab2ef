"""One request's claim on slots, and whose turn it is: see `kling_async.core.admission`."""

from __future__ import annotations

import enum
from typing import Any, Final

__all__ = ["ASIDE", "AdmissionError", "Lanes", "Phase", "Ticket"]

ASIDE: Final = 30.0
"""Seconds for which a heavy ticket first lets those behind it pass."""


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
        self.sequence = 0
        self.turn = 0
        self.epoch = -1
        self.probe = False
        self.since = 0.0
        self.aside = ASIDE

    @property
    def place(self) -> tuple[int, int, int]:
        """Sort key: higher priority, then round robin between labels, then first come."""
        return (-self.priority, self.turn, self.sequence)

    def __repr__(self) -> str:
        return f"Ticket({self.sequence} {self.phase.value} weight={self.weight})"


class Lanes:
    """Round robin within one priority: each label's next ticket takes that label's next turn."""

    __slots__ = ("now", "room", "turns")

    def __init__(self) -> None:
        self.now = 0
        self.room = 64
        self.turns: dict[str, int] = {}

    def take(self, label: str) -> int:
        """Return the turn of a new ticket."""
        turn = max(self.turns.get(label, 0), self.now) + 1
        self.turns[label] = turn
        return turn

    def served(self, turn: int) -> None:
        """Move on: a ticket of that turn was sent."""
        self.now = max(self.now, turn - 1)
        if len(self.turns) > self.room:  # a label behind the present turn needs no memory
            self.turns = {label: t for label, t in self.turns.items() if t > self.now}
            self.room = max(64, 2 * len(self.turns))
