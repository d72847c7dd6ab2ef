"""Idempotency: what a client has under an external id already, when a submit names that id again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from typing import Any

    from kling_async.orchestrator.submission import Submission
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import TaskRequest

__all__ = ["admit_duplicate"]


def admit_duplicate(new: Submission, held: Submission | TrackedTask) -> None:
    """Check that a submit may take what its client has under its id already.

    Args:
        new: The submit.
        held: The submission or task of that id.

    Raises:
        ExternalIdTaken: The submit was not told to attach.
        RequestInvalid: The id belongs to another request; names the fields that differ.
    """
    name = new.external_task_id
    request = held.request
    if not new.create.attach:
        text = f'this client has a task of external_task_id {name} already; if_exists="attach" takes it'
        raise new.create.taken(text)
    fields = [] if held.endpoint.path == new.endpoint.path else ["endpoint"]
    if request is not None:
        fields = differences(request, new.create.request)
    if fields:
        text = f"{name} is the id of another request, which differs in {', '.join(fields)}; use another id"
        raise RequestInvalid(type(new.create.request).__name__, [Problem("external_task_id", text)])


def differences(one: TaskRequest[Any], other: TaskRequest[Any]) -> list[str]:
    """Return the names of the fields in which two requests differ; "endpoint" if they are of two types."""
    if type(one) is not type(other):
        return ["endpoint"]
    fields = msgspec.structs.fields(one)
    return [field.name for field in fields if getattr(one, field.name) != getattr(other, field.name)]
