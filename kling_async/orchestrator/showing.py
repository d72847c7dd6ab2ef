"""Showing: a task's handle in words for people and in JSON types for programs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from kling_async.errors import KlingError
from kling_async.orchestrator.submission import SubmissionState
from kling_async.redaction import json_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kling_async.records import TaskRecord
    from kling_async.wire.requests import TaskRequest

__all__ = ["STATUS_WORDS", "first_words", "prompt_of", "task_as_json"]

STATUS_WORDS: Final = {
    SubmissionState.NEW: "queued",
    SubmissionState.MATCHING: "queued",
    SubmissionState.QUEUED: "queued",
    SubmissionState.PREPARING: "creating",
    SubmissionState.SENDING: "creating",
    SubmissionState.LOOKING_UP: "creating",
    SubmissionState.UNRESOLVED: "unresolved",
    SubmissionState.REFUSED: "refused",
    SubmissionState.WITHDRAWN: "withdrawn",
}
"""Status words of a handle whose task does not exist yet."""


_FACTS: Final = ("id", "external_task_id", "endpoint", "status", "done", "position", "eta", "created_at")


def task_as_json(
    task: object, record: TaskRecord | None, result_of: Callable[[], object], *, signed: bool
) -> dict[str, Any]:
    """Return the facts about a task in JSON types; see `kling_async.Task.to_dict`.

    Args:
        task: The handle; its properties are read.
        record: The task's record, if the vendor has shown it.
        result_of: Returns the result, None while there is none; raises why there will be none.
        signed: Whether addresses keep their queries.
    """
    facts = {name: getattr(task, name) for name in _FACTS}
    facts |= {"units": record and record.units, "result": None, "error": None}
    try:
        facts["result"] = result_of()
    except KlingError as error:
        facts["error"] = error
    shown: dict[str, Any] = json_types(facts, signed)
    return shown


def prompt_of(request: TaskRequest[Any] | None) -> str:
    """Return the prompt of a request, or those of its shots, or its text; empty if it has none."""
    shots: Iterable[Any] = getattr(request, "multi_prompt", None) or ()
    said = getattr(request, "prompt", None) or " / ".join(str(shot.prompt) for shot in shots)
    return str(said or getattr(request, "text", None) or "")


def first_words(request: TaskRequest[Any] | None) -> str:
    """Return how a request's prompt begins, for people who have many tasks to tell apart."""
    return textwrap.shorten(prompt_of(request), 40, placeholder="...")
