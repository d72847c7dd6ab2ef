"""The vendor's status words of a task, in either generation's spelling, and the states they stand for."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TaskState", "is_known_status", "state_of"]


class TaskState(enum.Enum):
    """The state that a task's status word stands for."""

    RUNNING = "running"
    """Waiting or working at the vendor; also any word we do not know."""
    SUCCEEDED = "succeeded"
    """Ended with a result, and billed."""
    FAILED = "failed"
    """Ended without a result."""


_SUCCEEDED: Final = frozenset({"succeed", "succeeded"})  # /v1 says "succeed", /tasks "succeeded"
_FAILED: Final = frozenset({"failed"})
_RUNNING: Final = frozenset({"submitted", "processing"})


def state_of(status: str) -> TaskState:
    """Return the state that a status word stands for; an unknown word counts as running."""
    if status in _SUCCEEDED:
        return TaskState.SUCCEEDED
    return TaskState.FAILED if status in _FAILED else TaskState.RUNNING


def is_known_status(status: str) -> bool:
    """Return whether the vendor documents this status word."""
    return status in _SUCCEEDED or status in _FAILED or status in _RUNNING
