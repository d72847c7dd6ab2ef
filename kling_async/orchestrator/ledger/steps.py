"""Steps and news: what a process says to the shared ledger in one transaction, and what it hears from it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kling_async.core.breaker import Hold
    from kling_async.core.pool_sizes import LimitSource
    from kling_async.core.queue import Kind
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.errors import KlingError
    from kling_async.orchestrator.ledger.mailbox import Letter
    from kling_async.records import TaskRecord

__all__ = [
    "AnswerLost",
    "Close",
    "Confirm",
    "Ended",
    "Enter",
    "Free",
    "FullRefusal",
    "HeldTask",
    "Hint",
    "Judged",
    "Known",
    "Leave",
    "LimitLabels",
    "NewsKind",
    "Occupy",
    "OwnStep",
    "PoolFacts",
    "Read",
    "Reopen",
    "Requeue",
    "Resend",
    "Resize",
    "Step",
    "Synced",
    "TaskFacts",
    "TaskMade",
    "TicketNews",
    "Want",
]


# -- what a process says; ``number`` names its ticket among its own


class Enter(NamedTuple):
    """Queue a new ticket; numbers are times of arrival, in nanoseconds of the ledger's clock."""

    pool: str
    number: int
    weight: int
    priority: int
    label: str
    about: TaskFacts
    kind: Kind | None = None


class Leave(NamedTuple):
    """Take a ticket out of the queue."""

    number: int


class Confirm(NamedTuple):
    """Use slots that were granted; the answer says whether they still are."""

    number: int


class Judged(NamedTuple):
    """An attempt of a create came to that: a hold may begin or end."""

    number: int
    verdict: CreateVerdict | Resolved


class TaskMade(NamedTuple):
    """A create made a task."""

    number: int
    about: TaskFacts


class FullRefusal(NamedTuple):
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


class AnswerLost(NamedTuple):
    """The answer to a create was lost: its slots stay held."""

    number: int


class Resend(NamedTuple):
    """A create is sent again in the slots that it holds."""

    number: int


class Occupy(NamedTuple):
    """A task that was made elsewhere was found running, or is to be taken over from another process."""

    pool: str
    number: int
    weight: int
    age: float
    about: TaskFacts
    label: str = ""
    unseen: bool = False
    """Whether it was not seen here: it takes slots only if another process, or an orphan, holds some."""


class Ended(NamedTuple):
    """A task was seen ended, or is given up: by the number of this process's ticket, or by its ids."""

    number: int
    about: TaskFacts | None = None
    record: TaskRecord | None = None
    """With its whole result: whose task it is gets it by `Mailbox`, not by the ledger."""


class Known(NamedTuple):
    """The ids of a task whose create was of unknown fate."""

    number: int
    about: TaskFacts


class Want(NamedTuple):
    """Whether anybody in this process waits for the end of a task."""

    number: int
    wanted: bool


class Hint(NamedTuple):
    """Something says that a task of another process has changed: its external id, and the vendor's."""

    names: tuple[str, ...]
    record: TaskRecord | None = None
    """As a verified callback shows it: goes to whose task it is as a letter, not through the ledger."""


class Read(NamedTuple):
    """So many turns are wanted for reads, of the rate of all processes together in requests a second."""

    turns: int
    rate: float


class Resize(NamedTuple):
    """Somebody who knows says how large a pool is."""

    pool: str
    limit: int
    source: LimitSource
    forced: bool = False
    """Whether it counts whoever said so before."""


class LimitLabels(NamedTuple):
    """The most slots of each pool that labels may hold, for all processes."""

    limits: Mapping[str, int]


class Close(NamedTuple):
    """An error closes a pool, or all."""

    error: KlingError
    pool: str | None


class Reopen(NamedTuple):
    """Let creates through again at once, in one pool or all."""

    pool: str | None


OwnStep: TypeAlias = (
    Leave
    | Confirm
    | Judged
    | TaskMade
    | FullRefusal
    | Requeue
    | Free
    | AnswerLost
    | Resend
    | Ended
    | Known
    | Want
)
"""A step about one ticket of the process."""

Step: TypeAlias = OwnStep | Enter | Hint | Occupy | Read | Resize | LimitLabels | Close | Reopen


# -- what a process hears


class TicketNews(NamedTuple):
    """One piece of news about one ticket of this process."""

    number: int
    kind: NewsKind
    error: KlingError | None = None
    """Of a purged ticket; None: it can never fit."""
    most: int | None = None
    """The slots that its label may hold, if it can never fit in these."""


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
    parked: int = 0
    """How many of those that wait are held."""
    holds: Sequence[Hold] = ()


class HeldTask(NamedTuple):
    """A task of the ledger, as far as whoever asks about it must know."""

    about: TaskFacts
    pool: str
    weight: int
    since: float
    wanted: bool


class Synced(NamedTuple):
    """All that a process hears after a transaction, or a look."""

    now: float
    news: Sequence[TicketNews]
    confirmed: Mapping[int, bool]
    pools: Mapping[str, PoolFacts]
    asking: bool
    """Whether this process is the one that asks about the tasks of all."""
    tasks: Sequence[HeldTask]
    """Those to ask about; empty unless ``asking``."""
    reads: Sequence[tuple[int, float]] = ()
    """Turns to read that were asked for, and when they may be used."""
    missing: Sequence[int] = ()
    """Tickets that should be back in the queue, and that the ledger does not know."""
    revived: bool = False
    """Whether others took this process for dead: what it queues is not in the ledger any more."""
    stale: bool = False
    """Whether there is more to hear, which takes a transaction."""
    places: Mapping[int, int] = MappingProxyType({})
    """How many go before tickets of this process that wait, by number; now and then."""
    letters: Sequence[Letter] = ()
    """Results of tasks of this process."""
