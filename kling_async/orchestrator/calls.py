"""What is answered at once: lists, the synchronous endpoints, and whatever else the caller names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kling_async.catalog import call_of, endpoint_of
from kling_async.errors import BadResponse, Problem, RequestInvalid, TaskNotFound, api_error
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.bodies import check_media, encode
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

__all__ = ["call", "list_page", "read", "request"]

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
    """Send a request and return its answer. What could be paid twice is repeated only if surely not done.

    Args:
        engine: Whose.
        method: Its verb.
        path: Below the base URL.
        params: Its query.
        body: JSON.
        harmless: It may be repeated though it is no GET.

    Raises:
        KlingError: It was refused, or no answer came.
    """
    engine.scope.enter()

    async def once() -> ReadVerdict:
        return await engine.transport.read(method, path, params=params, body=body, timeouts=engine.timeouts)

    repeatable = harmless or method == "GET"
    try:
        return await read_patiently(once, retry=engine.retry, rng=engine.rng, repeatable=repeatable)
    except TaskNotFound as error:  # what is not there is something that the request names
        missing = api_error(1201, error.message, request_id=error.request_id, http_status=400)
    raise missing


async def list_page(
    engine: Engine, kind: type[TaskRequest[Any]], page: int, page_size: int
) -> list[TaskRecord]:
    """Return one page of an endpoint's tasks."""
    endpoint = endpoint_of(kind)
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
        reason = f"the list cannot be read: {error}"
    raise BadResponse(reason, http_status=got.answer.http_status, request_id=got.answer.request_id)


async def call(engine: Engine, request: CallRequest[R]) -> R:
    """Send a request that is answered at once; a refusal inside an accepting answer is raised too."""
    row = call_of(request)
    check(request)
    if row.method == "GET":
        query = {name: str(value) for name, value in to_wire(request, str).items()}
        return answer_of(row, await read(engine, "GET", row.path, query))
    await check_media(request, engine.scope)
    body = await encode(request, {}, engine.scope)
    return answer_of(row, await read(engine, row.method, row.path, body=body, harmless=row.read))


async def request(
    engine: Engine, method: str, path: str, *, json: Any = None, params: Mapping[str, str] | None = None
) -> Any:
    """Send anything; return the answer's ``data`` as plain objects."""
    body = None if json is None else msgspec.json.encode(json)
    got = await read(engine, method, check_path(path), params, body=body)
    return msgspec.json.decode(got.data or b"null")
