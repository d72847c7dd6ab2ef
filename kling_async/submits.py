"""From what a caller asks for to what the engine works with: a job to queue, a handle on a task."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from kling_async.catalog import endpoint_of
from kling_async.checks import check
from kling_async.endpoints import check_id
from kling_async.errors import Problem, RequestInvalid
from kling_async.files import check_media
from kling_async.jobs import Job, check_order
from kling_async.live import Live
from kling_async.tasks import Task

if TYPE_CHECKING:
    from kling_async.engine import Engine
    from kling_async.wire import TaskRequest

__all__ = ["handle_on", "job_of"]

R = TypeVar("R")


async def job_of(
    engine: Engine,
    request: TaskRequest[Any],
    *,
    external_task_id: str | None = None,
    callback_url: str | None = None,
    generated: bool | None = None,
    **order: Any,
) -> Job:
    """Check a request, and make of it what waits for slots.

    Args:
        engine: Whose slots.
        request: What to make.
        external_task_id: The id its create carries; None: a random one.
        callback_url: Where the vendor posts changes.
        generated: Whether nobody else can have used that id; None: if it is a random one.
        **order: ``priority``, ``label``, ``queue_timeout``.

    Raises:
        RequestInvalid: It cannot be right; nothing was sent.
    """
    engine.home.enter()
    if isinstance(request, type):
        raise TypeError(f"submit() takes a request, not its type: {request.__name__}(...)")
    check_order(**order)
    endpoint = endpoint_of(request)
    check(request)
    await check_media(request, engine.home)
    name = str(uuid.uuid4()) if external_task_id is None else check_id(external_task_id, "external_task_id")
    engine.packs.start(endpoint.pool)
    return Job(
        request,
        endpoint,
        name,
        engine.poller,
        callback_url=callback_url,
        generated=external_task_id is None if generated is None else generated,
        retry=engine.retry,
        timeouts=engine.timeouts,
        **order,
    )


def handle_on(
    engine: Engine,
    kind: type[TaskRequest[R]] | TaskRequest[R],
    *,
    task_id: str | None = None,
    external_task_id: str | None = None,
    sure: bool = False,
) -> Task[R]:
    """Return a handle on a task known by one id; of a request, not only its type, the weight is known too.

    ``sure``: the vendor has told that id, so that one answer that does not know it proves nothing.

    Raises:
        RequestInvalid: Not exactly one id, or one that could name another path.
    """
    endpoint = endpoint_of(kind)
    if (task_id is None) == (external_task_id is None):
        raise RequestInvalid("attach", [Problem("task_id", "give task_id or external_task_id, one of them")])
    name, value = ("task_id", task_id) if external_task_id is None else ("external_task_id", external_task_id)
    known = check_id(value or "", name)
    for poller in engine.pollers.values():
        if (live := poller.find(endpoint, known)) is not None:
            return Task(engine.looking_after(poller), live)
    request = None if isinstance(kind, type) else kind
    live = Live(endpoint, known, request=request, named=task_id is None, sure=sure)
    engine.poller.known.attached(live)
    return Task(engine, live)
