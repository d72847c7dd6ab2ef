"""Discovery: find the endpoint of a task by its id alone, by ``/tasks`` and then by the endpoints' own paths.

``/tasks`` knows the tasks of all endpoints, but its answers do not name the endpoint, and lack parts of some
results. So the task is asked for at the endpoints, those first that make what the answer shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.catalog import TASKS
from kling_async.errors import APIError, BadResponse, ConfigurationError, TaskNotFound
from kling_async.orchestrator.calls import read
from kling_async.orchestrator.handles import Handle, attach
from kling_async.orchestrator.status_reader import record_of
from kling_async.records import decode_unified_page
from kling_async.wire.endpoints import check_id

if TYPE_CHECKING:
    from kling_async.orchestrator.engine import Engine
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["discover"]

_NOT_FOUND: Final = 1201
"""The API's code at an endpoint that does not know the task."""


async def discover(engine: Engine, id: str) -> Handle:  # noqa: A002 - either of a task's ids
    """Return a handle on the task of an id, whatever its endpoint; at most some 20 queries.

    Raises:
        RequestInvalid: The id could name another path.
        ConfigurationError: The account's key is a pair, which ``/tasks`` does not take.
        TaskNotFound: The account has no such task.
        KlingError: No answer came.
    """
    check_id(id, "id")
    if not engine.transport.unified:
        raise ConfigurationError("a task of an unknown endpoint is found under an API key (api_key=) only")
    shown = await _at_tasks(engine, id)
    for endpoint in sorted(TASKS, key=lambda row: not _may_make(row, shown)):
        record = await _at(engine, endpoint, shown.task_id)
        if record is not None:
            # a poller that tracks the task already is found: tracked twice, it would hold its slots twice
            handle = attach(engine, endpoint.request, task_id=shown.task_id, confirmed=True)
            return Handle(handle.engine, handle.engine.poller.found(endpoint, record))
    raise TaskNotFound(f"the account has task {shown.task_id}, but no endpoint known here has it", id=id)


async def _at_tasks(engine: Engine, id: str) -> TaskRecord:  # noqa: A002
    """Return the record of a task at ``/tasks``, by either id."""
    for name in ("task_ids", "external_task_ids"):
        got = await read(engine, "GET", "/tasks", {name: id})
        try:
            records = decode_unified_page(got.data)
        except msgspec.DecodeError as error:
            reason, status = f"the task cannot be read: {error}", got.answer.http_status
            raise BadResponse(reason, http_status=status, request_id=got.answer.request_id) from None
        for record in records:
            if id in (record.task_id, record.external_task_id):
                return record
    raise TaskNotFound(f"this account has no task {id}", id=id)


def _may_make(endpoint: Endpoint[Any], shown: TaskRecord) -> bool:
    """Tell whether an endpoint's results have what a record shows of its own: videos, images, audios."""
    result = msgspec.json.decode(shown.result_data)
    named = set(result) if isinstance(result, dict) else set()
    return named <= set(endpoint.result.__struct_fields__)


async def _at(engine: Engine, endpoint: Endpoint[Any], task_id: str) -> TaskRecord | None:
    """Return the record of a task at an endpoint; None if that does not know it."""
    try:
        got = await read(engine, "GET", f"{endpoint.path}/{task_id}")
    except APIError as error:
        if error.code != _NOT_FOUND:
            raise
        return None
    record = record_of(endpoint, got)
    return record if record.task_id == task_id else None
