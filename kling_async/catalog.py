"""One row per endpoint: all that the machinery knows of it. A new endpoint is one row here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from kling_async import v1
from kling_async.endpoints import Call, Endpoint, RawTask, check_path
from kling_async.wire import CallRequest, RawResult, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["ACCOUNT_COSTS", "CALLS", "TASKS", "call_of", "endpoint_of", "row_of"]

R = TypeVar("R")


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

ACCOUNT_COSTS: Final = Call("account_costs", v1.AccountCosts, v1.Costs, "GET", "/account/costs")

CALLS: Final[tuple[Call[Any], ...]] = (ACCOUNT_COSTS,)
"""Every endpoint that answers at once."""

_by_task: Final[dict[type, Endpoint[Any]]] = {row.request: row for row in TASKS}
_by_call: Final[dict[type, Call[Any]]] = {row.request: row for row in CALLS}


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


def row_of(request: TaskRequest[Any] | CallRequest[Any]) -> Endpoint[Any] | Call[Any]:
    """Return the row of any request.

    Raises:
        TypeError: There is none.
    """
    return call_of(request) if isinstance(request, CallRequest) else endpoint_of(request)
