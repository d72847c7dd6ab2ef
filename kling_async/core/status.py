"""The vendor's status words of a task, in either generation's spelling, and the states they stand for."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.records import TaskRecord

__all__ = ["TaskState", "is_known_status", "latest", "state_of"]


class TaskState(enum.Enum):
    """The state that a task's status word stands for."""

    RUNNING = "running"
    """Waiting or working at the vendor; also any word we do not know."""
    SUCCEEDED = "succeeded"
    """Ended with a result, and billed."""
    FAILED = "failed"
    """Ended without a result."""


# /v1 says "succeed", /tasks "succeeded"; gateways and other clients' servers say the rest
_SUCCEEDED: Final = frozenset({"succeed", "succeeded", "success", "completed"})
_FAILED: Final = frozenset({"failed", "failure"})
_RUNNING: Final = frozenset({"submitted", "processing"})


def state_of(status: str) -> TaskState:
    """Return the state that a status word stands for, in any case; an unknown word counts as running."""
    word = status.strip().lower()
    if word in _SUCCEEDED:
        return TaskState.SUCCEEDED
    return TaskState.FAILED if word in _FAILED else TaskState.RUNNING


def is_known_status(status: str) -> bool:
    """Return whether a status word is understood."""
    word = status.strip().lower()
    return word in _SUCCEEDED or word in _FAILED or word in _RUNNING


def latest(records: Iterable[TaskRecord]) -> dict[str, TaskRecord]:
    """Return records by task id; of two copies of a task, the one in the later state."""
    found: dict[str, TaskRecord] = {}
    for record in records:
        other = found.get(record.task_id)
        if other is None or _progress(record) > _progress(other):
            found[record.task_id] = record
    return found


def _progress(record: TaskRecord) -> tuple[bool, int]:
    return state_of(record.status) is not TaskState.RUNNING, record.updated_at
