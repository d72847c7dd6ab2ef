"""Handles: what a `kling_async.Task` stands for, new or found by an id: so each task is tracked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.catalog import endpoint_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.orchestrator.idempotency import admit_duplicate
from kling_async.orchestrator.model_pools import row_for
from kling_async.orchestrator.submission import Submission
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.wire.endpoints import JournaledRequest, check_id

if TYPE_CHECKING:
    from kling_async.options import SubmitOptions
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.tracked import TaskKey
    from kling_async.wire.requests import TaskRequest

__all__ = ["Handle", "attach", "known_tasks", "order"]


class Handle(NamedTuple):
    """The parts of a `kling_async.Task`."""

    engine: Engine
    """With the poller that looks after it."""
    of: TrackedTask | Submission


async def order(engine: Engine, request: TaskRequest[Any], options: SubmitOptions) -> Handle:
    """Check a request; return its submission, which is new, or what has its id already.

    Raises:
        RequestInvalid: The request cannot be right, or its id is that of another request.
        ExternalIdTaken: This client has a task of that id already, and is not told to attach to it.
        QueueFull: Too many submits wait already.
    """
    submission = await engine.new_submission(request, **options)
    name = submission.external_task_id
    if options.get("external_task_id") is not None and (held := _held(engine, name)) is not None:
        admit_duplicate(submission, held.of)
        if isinstance(held.of, Submission):
            engine.queue.share(held.of, submission.wait.timeout)
        return held
    engine.queue.check_room()
    return Handle(engine, submission)


def _held(engine: Engine, external_task_id: str) -> Handle | None:
    """Return what a client has under an external id, at any endpoint, with the engine for its handles."""
    for poller, tracked in engine.known_as(external_task_id):
        # one that was attached to and not seen yet may not exist: whoever asks for it here wants it made
        if tracked.external_task_id == external_task_id and tracked.record is not None:
            return Handle(engine.looking_after(poller), tracked)
    submission = engine.queue.pending.find(external_task_id)
    if submission is None or submission.ended:
        return None
    return Handle(engine.looking_for(submission), submission)


def attach(
    engine: Engine,
    kind: type[TaskRequest[Any]] | TaskRequest[Any],
    *,
    task_id: str | None = None,
    external_task_id: str | None = None,
    confirmed: bool = False,
) -> Handle:
    """Return a handle on a task known by one id.

    Args:
        engine: The client's engine.
        kind: The type of its request; or the request, of which the weight is known too.
        task_id: The vendor's id.
        external_task_id: The id that its create carried.
        confirmed: Whether the vendor gave that id: then one answer that does not know it proves nothing.

    Raises:
        RequestInvalid: Not exactly one id, or one that could name another path.
        ConfigurationError: These credentials, or this host, do not serve the endpoint.
    """
    endpoint = row_for(kind, endpoint_of(kind), engine.transport, engine.settings.model_pools)
    if (task_id is None) == (external_task_id is None):
        text = "give task_id or external_task_id, exactly one of them"
        raise RequestInvalid("attach", [Problem("task_id", text)])
    name, value = ("task_id", task_id) if external_task_id is None else ("external_task_id", external_task_id)
    id_ = check_id(value or "", name)
    # clients that share slots share their tasks too: tracked twice, a task would hold its slots twice
    for poller in engine.pollers:
        if (tracked := poller.find(endpoint, id_)) is not None:
            return Handle(engine.looking_after(poller), tracked)
    submission = engine.queue.pending.find(id_)
    if external_task_id is not None and submission is not None and submission.endpoint.path == endpoint.path:
        return Handle(engine.looking_for(submission), submission)
    request = None if isinstance(kind, type | JournaledRequest) else kind
    tracked = TrackedTask(endpoint, id_, request=request, by_external_id=task_id is None, confirmed=confirmed)
    engine.poller.registry.attach(tracked)
    return Handle(engine, tracked)


def known_tasks(engine: Engine) -> list[Handle]:
    """Return the tasks that a client has seen running and not yet seen ended, then those that queue."""
    engine.scope.refresh()
    running: dict[TaskKey, Handle] = {}  # two pollers may have come to look after one task by different ids
    for poller in engine.pollers:
        for tracked in poller:
            if tracked.record is not None and poller.registry.is_holder(tracked):
                key = tracked.endpoint.path, tracked.task_id or ""
                running.setdefault(key, Handle(engine.looking_after(poller), tracked))
    return [*running.values()] + [Handle(engine.looking_for(new), new) for new in engine.queue.pending]
