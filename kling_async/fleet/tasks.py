"""What procrastinate knows of a fleet's jobs: one task, one queue, ids only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from procrastinate.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["QUEUE", "TASK", "JobName", "deferred", "lock_of"]

TASK: Final = "kling_async.job"
"""The name of the task; its arguments are ``batch`` and ``identity``."""
QUEUE: Final = "kling"

JobName = tuple[str, str]
"""The id of a batch, and the identity of a job in it."""


def lock_of(batch: str, identity: str) -> str:
    """Return the lock of a job: it waits in the queue at most once."""
    return f"{batch}:{identity}"


def deferred(names: Iterable[JobName], priorities: Iterable[int]) -> list[Job]:
    """Return the jobs to hand to procrastinate."""
    return [
        Job(
            id=None,
            queue=QUEUE,
            lock=None,
            queueing_lock=lock_of(batch, identity),
            task_name=TASK,
            priority=priority,
            task_kwargs={"batch": batch, "identity": identity},
        )
        for (batch, identity), priority in zip(names, priorities, strict=True)
    ]
