"""Handles: make the `Task` of a new request, or find the one of an id, so that each task is tracked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from kling_async.catalog import endpoint_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.orchestrator.idempotency import admit_duplicate
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.tasks import Task
from kling_async.wire.endpoints import JournaledRequest, check_id

if TYPE_CHECKING:
    from kling_async.options import SubmitOptions
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.submission import Submission
    from kling_async.wire.requests import TaskRequest

__all__ = ["attach", "known_tasks", "order"]

R = TypeVar("R")


async def order(
    engine: Engine, request: TaskRequest[R], options: SubmitOptions
) -> tuple[Task[R], Submission | None]:
    """Check a request; return the handle of its task, and the submission to be queued if it is new.

    Raises:
        RequestInvalid: The request cannot be right, or its id is that of another request.
        ExternalIdTaken: This client has a task of that id already, and is not told to attach to it.
        QueueFull: Too many submits wait already.
    """
    submission = await engine.new_submission(request, **options)
    name = submission.external_task_id
    if options.get("external_task_id") is not None and (held := _held(engine, name)) is not None:
        admit_duplicate(submission, held[1])
        return Task(*held), None
    engine.queue.check_room()
    return Task(engine, submission), submission


def _held(engine: Engine, external_task_id: str) -> tuple[Engine, Submission | TrackedTask] | None:
    """Return what a client has under an external id, at any endpoint, with the engine for its handles."""
    for poller, tracked in engine.known_as(external_task_id):
        if tracked.external_task_id == external_task_id:
            return engine.looking_after(poller), tracked
    submission = engine.pending.find(external_task_id)
    if submission is None or submission.ended:
        return None
    return engine.looking_for(submission), submission


def attach(
    engine: Engine,
    kind: type[TaskRequest[R]] | TaskRequest[R],
    *,
    task_id: str | None = None,
    external_task_id: str | None = None,
    confirmed: bool = False,
) -> Task[R]:
    """Return a handle on a task known by one id.

    Args:
        engine: The client's engine.
        kind: The type of its request; or the request, of which the weight is known too.
        task_id: The vendor's id.
        external_task_id: The id that its create carried.
        confirmed: Whether the vendor gave that id: then one answer that does not know it proves nothing.

    Raises:
        RequestInvalid: Not exactly one id, or one that could name another path.
    """
    endpoint = endpoint_of(kind)
    if (task_id is None) == (external_task_id is None):
        text = "give task_id or external_task_id, exactly one of them"
        raise RequestInvalid("attach", [Problem("task_id", text)])
    name, value = ("task_id", task_id) if external_task_id is None else ("external_task_id", external_task_id)
    id_ = check_id(value or "", name)
    # clients that share slots share their tasks too: tracked twice, a task would hold its slots twice
    for poller in engine.pollers:
        if (tracked := poller.find(endpoint, id_)) is not None:
            return Task(engine.looking_after(poller), tracked)
    submission = engine.pending.find(id_)
    if external_task_id is not None and submission is not None and submission.endpoint.path == endpoint.path:
        return Task(engine.looking_for(submission), submission)
    request = None if isinstance(kind, type | JournaledRequest) else kind
    tracked = TrackedTask(endpoint, id_, request=request, by_external_id=task_id is None, confirmed=confirmed)
    engine.poller.registry.attach(tracked)
    return Task(engine, tracked)


def known_tasks(engine: Engine) -> list[Task[Any]]:
    """Return the tasks that a client has seen running and not yet seen ended, then those that queue."""
    engine.scope.refresh()
    running = [
        Task[Any](engine.looking_after(poller), tracked)
        for poller in engine.pollers
        for tracked in poller
        if tracked.record is not None and poller.registry.is_holder(tracked)
    ]
    return running + [Task[Any](engine.looking_for(new), new) for new in engine.pending]
