"""Steps and news: what a process says to the shared ledger in one transaction, and what it hears from it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kling_async.core.admission import LimitSource
    from kling_async.errors import KlingError

__all__ = [
    "Accepted",
    "Close",
    "Confirm",
    "Ended",
    "Enter",
    "Free",
    "HeldTask",
    "Known",
    "Leave",
    "Lost",
    "News",
    "NewsKind",
    "Occupy",
    "PoolFacts",
    "Refused",
    "Reopen",
    "Requeue",
    "Resend",
    "Resize",
    "Step",
    "Synced",
    "TaskFacts",
    "Want",
]


class TaskFacts(NamedTuple):
    """What the ledger knows of a task: ids, and what its duration depends on; never an address."""

    endpoint: str
    """The path of its endpoint."""
    external_task_id: str = ""
    task_id: str = ""
    kind: str = ""
    """What its duration depends on, of all that its endpoint takes."""


# -- what a process says; ``number`` names its ticket among its own


class Enter(NamedTuple):
    """Queue a new ticket; numbers are times of arrival, in nanoseconds of the ledger's clock."""

    pool: str
    number: int
    weight: int
    priority: int
    label: str
    about: TaskFacts


class Leave(NamedTuple):
    """Take a ticket out of the queue."""

    number: int


class Confirm(NamedTuple):
    """Use slots that were granted; the answer says whether they still are."""

    number: int


class Accepted(NamedTuple):
    """A create made a task."""

    number: int
    about: TaskFacts


class Refused(NamedTuple):
    """A create was refused by the full account (1303)."""

    number: int
    jitter: float
    drop: bool


class Requeue(NamedTuple):
    """A create surely made nothing; its pool rests. One whose slots lapsed comes back by this, too."""

    number: int
    after: float
    drop: bool
    opens: bool


class Free(NamedTuple):
    """A create surely made nothing and is not sent again."""

    number: int
    opens: bool


class Lost(NamedTuple):
    """The answer to a create was lost: its slots stay held."""

    number: int


class Resend(NamedTuple):
    """A create is sent again in the slots that it holds."""

    number: int


class Occupy(NamedTuple):
    """A task that was made elsewhere was found running."""

    pool: str
    number: int
    weight: int
    age: float
    about: TaskFacts


class Ended(NamedTuple):
    """A task was seen ended, or is given up: by the number of this process's ticket, or by its ids."""

    number: int
    about: TaskFacts | None = None


class Known(NamedTuple):
    """The ids of a task whose create was of unknown fate."""

    number: int
    about: TaskFacts


class Want(NamedTuple):
    """Whether anybody in this process waits for the end of a task."""

    number: int
    wanted: bool


class Resize(NamedTuple):
    """Somebody who knows says how large a pool is."""

    pool: str
    limit: int
    source: LimitSource


class Close(NamedTuple):
    """An error closes a pool, or all."""

    error: KlingError
    pool: str | None


class Reopen(NamedTuple):
    """Let creates through again at once, in one pool or all."""

    pool: str | None


Step: TypeAlias = (
    Enter
    | Leave
    | Confirm
    | Accepted
    | Refused
    | Requeue
    | Free
    | Lost
    | Resend
    | Occupy
    | Ended
    | Known
    | Want
    | Resize
    | Close
    | Reopen
)


# -- what a process hears


class NewsKind(enum.IntEnum):
    """What has become of a ticket."""

    NONE = 0
    GRANTED = 1  # its slots are taken: send its create
    PURGED = 2  # taken out of the queue, with an error
    ENDED = 3  # its task was seen ended by another process; its slots are free
    EXPIRED = 4  # it held slots for longer than a task's life; they count no longer


class News(NamedTuple):
    """One piece of news about one ticket of this process."""

    number: int
    kind: NewsKind
    error: KlingError | None = None
    """Of a purged ticket; None: it can never fit."""


class PoolFacts(NamedTuple):
    """A pool as all processes see it."""

    limit: int
    source: LimitSource
    belief: int
    held: int
    queued: int
    closed: KlingError | None
    half_open_at: float
    next_time: float


class HeldTask(NamedTuple):
    """A task of the ledger, as far as whoever asks about it must know."""

    about: TaskFacts
    pool: str
    weight: int
    since: float
    wanted: bool


class Synced(NamedTuple):
    """What a process hears after a transaction, or a look."""

    now: float
    news: Sequence[News]
    confirmed: Mapping[int, bool]
    pools: Mapping[str, PoolFacts]
    asking: bool
    """Whether this process is the one that asks about the tasks of all."""
    tasks: Sequence[HeldTask]
    """Those to ask about; empty unless ``asking``."""
    stale: bool = False
    """Whether there is more to hear, which takes a transaction."""
