"""Tracked tasks: what a client knows of one task, shared by the poller and all handles on it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.core.lifecycle import Lifecycle
from kling_async.core.looks import Looks
from kling_async.core.status import TaskState, latest, state_of
from kling_async.errors import ClientClosed, TaskFailed, TaskTimeout
from kling_async.orchestrator.results import is_whole
from kling_async.runtime.loop import LOOP_REPLACED, is_pending

if TYPE_CHECKING:
    import asyncio

    from kling_async.core.lifecycle import Moves
    from kling_async.core.looks import Miss
    from kling_async.core.queries import Form
    from kling_async.core.queue import Ticket
    from kling_async.errors import KlingError
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.requests import TaskRequest

__all__ = [
    "ENDED",
    "TRACKED_MOVES",
    "Observation",
    "TaskKey",
    "TrackedState",
    "TrackedTask",
    "Waiters",
    "sort_sightings",
]


class TrackedState(enum.Enum):
    """The state of a task as far as this client knows."""

    UNSEEN = "unseen"
    """Attached by an id that no answer has confirmed; holds no slots."""
    RUNNING = "running"
    """Seen, and not ended when last seen; holds slots, unless another handle of the same task does. Also one
    that succeeded, until an answer shows its whole result."""
    SUCCEEDED = "succeeded"
    """Seen ended, with a result; its slots are free."""
    FAILED = "failed"
    """Seen ended, without a result; its slots are free."""
    MISSING = "missing"
    """The vendor says that there is no such task; its slots are free. Whoever waits again asks again."""


ENDED: Final = frozenset({TrackedState.SUCCEEDED, TrackedState.FAILED})
"""The states of tasks seen ended."""

TRACKED_MOVES: Final[Moves[TrackedState]] = {
    TrackedState.UNSEEN: frozenset({TrackedState.RUNNING, TrackedState.MISSING, *ENDED}),
    TrackedState.RUNNING: frozenset({TrackedState.MISSING, *ENDED}),
    # an end is final: an answer that contradicts it comes from a replica or a cache that lags
    TrackedState.SUCCEEDED: frozenset(),
    TrackedState.FAILED: frozenset(),
    TrackedState.MISSING: frozenset({TrackedState.RUNNING, *ENDED}),
}
"""The legal moves. None leads back to UNSEEN: what was seen once stays known. None leaves an end."""

_STATE_SEEN: Final = {
    TaskState.RUNNING: TrackedState.RUNNING,
    TaskState.SUCCEEDED: TrackedState.SUCCEEDED,
    TaskState.FAILED: TrackedState.FAILED,
}

TaskKey = tuple[str, str]
"""The path of a task's endpoint, and one of its ids."""


class Waiters:
    """Everybody who waits for a task: for its end, or for any change."""

    __slots__ = ("change", "end", "undated", "warned_late")

    def __init__(self) -> None:
        self.end: dict[asyncio.Future[None], None] = {}  # an empty dict is much smaller than an empty set
        self.change: dict[asyncio.Future[None], None] = {}
        self.undated = 0
        """Waiters for the end that set no deadline, or a distant one."""
        self.warned_late = False
        """Whether the log said that the task takes unusually long."""

    def wake_change(self) -> None:
        """Wake those who wait for a change."""
        _wake(self.change)

    def wake_all(self) -> None:
        """Wake everybody: the task has ended."""
        _wake(self.change)
        _wake(self.end)

    def fail(self, error: KlingError) -> None:
        """Raise an error to everybody, each with a copy of its own."""
        for future in (*self.end, *self.change):
            if is_pending(future):
                future.set_exception(error.again())
                future.exception()  # marked as seen: a waiter that is being cancelled will not look

    def drop(self) -> None:
        """Fail everybody: they wait in a loop that has ended, or that stopped while another one runs."""
        self.fail(ClientClosed(LOOP_REPLACED))
        self.end.clear()
        self.change.clear()


def _wake(futures: dict[asyncio.Future[None], None]) -> None:
    for future in futures:
        if is_pending(future):
            future.set_result(None)


class Observation(NamedTuple):
    """The news in a record that was just read."""

    first: bool
    """The task was seen for the first time."""
    changed: bool
    """Status or time of the last change differ from before."""
    ended: bool
    """The task has ended, and was not known to have."""


class TrackedTask:
    """One task as this client knows it, shared by all handles on it."""

    __slots__ = (
        "__weakref__",
        "_life",
        "aliases",
        "by_external_id",
        "callback_url",
        "endpoint",
        "id",
        "looks",
        "record",
        "request",
        "started",
        "ticket",
        "waiters",
    )

    def __init__(
        self,
        endpoint: Endpoint[Any],
        id: str,  # noqa: A002 - the field's word
        *,
        request: TaskRequest[Any] | None = None,
        record: TaskRecord | None = None,
        ticket: Ticket | None = None,
        callback_url: str | None = None,
        by_external_id: bool = False,
        confirmed: bool = False,
        aliases: frozenset[str] = frozenset(),
    ) -> None:
        self.endpoint = endpoint
        self.id = id
        """The id to ask by: the task id, or the external one while only that is known."""
        self.by_external_id = by_external_id
        """Whether ``id`` is the external one."""
        self.aliases = aliases
        """Further ids that the answer to its create showed: an answer under one of these is about it, too."""
        self.request = request
        self.record = record
        self.ticket = ticket
        """The slots it holds."""
        self.callback_url = callback_url
        """The address to which the vendor posts its changes, if it was created here with one."""
        self.waiters = Waiters()
        self.started: float | None = None
        """When it began, by the client's clock; None until that is known or guessed."""
        self.looks = Looks(confirmed=confirmed or record is not None)
        """What came of the looks at it."""
        start = TrackedState.UNSEEN if record is None else self.state_in(record)
        self._life = Lifecycle(TRACKED_MOVES, start)

    @property
    def key(self) -> TaskKey:
        """The endpoint's path and the id to ask by."""
        return self.endpoint.path, self.id

    @property
    def state(self) -> TrackedState:
        """The task's state, as far as known."""
        return self._life.state

    @property
    def done(self) -> bool:
        """Whether the task was seen ended."""
        return self._life.state in ENDED

    @property
    def ids(self) -> frozenset[str]:
        """All ids that are known."""
        return self.aliases.union(filter(None, (self.id, self.task_id, self.external_task_id)))

    @property
    def external_task_id(self) -> str | None:
        """The id its create carried, if known."""
        known = None if self.record is None else self.record.external_task_id
        return known or (self.id if self.by_external_id else None)

    @property
    def task_id(self) -> str | None:
        """The vendor's id, if known."""
        if self.record is not None:
            return self.record.task_id
        return None if self.by_external_id else self.id

    def may_be(self, record: TaskRecord) -> bool:
        """Return whether a record can be of this task: the id that we know does not differ from its own.

        Where the vendor's id is known it decides alone: the external one is an optional field like others.
        """
        if self.record is not None:
            return record.task_id == self.record.task_id or record.task_id in self.aliases
        if self.by_external_id:
            return record.external_task_id in (None, self.id)
        return self.id in (record.task_id, record.external_task_id)

    def is_newer(self, record: TaskRecord) -> bool:
        """Return whether a record of this task is not earlier than what is known of it."""
        return self.record is None or latest([record, self.record])[record.task_id] is record

    def state_in(self, record: TaskRecord) -> TrackedState:
        """Return the state that a record shows; without its whole result a task has not ended for us."""
        state = _STATE_SEEN[state_of(record.status)]
        if state is TrackedState.SUCCEEDED and not is_whole(self.endpoint, record):
            return TrackedState.RUNNING
        return state

    @property
    def lacks_result(self) -> TaskRecord | None:
        """The record of a task that succeeded, while no answer has shown its whole result; else None."""
        seen = self.record
        succeeded = seen is not None and state_of(seen.status) is TaskState.SUCCEEDED
        return seen if succeeded and not self.done else None

    def observe(self, record: TaskRecord, *, final: bool = False) -> Observation:
        """Take a record that was just read; return what is new in it.

        An end is final: a record that contradicts it, or shows less of the result, is ignored.

        Args:
            record: The record.
            final: Take a success though its result is not there.
        """
        state = _STATE_SEEN[state_of(record.status)] if final else self.state_in(record)
        if self.done and state is not self._life.state:
            return Observation(first=False, changed=False, ended=False)
        before, was_done = self.record, self.done
        self.record = _merged(before, record)
        self.looks.confirmed = True
        if state is not self._life.state:
            self._life.move(state)
        return Observation(
            first=before is None,
            changed=before is None
            or (before.status, before.updated_at) != (record.status, record.updated_at),
            ended=self.done and not was_done,
        )

    def miss(self, form: Form, now: float) -> Miss:
        """Count an answer to a query about this task alone that does not know it.

        Args:
            form: The form of the query.
            now: When it was sent.

        Raises:
            IllegalMove: The task has ended, so it is not looked for any more.
        """
        miss = self.looks.missed(form, now, accepted=self.looks.confirmed)
        if miss.gone and self._life.state is not TrackedState.MISSING:
            self._life.move(TrackedState.MISSING)
        return miss

    def timed_out(self, timeout: float) -> TaskTimeout:
        """Return the error for a caller who waited long enough, with what may have hidden the end."""
        looks = self.looks
        parts = self.task_id or self.id, self.external_task_id, timeout
        return TaskTimeout(*parts, looks.unreadable_ever, looks.unknown_status)

    def raise_if_failed(self) -> None:
        """Raise `TaskFailed` if that is how the task ended."""
        if self.record is not None and self.state is TrackedState.FAILED:
            raise TaskFailed(self.record)


def _merged(old: TaskRecord | None, new: TaskRecord) -> TaskRecord:
    """Keep the ids that are known, where an answer leaves the external one out or shows others."""
    if old is None:
        return new
    known = old.task_id, old.external_task_id or new.external_task_id
    if known == (new.task_id, new.external_task_id):
        return new
    return msgspec.structs.replace(new, task_id=known[0], external_task_id=known[1])


class Sightings(NamedTuple):
    """The tasks that an answer showed, by what follows."""

    running: set[TrackedTask]
    ended: set[TrackedTask]
    pauses: list[float]
    """Seconds until the next look, for each task that succeeded but does not show its whole result."""
    strange: list[TrackedTask]
    """Tasks whose status is to be told: it is not known."""


def sort_sightings(records: dict[TrackedTask, TaskRecord]) -> Sightings:
    """Sort the tasks that an answer showed, and count it among the looks at each."""
    sightings = Sightings(set(), set(), [], [])
    for task, record in records.items():
        task.looks.found()
        if task.looks.status(record.status if _shows_status(record) else "(none)"):
            sightings.strange.append(task)
        if task.done or task.state_in(record) in ENDED:
            sightings.ended.add(task)
        elif state_of(record.status) is TaskState.RUNNING:
            sightings.running.add(task)
        elif (pause := task.looks.without_result()) is not None:
            sightings.pauses.append(pause)
        else:
            sightings.ended.add(task)
    return sightings


def _shows_status(record: TaskRecord) -> bool:
    """Tell whether an answer shows the status that its record has: left out, it reads as submitted."""
    return record.status != "submitted" or b"submitted" in bytes(record.data).lower()
