"""What a client knows of one task, shared by all who hold or look after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.core.verdict import State, state_of
from kling_async.errors import TaskFailed

if TYPE_CHECKING:
    import asyncio

    from kling_async.core.admission import Ticket
    from kling_async.endpoints import Endpoint
    from kling_async.wire import TaskRecord, TaskRequest

__all__ = ["Live"]


class Live:
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
    def state(self) -> State:
        """Where the task stands, as far as known."""
        return State.RUNNING if self.record is None else state_of(self.record.status)

    @property
    def done(self) -> bool:
        """Whether the task was seen ended."""
        return self.state is not State.RUNNING

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
        if self.record is not None and self.state is State.FAILED:
            raise TaskFailed(self.record)
