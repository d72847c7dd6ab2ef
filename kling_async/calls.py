"""What is answered at once: lists, the synchronous endpoints, and whatever else the caller names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kling_async.catalog import answer_of, call_of, check_path, endpoint_of
from kling_async.checks import check, to_wire
from kling_async.errors import BadResponse, Problem, RequestInvalid
from kling_async.options import Retry
from kling_async.retry import read_patiently
from kling_async.wire import PAGE_MAX, decode_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.core.verdict import Got, ReadVerdict
    from kling_async.engine import Engine
    from kling_async.wire import CallRequest, TaskRecord, TaskRequest

__all__ = ["call", "list_page", "read", "request"]

R = TypeVar("R")

_ONCE = Retry(max_tries=1)


async def read(
    engine: Engine,
    method: str,
    path: str,
    params: Mapping[str, str] | None = None,
    *,
    body: bytes | None = None,
) -> Got:
    """Send a request and return its answer. A GET is repeated as `Retry` says, anything else is sent once.

    Raises:
        KlingError: It was refused, or no answer came.
    """
    engine.home.enter()

    async def once() -> ReadVerdict:
        return await engine.transport.read(method, path, params=params, body=body, timeouts=engine.timeouts)

    retry = engine.retry if method == "GET" else _ONCE  # a repetition might be paid twice
    return await read_patiently(once, retry=retry, rng=engine.rng, what=path)


async def list_page(
    engine: Engine, kind: type[TaskRequest[Any]], page: int, page_size: int
) -> list[TaskRecord]:
    """Return one page of an endpoint's tasks."""
    endpoint = endpoint_of(kind)
    bounds = {"page": (page, PAGE_MAX), "page_size": (page_size, endpoint.page_size_max)}
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
    fields = to_wire(request, str)
    if row.method == "GET":
        got = await read(engine, "GET", row.path, {name: str(value) for name, value in fields.items()})
    else:
        got = await read(engine, row.method, row.path, body=msgspec.json.encode(fields))
    return answer_of(row.result, got)


async def request(
    engine: Engine, method: str, path: str, *, json: Any = None, params: Mapping[str, str] | None = None
) -> Any:
    """Send anything; return the answer's ``data`` as plain objects."""
    body = None if json is None else msgspec.json.encode(json)
    got = await read(engine, method, check_path(path), params, body=body)
    return msgspec.json.decode(got.data or b"null")
