"""Tracked tasks: what a client knows of one task, shared by the poller and all handles on it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.core.lifecycle import Lifecycle
from kling_async.core.status import TaskState, state_of
from kling_async.errors import TaskFailed
from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    import asyncio

    from kling_async.core.lifecycle import Moves
    from kling_async.core.queue import Ticket
    from kling_async.errors import KlingError
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.requests import TaskRequest

__all__ = ["TRACKED_MOVES", "Observation", "TaskKey", "TrackedState", "TrackedTask", "Waiters"]

_MISSES_MAX: Final = 3
"""Answers in a row that do not know a task, after which one that the vendor did know counts as missing."""


class TrackedState(enum.Enum):
    """The state of a task as far as this client knows."""

    UNSEEN = "unseen"
    """Attached by an id that no answer has confirmed; holds no slots."""
    RUNNING = "running"
    """Seen, and not ended when last seen; holds slots, unless another handle of the same task does."""
    SUCCEEDED = "succeeded"
    """Seen ended, with a result; its slots are free."""
    FAILED = "failed"
    """Seen ended, without a result; its slots are free."""
    MISSING = "missing"
    """The vendor says that there is no such task; its slots are free. Whoever waits again asks again."""


_ENDED: Final = frozenset({TrackedState.SUCCEEDED, TrackedState.FAILED})

TRACKED_MOVES: Final[Moves[TrackedState]] = {
    TrackedState.UNSEEN: frozenset({TrackedState.RUNNING, TrackedState.MISSING, *_ENDED}),
    TrackedState.RUNNING: frozenset({TrackedState.MISSING, *_ENDED}),
    # an ended task is never looked for, so it cannot go missing; but answers that contradict it are believed
    TrackedState.SUCCEEDED: frozenset({TrackedState.RUNNING, TrackedState.FAILED}),
    TrackedState.FAILED: frozenset({TrackedState.RUNNING, TrackedState.SUCCEEDED}),
    TrackedState.MISSING: frozenset({TrackedState.RUNNING, *_ENDED}),
}
"""The legal moves. None leads back to UNSEEN: what was seen once stays known."""

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
        """Waiters for the end that set no deadline."""
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
        """Forget everybody: they waited in a loop that has ended."""
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
        "bad_answers",
        "by_external_id",
        "confirmed",
        "endpoint",
        "id",
        "misses",
        "record",
        "request",
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
        by_external_id: bool = False,
        confirmed: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.id = id
        """The id to ask by: the task id, or the external one while only that is known."""
        self.by_external_id = by_external_id
        """Whether ``id`` is the external one."""
        self.confirmed = confirmed or record is not None
        """Whether the vendor has ever known the task: then one answer that does not proves nothing."""
        self.request = request
        self.record = record
        self.ticket = ticket
        """The slots it holds."""
        self.waiters = Waiters()
        self.misses = 0
        """Answers in a row that did not know the task."""
        self.bad_answers = 0
        """Refusals in a row that only a broken gateway gives."""
        start = TrackedState.UNSEEN if record is None else _STATE_SEEN[state_of(record.status)]
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
        return self._life.state in _ENDED

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

    def observe(self, record: TaskRecord) -> Observation:
        """Take a record that was just read; return what is new in it."""
        before, was_done = self.record, self.done
        self.record = _merged(before, record)
        self.confirmed = True
        state = _STATE_SEEN[state_of(record.status)]
        if state is not self._life.state:
            self._life.move(state)
        return Observation(
            first=before is None,
            changed=before is None
            or (before.status, before.updated_at) != (record.status, record.updated_at),
            ended=self.done and not was_done,
        )

    def miss(self) -> bool:
        """Count an answer that does not know the task; return whether the task counts as missing now.

        Raises:
            IllegalMove: The task has ended, so it is not looked for any more.
        """
        missing = not self.confirmed or self.misses + 1 >= _MISSES_MAX
        if missing and self._life.state is not TrackedState.MISSING:
            self._life.move(TrackedState.MISSING)
        self.misses += 1
        return missing

    def raise_if_failed(self) -> None:
        """Raise `TaskFailed` if that is how the task ended."""
        if self.record is not None and self.state is TrackedState.FAILED:
            raise TaskFailed(self.record)


def _merged(old: TaskRecord | None, new: TaskRecord) -> TaskRecord:
    """Keep the external id where an answer leaves it out, as some do."""
    if old is None or new.external_task_id or not old.external_task_id:
        return new
    return msgspec.structs.replace(new, external_task_id=old.external_task_id)
