"""Describe jobs to procrastinate: one task, one queue, ids only."""

from __future__ import annotations

from typing import Final

from procrastinate.jobs import Job

__all__ = ["QUEUE", "TASK", "JobName", "deferred", "queue_of", "queueing_lock_of"]

TASK: Final = "kling_async.job"
"""The name of the task; its arguments are ``batch`` and ``identity``."""
QUEUE: Final = "kling"
"""Begins the names of its queues: each pool has one, so that no pool's jobs keep those of another waiting."""

JobName = tuple[str, str]
"""The id of a batch, and the identity of a job in it."""


def queueing_lock_of(batch: str, identity: str) -> str:
    """Return the lock of a job: it waits in the queue at most once."""
    return f"{batch}:{identity}"


def queue_of(pool: str) -> str:
    """Return the queue of new jobs of a pool."""
    return f"{QUEUE}/{pool}"


def deferred(name: JobName, priority: int, pool: str) -> Job:
    """Return a job to hand to procrastinate."""
    batch, identity = name
    return Job(
        id=None,
        queue=queue_of(pool),
        lock=None,
        queueing_lock=queueing_lock_of(batch, identity),
        task_name=TASK,
        priority=priority,
        task_kwargs={"batch": batch, "identity": identity},
    )
