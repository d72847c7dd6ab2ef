"""Iterate over the records of one task as they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async.records import TaskRecord

__all__ = ["RecordUpdates"]


class RecordUpdates:
    """Iterate over a task's records; hold nothing between two steps, so that leaving early leaks nothing.

    Args:
        record_after: Waits for the record that differs from the one shown before, None at first; returns
            None once the task has ended.
    """

    def __init__(
        self, record_after: Callable[[tuple[str, int] | None], Awaitable[TaskRecord | None]]
    ) -> None:
        self._record_after = record_after
        self._shown: tuple[str, int] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskRecord:
        record = await self._record_after(self._shown)
        if record is None:
            raise StopAsyncIteration
        self._shown = (record.status, record.updated_at)
        return record
