"""Facts: the plain values of a shared ledger, and its pace."""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

__all__ = [
    "BEAT",
    "HEAVY",
    "LABEL",
    "LATE",
    "LEASE",
    "LedgerPace",
    "NewsKind",
    "Stage",
    "TaskFacts",
    "facts_of",
]

BEAT: Final = 1.0
"""Seconds between two signs of life of a process that wants something."""
LATE: Final = 3.0
"""Seconds without one after which a process is passed over, and asks for the others no more."""
LEASE: Final = 5.0
"""Seconds without one after which a process is dead, where no lock tells."""
HEAVY: Final = "heavy"
"""Stands for the error of a ticket that its pool can never hold."""
LABEL: Final = "label"
"""Stands, before that limit, for the error of a ticket that its label's limit can never hold."""


class LedgerPace(NamedTuple):
    """How often a process goes to the ledger: by default, as to a file."""

    look: float = 0.05
    """Seconds between two looks at what others have changed: far less than any task takes."""
    lease: float | None = None
    """Seconds without a sign of life after which this process is dead to the others; None: a lock tells."""


class TaskFacts(NamedTuple):
    """The facts of a task that travel: ids, and what its duration depends on; never an address."""

    endpoint: str
    """The path of its endpoint."""
    external_task_id: str = ""
    task_id: str = ""
    kind: str = ""
    """What its duration depends on, of all that its endpoint takes."""


def facts_of(subject: Any) -> TaskFacts:
    """Return what the ledger is to know of a create, or of a task."""
    endpoint, request = subject.endpoint, subject.request
    kind = "attached" if request is None else endpoint.kind(request)
    return TaskFacts(endpoint.path, subject.external_task_id or "", subject.task_id or "", repr(kind))


class NewsKind(enum.IntEnum):
    """The kinds of news about a ticket."""

    NONE = 0
    GRANTED = 1  # its slots are taken: send its create
    PURGED = 2  # taken out of the queue, with an error
    ENDED = 3  # its task was seen ended by another process; its slots are free
    HINTED = 5  # something says that its task has changed
    EXPIRED = 4  # it held slots for longer than a task's life; they count no longer


class Stage(enum.IntEnum):
    """Where a lease stands in the table."""

    GONE = 0  # it has only its news left to tell
    QUEUED = 1  # waits its turn
    ASIDE = 2  # waits, and lets those behind it pass for a pause
    SENT = 3  # has its slots; its create is on its way, or granted and not begun
    HELD = 4  # has its slots; its task runs, or may run
    LAPSED = 5  # its slots were granted and not used in time; comes back when its process says so
    ASLEEP = 6  # waits, but its process does not react; comes back with the next step of that process
    PARKED = 7  # waits, while creates of its kind are held
    HEIR = 8  # may go on with an orphan's create, whose slots become its own when it says so
