"""Calls that are answered at once: lists, the synchronous endpoints, and requests of the caller's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kling_async.catalog import call_of, endpoint_of, row_of
from kling_async.errors import BadResponse, Problem, RequestInvalid, TaskNotFound, api_error
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.bodies import check_media, check_media_here, encode
from kling_async.orchestrator.results import answer_of
from kling_async.records import PAGE_NUMBER_MAX, decode_list
from kling_async.wire.checks import check, to_wire
from kling_async.wire.endpoints import check_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.core.verdict import Got, ReadVerdict
    from kling_async.orchestrator.engine import Engine
    from kling_async.records import TaskRecord
    from kling_async.wire.requests import CallRequest, TaskRequest

__all__ = ["call", "check_here", "list_page", "read", "request"]

R = TypeVar("R")


async def read(
    engine: Engine,
    method: str,
    path: str,
    params: Mapping[str, str] | None = None,
    *,
    body: bytes | None = None,
    harmless: bool = False,
) -> Got:
    """Send a request and return its answer; a GET waits its turn, as `Polling.requests_per_second` says.

    A request that could cost something twice is repeated only if it was surely not carried out.

    Args:
        engine: The client's engine.
        method: The HTTP method.
        path: The path below the base URL.
        params: The query.
        body: JSON.
        harmless: Whether it may be repeated though it is no GET.

    Raises:
        KlingError: The request was refused, or no answer came.
    """
    engine.scope.enter()

    async def once() -> ReadVerdict:
        if method == "GET":
            await engine.poller.turns.refresh()
        return await engine.transport.read(method, path, params=params, body=body, timeouts=engine.timeouts)

    repeatable = harmless or method == "GET"
    try:
        return await read_patiently(once, retry=engine.retry, rng=engine.rng, repeatable=repeatable)
    except TaskNotFound as error:  # 1201 "not found": here it is about something that the request names
        raise api_error(1201, error.message, request_id=error.request_id, http_status=400) from None


def check_here(engine: Engine, request: TaskRequest[Any] | CallRequest[Any]) -> None:
    """Check a request and the first bytes of its files, as a submit or call does, in this thread.

    Raises:
        RequestInvalid: The request cannot be right.
        TypeError: No endpoint has such a request.
    """
    row_of(request)
    check(request)
    check_media_here(request, local=engine.local)


async def list_page(
    engine: Engine, kind: type[TaskRequest[Any]], page: int, page_size: int
) -> list[TaskRecord]:
    """Return one page of an endpoint's tasks, newest first.

    Raises:
        RequestInvalid: The page or its size is out of bounds, or the endpoint has no list.
        KlingError: The list was refused, did not come, or cannot be read.
    """
    endpoint = endpoint_of(kind)
    if endpoint.asked_at:
        text = f"{endpoint.name} has no list of its own; client.history() lists all tasks of the account"
        raise RequestInvalid("list", [Problem("kind", text)])
    bounds = {"page": (page, PAGE_NUMBER_MAX), "page_size": (page_size, endpoint.page_size_max)}
    wrong = [
        Problem(name, f"{value} is not from 1 to {most}")
        for name, (value, most) in bounds.items()
        if not 1 <= value <= most
    ]
    if wrong:
        raise RequestInvalid("list", wrong)
    got = await read(engine, "GET", endpoint.path, {"pageNum": str(page), "pageSize": str(page_size)})
    try:
        return decode_list(endpoint.name, got.data)
    except msgspec.DecodeError as error:
        answer = got.answer
        raise BadResponse(
            f"the list cannot be read: {error}", http_status=answer.http_status, request_id=answer.request_id
        ) from None


async def call(engine: Engine, request: CallRequest[R]) -> R:
    """Send a request that is answered at once; return its typed answer.

    Raises:
        KlingError: The request was refused, also within an accepting answer, or no answer came.
    """
    row = call_of(request)
    check(request)
    if row.method == "GET":
        query = {name: str(value) for name, value in to_wire(request, str).items()}
        return answer_of(row, await read(engine, "GET", row.path, query))
    await check_media(request, engine.scope, local=engine.local)
    body = await encode(request, {}, engine.scope)
    return answer_of(row, await read(engine, row.method, row.path, body=body, harmless=row.read))


async def request(
    engine: Engine, method: str, path: str, *, json: Any = None, params: Mapping[str, str] | None = None
) -> Any:
    """Send a request of the caller's own; return the ``data`` of the answer as plain objects."""
    body = None if json is None else msgspec.json.encode(json)
    got = await read(engine, method, check_path(path), params, body=body)
    return msgspec.json.decode(got.data or b"null")
