"""Answers: the records in answers to queries about one task, held against the question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from kling_async.errors import BadResponse
from kling_async.records import decode_task

if TYPE_CHECKING:
    from kling_async.core.verdict import Got
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["AskedTask", "record_about", "record_of", "unreadable"]


class AskedTask(Protocol):
    """A task that was asked about (`kling_async.orchestrator.tracked.TrackedTask`)."""

    @property
    def endpoint(self) -> Endpoint[Any]:
        """Where it was made."""
        ...

    def may_be(self, record: TaskRecord, /) -> bool:
        """Return whether a record can be of this task."""
        ...


def record_of(endpoint: Endpoint[Any], got: Got) -> TaskRecord:
    """Return the record in the answer to a GET of one task.

    Raises:
        BadResponse: The answer is not a task.
    """
    try:
        return decode_task(endpoint.name, got.data)
    except msgspec.DecodeError as error:
        raise unreadable(got, error) from None


def record_about(task: AskedTask, got: Got) -> TaskRecord:
    """Return the record in the answer to a GET of a task.

    Raises:
        BadResponse: The answer is no task, or another one: a cache or a proxy mixed answers up.
    """
    record = record_of(task.endpoint, got)
    if not task.may_be(record):
        answer = got.answer
        raise BadResponse(
            "the answer is about another task", http_status=answer.http_status, request_id=answer.request_id
        )
    return record


def unreadable(got: Got, error: msgspec.DecodeError) -> BadResponse:
    """Return the error for an answer that is no task."""
    answer = got.answer
    return BadResponse(
        f"the task cannot be read: {error}",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )
