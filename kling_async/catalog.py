"""One row per endpoint: all that the machinery knows of it. A new endpoint is one row here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Meta

from kling_async import v1
from kling_async.checks import Rule, check_free
from kling_async.errors import BadResponse, Problem, RequestInvalid, api_error
from kling_async.wire import CallRequest, RawResult, TaskRecord, TaskRequest, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kling_async.core.verdict import Got

__all__ = ["Call", "Endpoint", "RawTask", "call_of", "check_id", "endpoint_of", "result_of"]

R = TypeVar("R")

Lookup = Literal["path", "none"]


class Endpoint(NamedTuple, Generic[R]):
    """An endpoint that makes tasks."""

    name: str
    request: type[TaskRequest[R]]
    result: type[R]
    path: str
    """Create by POST, list by GET; one task by GET at ``path/{id}``."""
    pool: str
    weight: Callable[[Any], int]
    """Slots that a request takes."""
    lookup: Lookup = "path"
    """How a create whose answer was lost is found: by external_task_id in the path, or not at all."""
    kind: Callable[[Any], Hashable] = lambda _: None
    """Of what in a request the task's duration depends: tasks of one kind take about as long."""
    median: float = 60.0
    """Seconds to expect of a kind that was never seen; only a first guess."""
    takes_external_id: bool = True
    page_size_max: int = 500


class Call(NamedTuple, Generic[R]):
    """An endpoint that answers at once."""

    name: str
    request: type[CallRequest[R]]
    result: type[R]
    method: Literal["GET", "POST"]
    path: str


class RawTask(TaskRequest[RawResult], frozen=True, kw_only=True, omit_defaults=True):
    """A task at an endpoint this package has no types for; its result is plain data in ``raw``.

    Asked for at ``path/{id}``. Of the body nothing is checked but that it can be sent.
    """

    rules: ClassVar[tuple[Rule, ...]] = (lambda r: check_free("body", r.body),)

    path: str
    body: dict[str, Any]
    pool: str = "video"
    weight: Annotated[int, Meta(ge=0, description="Slots it takes")] = 1


def _one(_: Any) -> int:
    return 1


def _n(request: v1.ImageGeneration) -> int:
    return request.n or 1


def _clip_kind(request: v1.TextToVideo) -> Hashable:
    return request.model_name, request.mode or "std", request.duration or 5, bool(request.sound)


def _image_kind(request: v1.ImageGeneration) -> Hashable:
    return request.model_name, request.n or 1, request.resolution or "1k", request.image is None


TASKS: Final[tuple[Endpoint[Any], ...]] = (
    Endpoint(
        "text_to_video",
        v1.TextToVideo,
        v1.Videos,
        "/v1/videos/text2video",
        "video",
        _one,
        kind=_clip_kind,
        median=90.0,
    ),
    Endpoint(
        "image_generation",
        v1.ImageGeneration,
        v1.Images,
        "/v1/images/generations",
        "image",
        _n,
        kind=_image_kind,
        median=25.0,
    ),
)
"""Every endpoint that makes tasks."""

CALLS: Final[tuple[Call[Any], ...]] = (
    Call("account_costs", v1.AccountCosts, v1.Costs, "GET", "/account/costs"),
)
"""Every endpoint that answers at once."""

_by_task: Final[dict[type, Endpoint[Any]]] = {row.request: row for row in TASKS}
_by_call: Final[dict[type, Call[Any]]] = {row.request: row for row in CALLS}
_plain: Final = msgspec.json.Decoder()
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")


def endpoint_of(request: TaskRequest[R] | type[TaskRequest[R]]) -> Endpoint[R]:
    """Return the row of a request, or of a type of requests.

    Raises:
        TypeError: There is none: not a task request.
    """
    if isinstance(request, RawTask):
        check_path(request.path)
        weight = request.weight
        row = Endpoint(request.path, RawTask, RawResult, request.path, request.pool, lambda _: weight)
        return cast("Endpoint[R]", row)
    kind = request if isinstance(request, type) else type(request)
    found = _by_task.get(kind)
    if found is None:
        hint = "; use client.call()" if kind in _by_call else ""
        raise TypeError(f"{kind.__name__} is not a request that makes a task{hint}")
    return found


def call_of(request: CallRequest[R]) -> Call[R]:
    """Return the row of a request that is answered at once.

    Raises:
        TypeError: There is none.
    """
    found = _by_call.get(type(request))
    if found is None:
        hint = "; use client.submit()" if isinstance(request, TaskRequest) else ""
        raise TypeError(f"{type(request).__name__} is not a request that is answered at once{hint}")
    return found


def decode_result(kind: type[R], data: bytes) -> R:
    """Decode a result and keep the vendor's own object beside it.

    Raises:
        BadResponse: It is not of that form.
    """
    try:
        raw = decode(_plain, data)
        result = msgspec.convert(_without_nulls(raw), kind, strict=False)
    except msgspec.DecodeError as error:  # of which what convert raises is a subclass
        raise BadResponse(f"the result cannot be read: {error}", http_status=200) from None
    msgspec.structs.force_setattr(cast("Any", result), "raw", raw)
    return result


def answer_of(kind: type[R], got: Got) -> R:
    """Decode the answer of a call; a second envelope within it may refuse where the first did not.

    Raises:
        APIError: The inner code says so.
        BadResponse: It is not of that form.
    """
    result = decode_result(kind, got.data)
    if code := getattr(result, "code", None):
        text, answer = getattr(result, "msg", "") or "", got.answer
        raise api_error(code, text, request_id=answer.request_id, http_status=answer.http_status)
    return result


def _without_nulls(value: Any) -> Any:
    """Drop nulls at any depth: one in a paid result must not make all of it unreadable."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


def result_of(endpoint: Endpoint[R], record: TaskRecord) -> R:
    """Return the typed result of a task that succeeded; what it lacks is left empty."""
    data = bytes(record.result_data)
    return decode_result(endpoint.result, b"{}" if data in (b"null", b"") else data)


def check_id(value: str, name: str) -> str:
    """Return an id that may become part of a path.

    Raises:
        RequestInvalid: It could name another path.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value) or not value.strip("."):
        raise RequestInvalid("id", [Problem(name, "use 1 to 128 of A-Z a-z 0-9 . _ -, and not dots alone")])
    return value


def check_path(path: str) -> str:
    """Return a path that stays below the base URL.

    Raises:
        RequestInvalid: It does not.
    """
    segments = path.split("/")
    if not _PATH.fullmatch(path) or any(s and not s.strip(".") for s in segments):
        raise RequestInvalid("path", [Problem("path", "use /segments of A-Z a-z 0-9 . _ -, not dots alone")])
    return path
