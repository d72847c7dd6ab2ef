"""What a client knows of one task, shared by all who hold or look after it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from kling_async.core.status import TaskState, state_of
from kling_async.errors import TaskFailed

if TYPE_CHECKING:
    import asyncio

    from kling_async.core.admission import Ticket
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.requests import TaskRequest

__all__ = ["TaskRegistry", "TrackedTask"]


class TrackedTask:
    """What the client knows of one task, shared by all handles on it."""

    __slots__ = (
        "__weakref__",
        "changes",
        "endpoint",
        "id",
        "late",
        "misses",
        "named",
        "odd",
        "patient",
        "record",
        "request",
        "sure",
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
        named: bool = False,
        sure: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.id = id
        """What to ask by: the task id, or the external one while only that is known."""
        self.named = named
        """Whether it is the external one."""
        self.sure = sure or record is not None
        """Whether the vendor has ever known it."""
        self.request = request
        self.record = record
        self.ticket = ticket
        self.waiters: dict[asyncio.Future[None], None] = {}  # empty, much smaller than a set
        self.changes: dict[asyncio.Future[None], None] = {}
        self.misses = 0
        self.odd = 0
        self.patient = 0
        """Waiters without a deadline."""
        self.late = False
        """Whether they were warned that it takes unusually long."""

    @property
    def state(self) -> TaskState:
        """Where the task stands, as far as known."""
        return TaskState.RUNNING if self.record is None else state_of(self.record.status)

    @property
    def done(self) -> bool:
        """Whether the task was seen ended."""
        return self.state is not TaskState.RUNNING

    @property
    def external_task_id(self) -> str | None:
        """The id its create carried, if known."""
        known = None if self.record is None else self.record.external_task_id
        return known or (self.id if self.named else None)

    @property
    def task_id(self) -> str | None:
        """The vendor's id, if known."""
        if self.record is not None:
            return self.record.task_id
        return None if self.named else self.id

    def raise_if_failed(self) -> None:
        """Raise `TaskFailed` if that is how it ended."""
        if self.record is not None and self.state is TaskState.FAILED:
            raise TaskFailed(self.record)


Key = tuple[str, str]


class TaskRegistry:
    """All that is looked after, and all that somebody holds a handle on."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._watched: dict[Key, TrackedTask] = {}
        """By either id; by the task's own, this is who holds its slots."""
        self._held: weakref.WeakValueDictionary[Key, TrackedTask] = weakref.WeakValueDictionary()
        """By what they were attached by, or ended with."""

    def find(self, endpoint: Endpoint[Any], id: str) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return what stands for that id, the vendor's or the external one."""
        key = (endpoint.path, id)
        return self._watched.get(key) or self._held.get(key)

    def attached(self, live: TrackedTask) -> None:
        """Know a handle for as long as somebody holds it."""
        self._held.setdefault((live.endpoint.path, live.id), live)

    def is_holder(self, live: TrackedTask) -> bool:
        """Tell whether it is the one of several for the same task that holds its slots and is told about."""
        key = _task(live)
        return (self._watched.get(key) or self._held.get(key, live)) is live

    def seen(self, live: TrackedTask) -> bool:
        """Its task is known: return whether it is the holder.

        Two handles by different ids may turn out to be one task. Its slots are held once: by the one that
        came with slots of its create, else by the one seen first.
        """
        path = live.endpoint.path
        if live.external_task_id:
            self._watched.setdefault((path, live.external_task_id), live)
        holder = self._watched.setdefault(_task(live), live)
        if holder is live:
            return True
        if live.ticket is None:
            return False
        self._release(holder)
        self._watched[_task(live)] = live
        return True

    def over(self, live: TrackedTask) -> None:
        """It is looked after no more: its slots are free, and it is known while somebody holds it."""
        path = live.endpoint.path
        for name in (live.task_id, live.external_task_id):
            if name and self._watched.get((path, name)) is live:
                del self._watched[path, name]
                self._held[path, name] = live
        self._release(live)

    def take_over(self, old: TrackedTask, new: TrackedTask) -> None:
        """Two stand for one task under one id: the old one goes on, with the slots of the new one."""
        self._release(old)
        old.ticket, new.ticket = new.ticket, None
        if old.ticket is not None:
            self._limiter.held_by(old.ticket, old)
        for name in (new.task_id, new.external_task_id):
            if name:
                self._watched[new.endpoint.path, name] = old

    def _release(self, live: TrackedTask) -> None:
        if live.ticket is not None:
            self._limiter.release(live.ticket)
            live.ticket = None


def _task(live: TrackedTask) -> Key:
    return live.endpoint.path, live.task_id or ""
