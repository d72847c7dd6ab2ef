"""The vendor's status words of a task, of either generation, and the three states they come down to."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["TaskState", "is_known_status", "state_of"]


class TaskState(enum.Enum):
    """What a task's status word comes down to."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


_SUCCEEDED: Final = frozenset({"succeed", "succeeded"})
_FAILED: Final = frozenset({"failed"})
_RUNNING: Final = frozenset({"submitted", "processing"})


def state_of(status: str) -> TaskState:
    """Say what a status word means, in the spelling of either generation; an unknown one is running."""
    if status in _SUCCEEDED:
        return TaskState.SUCCEEDED
    return TaskState.FAILED if status in _FAILED else TaskState.RUNNING


def is_known_status(status: str) -> bool:
    """Tell whether the vendor's documentation knows this word."""
    return status in _SUCCEEDED or status in _FAILED or status in _RUNNING
