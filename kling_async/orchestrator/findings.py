"""Findings: what it means for a create in doubt that a task was found under its external id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.core.ownership import Whose, whose
from kling_async.core.verdict import Accepted, Refused, Unknown
from kling_async.errors import BadResponse

if TYPE_CHECKING:
    from kling_async.core.verdict import Answer
    from kling_async.orchestrator.attempts import Attempts
    from kling_async.orchestrator.create_spec import CreateSpec
    from kling_async.records import TaskRecord

__all__ = ["judge_found", "judge_told"]


def judge_found(
    create: CreateSpec, attempts: Attempts, record: TaskRecord, answer: Answer, now: float
) -> Accepted | Refused | Unknown | None:
    """Judge the task that a look-up shows; None: it is another's, and says nothing of this create.

    Args:
        create: The create in doubt.
        attempts: What was sent of it.
        record: The task.
        answer: The answer that shows it.
        now: Our wall clock.
    """
    found = _whose(create, attempts, record, answer.date - now if answer.date is not None else 0.0)
    if found is Whose.ANOTHER:
        return None
    if found is Whose.OURS:
        shown = attempts.shown
        return Accepted(record, shown if record.task_id in shown else frozenset({record.task_id}))
    if found is Whose.UNCLEAR:
        text = "a task has this external_task_id, and its time of creation does not tell whose it is"
        return Unknown(BadResponse(text, http_status=answer.http_status, request_id=answer.request_id))
    text = "another task of this account already has this external_task_id"
    return Refused(create.taken(text, answer.request_id, answer.http_status))


def judge_told(create: CreateSpec, attempts: Attempts, record: TaskRecord, skew: float) -> Accepted | None:
    """Return the task of a create in doubt that a callback shows; None: whose it is, is not clear.

    Args:
        create: The create in doubt.
        attempts: What was sent of it.
        record: The task.
        skew: Seconds by which the vendor's clock is ahead of ours.
    """
    if _whose(create, attempts, record, skew) is not Whose.OURS:
        return None
    return Accepted(record, frozenset({record.task_id}))


def _whose(create: CreateSpec, attempts: Attempts, record: TaskRecord, skew: float) -> Whose:
    return whose(
        record,
        external_task_id=create.external_task_id,
        generated=create.generated,
        first_sent=attempts.first_sent + skew,
        shown=attempts.shown,
    )
