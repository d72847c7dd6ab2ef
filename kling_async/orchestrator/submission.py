"""Submission: one submit on its way from the queue to the vendor, as plain state that the drivers share."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.core.lifecycle import Lifecycle
from kling_async.core.queue import Ticket
from kling_async.display.fields import fields_bundle
from kling_async.errors import (
    APIError,
    KlingError,
    QueueTimeout,
    TaskTimeout,
    TaskWithdrawn,
    TransportError,
)
from kling_async.orchestrator.attempts import Attempts, Evidence
from kling_async.orchestrator.callers import Callers
from kling_async.orchestrator.create_spec import kind_of
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from kling_async.core.lifecycle import Moves
    from kling_async.options import Settings
    from kling_async.orchestrator.attempts import EarlierAttempt
    from kling_async.orchestrator.create_spec import CreateSpec
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.orchestrator.turns import ReadTurns
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = [
    "SUBMISSION_MOVES",
    "SentTooLate",
    "SlotsLapsed",
    "Submission",
    "SubmissionHooks",
    "SubmissionState",
    "TaskWatcher",
    "Unresolved",
]


# -- where a submission stands


class SubmissionState(enum.Enum):
    """Where one submit is on its way."""

    NEW = "new"  # checked, and not in the queue yet
    MATCHING = "matching"  # the account is asked for a task of its id, before it queues
    QUEUED = "queued"  # waits for slots; not on its way
    PREPARING = "preparing"  # has its slots; its body is made, its sending written down
    SENDING = "sending"  # its bytes may be on the wire
    LOOKING_UP = "looking up"  # an answer was lost; its task is looked for, its slots stay held
    UNRESOLVED = "unresolved"  # nobody knows; its caller was told, and later looks go on
    ACCEPTED = "accepted"  # its task exists
    REFUSED = "refused"  # ended without a task, with an error
    WITHDRAWN = "withdrawn"  # taken back by its own side: its caller left, or its time in the queue was over


_S: Final = SubmissionState
_ENDS: Final = frozenset({_S.REFUSED, _S.WITHDRAWN})

SUBMISSION_MOVES: Final[Moves[SubmissionState]] = {
    # withdrawn at once: what a listener raised at its first event left its caller without it
    _S.NEW: frozenset({_S.QUEUED, _S.MATCHING, _S.WITHDRAWN}),
    _S.MATCHING: _ENDS | {_S.QUEUED, _S.ACCEPTED},
    # unresolved: its caller left after an attempt that may have made the task (a 429 without a code)
    _S.QUEUED: _ENDS | {_S.PREPARING, _S.UNRESOLVED},
    # queued: its slots lapsed before they were used, as those of a shared ledger may
    _S.PREPARING: _ENDS | {_S.SENDING, _S.QUEUED, _S.LOOKING_UP, _S.UNRESOLVED},
    _S.SENDING: _ENDS | {_S.ACCEPTED, _S.QUEUED, _S.LOOKING_UP, _S.UNRESOLVED},
    _S.LOOKING_UP: _ENDS | {_S.ACCEPTED, _S.QUEUED, _S.PREPARING, _S.UNRESOLVED},
    _S.UNRESOLVED: _ENDS | {_S.ACCEPTED},
    _S.ACCEPTED: frozenset(),
    _S.REFUSED: frozenset(),
    _S.WITHDRAWN: frozenset(),
}

_WAITING: Final = frozenset({_S.NEW, _S.MATCHING, _S.QUEUED})
_IN_FLIGHT: Final = frozenset({_S.PREPARING, _S.SENDING, _S.LOOKING_UP})
_HOLD_SLOTS: Final = _IN_FLIGHT | {_S.UNRESOLVED, _S.ACCEPTED}


# -- what a submission is made of


class SubmissionHooks:
    """Decisions and notes of whoever runs many submissions, as a batch does; these suit a single submit."""

    digests: Mapping[Media, str] | None = None
    """SHA-256 of files whose content must still be that one when they are read."""

    def may_send(self) -> bool:
        """Tell, before each attempt, whether it is to be sent at all."""
        return True

    async def before_send(self) -> None:
        """Write down that a task may exist from now on; what this raises ends the create unsent.

        Awaited before the first byte, and anew after each `on_refused`.
        """

    async def before_repeat(self) -> None:
        """Check that what was written down still holds; what this raises ends the create.

        Awaited before the same bytes are sent once more, and before they are sent at all after `is_late`.
        """

    def is_late(self) -> bool:
        """Tell, as the first byte is about to go, whether others may believe that it never will."""
        return False

    def on_refused(self) -> None:
        """Note that what was sent was surely refused, and that it queues again."""


_NO_HOOKS: Final = SubmissionHooks()


class TaskWatcher(Protocol):
    """A poller, as far as a submission knows it."""

    @property
    def turns(self) -> ReadTurns:
        """Where look-ups of creates in doubt wait for their turn."""
        ...

    def find(self, endpoint: Endpoint[Any], id: str, /) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return the tracked task of that id."""
        ...

    def watch(self, task: TrackedTask, /) -> TrackedTask:
        """Poll a task that exists; return the tracked task to use, which may be polled already."""
        ...

    def found(self, endpoint: Endpoint[Any], record: TaskRecord, /) -> TrackedTask:
        """Track a task that the account had already; return the tracked task to use."""
        ...


class Unresolved(Serializable, frozen=True, kw_only=True):
    """A create whose fate is unknown: its task may exist and be billed. Its slots are held."""

    endpoint: str
    external_task_id: str | None
    reason: str

    _repr_mimebundle_ = fields_bundle


class SlotsLapsed(KlingError):
    """The slots of a submission went to another process before they were used: it queues again."""


class SentTooLate(KlingError):
    """The ledger or the journal was not reached for half a lease: others may soon look for the create."""


class QueueWait:
    """How long a submission has waited for slots, may wait, and why it waits still."""

    __slots__ = ("deadline", "reason", "since", "timeout", "timer", "waited")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        """Seconds that its caller allows; None: as long as it takes."""
        self.since = 0.0
        """When it was submitted, by the client's clock."""
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waited = 0.0
        """Seconds from the submit to its latest admission."""
        self.reason = ""
        """The last refusal that sent it back to the queue."""

    def start(self, now: float) -> None:
        """Note the time of the submit."""
        self.since = now
        if self.timeout is not None:
            self.deadline = now + self.timeout

    def extend(self, timeout: float | None, now: float) -> bool:
        """Allow what another caller of the same submit allows, if that is more; return whether it is."""
        if self.deadline is None or (timeout is not None and now + timeout <= self.deadline):
            return False
        self.deadline = None if timeout is None else now + timeout
        self.timeout = None if self.deadline is None else self.deadline - self.since
        return True

    def stop(self) -> None:
        """Set no deadline any more: the submit is settled."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Submission:
    """One submit on its way from the queue to the vendor.

    Args:
        create: What is to be created.
        watcher: Looks after the task, once made.
        settings: How to retry, and how long to wait for the wire.
        hooks: Decisions and notes of a batch.
        earlier: An attempt of an earlier run, after which to look before anything is sent.
        priority: Higher goes first.
        label: Within one priority, labels take turns.
        queue_timeout: Seconds to wait for slots.
    """

    __slots__ = (
        "_life",
        "attempts",
        "callers",
        "create",
        "error",
        "hooks",
        "settings",
        "ticket",
        "tracked",
        "wait",
        "watcher",
    )

    def __init__(
        self,
        create: CreateSpec,
        watcher: TaskWatcher,
        settings: Settings,
        *,
        hooks: SubmissionHooks | None = None,
        earlier: EarlierAttempt | None = None,
        priority: int = 0,
        label: str = "",
        queue_timeout: float | None = None,
    ) -> None:
        self.create = create
        self.watcher = watcher
        self.settings = settings
        self.hooks = _NO_HOOKS if hooks is None else hooks
        self.attempts = Attempts(earlier)
        self.wait = QueueWait(queue_timeout)
        self.ticket = Ticket(
            create.endpoint.weight(create.request),
            priority=priority,
            label=label,
            # what an earlier run may have sent is looked up first, which needs not wait for the end of a hold
            kind=kind_of(create.request, create.endpoint) if earlier is None else None,
        )
        self.callers: Callers[TrackedTask] = Callers()
        self.tracked: TrackedTask | None = None
        """Its task, once made or found."""
        self.error: KlingError | None = None
        """Why it ended without a task, or why nobody knows whether it has one."""
        self._life = Lifecycle(SUBMISSION_MOVES, SubmissionState.NEW)

    @property
    def endpoint(self) -> Endpoint[Any]:
        """Where it is to be made."""
        return self.create.endpoint

    @property
    def request(self) -> TaskRequest[Any]:
        """The request that its task is made from."""
        return self.create.request

    @property
    def external_task_id(self) -> str:
        """The id that its create carries."""
        return self.create.external_task_id

    @property
    def task_id(self) -> str | None:
        """The vendor's id, once known."""
        return None if self.tracked is None else self.tracked.task_id

    @property
    def of_batch(self) -> bool:
        """Whether a batch runs it."""
        return self.hooks is not _NO_HOOKS

    @property
    def state(self) -> SubmissionState:
        """Where it is on its way."""
        return self._life.state

    @property
    def queued(self) -> bool:
        """Whether it waits for slots."""
        return self._life.state is SubmissionState.QUEUED

    @property
    def waiting(self) -> bool:
        """Whether its turn has not come: its create is not on its way, and was not refused for good."""
        return self._life.state in _WAITING

    @property
    def ended(self) -> bool:
        """Whether it has ended without a task."""
        return self._life.state in _ENDS

    @property
    def unsent(self) -> bool:
        """Whether surely nothing was sent, by this run or an earlier one."""
        evidence = self.attempts.evidence
        if self._life.state is SubmissionState.SENDING:  # its connection may still be made
            return evidence is Evidence.SENT and not self.attempts.written
        unsent = self._life.state in _WAITING or self._life.state is SubmissionState.PREPARING
        return unsent and evidence is Evidence.NONE

    @property
    def in_flight(self) -> bool:
        """Whether it has its slots and is not settled."""
        return self._life.state in _IN_FLIGHT

    @property
    def holds_slots(self) -> bool:
        """Whether it was admitted, and has not ended without a task."""
        return self._life.state in _HOLD_SLOTS

    @property
    def abandoned(self) -> bool:
        """Whether all who wanted its task have left."""
        return not self.callers.wanted

    @property
    def may_exist(self) -> bool:
        """Whether a task of it may exist, seen or not."""
        return self.holds_slots or self.attempts.doubtful

    def move(self, to: SubmissionState) -> None:
        """Go on to another state.

        Raises:
            IllegalMove: It cannot follow this one; nothing has changed.
        """
        self._life.move(to)
        if to not in _WAITING and to not in _IN_FLIGHT:
            self.wait.stop()

    def accept(self, tracked: TrackedTask) -> None:
        """Take the task that was made or found; `hand_over` gives it to the callers."""
        self.move(SubmissionState.ACCEPTED)
        self.tracked = tracked

    def hand_over(self, tracked: TrackedTask) -> None:
        """Hand the task to all who wait for it."""
        self.tracked = tracked
        self.callers.hand_over(tracked)

    def refuse(self, error: KlingError) -> None:
        """End without a task, with this error."""
        self.move(SubmissionState.REFUSED)
        self.tell(error)

    def withdraw(self, error: KlingError | None = None) -> None:
        """End without a task, taken back by its own side; None: nobody is there to be told."""
        self.move(SubmissionState.WITHDRAWN)
        if error is not None:
            self.tell(error)

    def tell(self, error: KlingError) -> None:
        """Raise an error to all who wait, and to whoever asks later; the first one stands."""
        if isinstance(error, TransportError | APIError):
            error.external_task_id = self.external_task_id
        self.error = self.error or error
        self.callers.fail(error)

    def raise_if_ended(self) -> None:
        """Raise why it ended without a task, or that nobody knows whether it has one."""
        if self.error is not None:
            raise self.error.again()
        if self.ended:
            raise TaskWithdrawn(self.external_task_id)

    def settled(self) -> TrackedTask | None:
        """Return its task if there is one; None while that is open; raise as `raise_if_ended` does."""
        if self.tracked is None:
            self.raise_if_ended()
        return self.tracked

    def interrupt(self, error: BaseException) -> None:
        """Raise what a listener raised to the callers; the create goes on in nobody's name."""
        self.callers.interrupt(error)

    def out_of_time(self, timeout: float) -> TaskTimeout | QueueTimeout:
        """Return the error for a caller who waited long enough, by how far this has come."""
        if self.holds_slots:
            return TaskTimeout("", self.external_task_id, timeout)
        return QueueTimeout(self.external_task_id, timeout, self.wait.reason)
