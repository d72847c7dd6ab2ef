"""Catalog of the endpoints: one row has all that client and orchestrator know of one endpoint."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from kling_async import v1
from kling_async.errors import Problem, RequestInvalid
from kling_async.records import VOICES_PAGE_SIZE_MAX
from kling_async.v2 import endpoints as v2
from kling_async.wire.endpoints import Call, Endpoint, JournaledRequest, RawTask, check_path
from kling_async.wire.fields import WHOLE
from kling_async.wire.requests import CallRequest, RawResult, TaskRequest
from kling_async.wire.schema import schema_of

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    import msgspec

__all__ = [
    "ACCOUNT_COSTS",
    "CALLS",
    "TASKS",
    "call_of",
    "endpoint_of",
    "json_schema",
    "request_from_dict",
    "request_type",
    "row_of",
]

R = TypeVar("R")


def _one(_: Any) -> int:
    return 1


def _none(_: Any) -> int:
    return 0


def _n(request: v1.ImageGeneration | v1.MultiImageToImage | v1.ImageExpand) -> int:
    return request.n or 1


# -- kinds: requests of one kind take equally long; where a field is unset, the vendor's default counts


def _clip_kind(request: v1.TextToVideo | v1.ImageToVideo) -> Hashable:
    return request.model_name, request.mode or "std", request.duration or 5, bool(request.sound)


def _multi_image_kind(request: v1.MultiImageToVideo) -> Hashable:
    return request.model_name, request.mode or "std", request.duration or 5


def _omni_kind(request: v1.OmniVideo) -> Hashable:
    uses = tuple(video.refer_type or "base" for video in request.video_list or ())
    return request.model_name, request.mode or "pro", request.duration or 5, bool(request.sound), uses


def _motion_kind(request: v1.MotionControl) -> Hashable:
    return request.model_name, request.mode, request.character_orientation


def _edit_kind(request: v1.MultiElements) -> Hashable:
    return request.edit_mode, request.mode or "std", request.duration or 5


def _image_kind(request: v1.ImageGeneration) -> Hashable:
    return request.model_name, request.n or 1, request.resolution or "1k", request.image is None


def _omni_image_kind(request: v1.OmniImage) -> Hashable:
    return request.model_name, request.result_type == "series", request.amount, request.resolution or "1k"


# medians are first guesses that learned durations replace: clips of 3 to 5 s were seen to take 28 to 90 s,
# images 24 s, elements 5 s, voices 9 s
TASKS: Final[tuple[Endpoint[Any], ...]] = (
    Endpoint(v1.TextToVideo, v1.Videos, "/v1/videos/text2video", "video", _one, kind=_clip_kind, median=90.0),
    Endpoint(
        v1.ImageToVideo, v1.Videos, "/v1/videos/image2video", "video", _one, kind=_clip_kind, median=90.0
    ),
    Endpoint(
        v1.MultiImageToVideo,
        v1.Videos,
        "/v1/videos/multi-image2video",
        "video",
        _one,
        kind=_multi_image_kind,
        median=90.0,
    ),
    Endpoint(v1.OmniVideo, v1.Videos, "/v1/videos/omni-video", "video", _one, kind=_omni_kind, median=90.0),
    Endpoint(
        v1.MotionControl,
        v1.Videos,
        "/v1/videos/motion-control",
        "video",
        _one,
        kind=_motion_kind,
        median=90.0,
    ),
    Endpoint(
        v1.MultiElements,
        v1.Videos,
        "/v1/videos/multi-elements",
        "video",
        _one,
        kind=_edit_kind,
        median=90.0,
        whole_at_tasks=False,
        whole_in_callbacks=False,
    ),
    Endpoint(
        v1.VideoExtend,
        v1.DerivedVideos,
        "/v1/videos/video-extend",
        "video",
        _one,
        median=90.0,
        whole_at_tasks=False,
    ),
    Endpoint(
        v1.AdvancedLipSync,
        v1.DerivedVideos,
        "/v1/videos/advanced-lip-sync",
        "video",
        _one,
        # only the task_id is documented as the path's last segment
        lookup="search",
        whole_at_tasks=False,
    ),
    Endpoint(
        v1.LipSync,
        v1.DerivedVideos,
        "/v1/videos/lip-sync",
        "video",
        _one,
        lookup="search",
        kind=lambda request: request.input.mode,
        # an external_task_id is not documented here: a second create with the same one might make a task
        idempotent=False,
        whole_at_tasks=False,
    ),
    Endpoint(
        v1.Avatar,
        v1.Videos,
        "/v1/videos/avatar/image2video",
        "video",
        _one,
        kind=lambda request: request.mode or "std",
        median=90.0,
    ),
    Endpoint(
        v1.VideoEffects,
        v1.Videos,
        "/v1/videos/effects",
        "video",
        _one,
        kind=lambda request: request.effect_scene,
        median=90.0,
    ),
    Endpoint(
        v1.ImageGeneration, v1.Images, "/v1/images/generations", "image", _n, kind=_image_kind, median=25.0
    ),
    Endpoint(
        v1.OmniImage,
        v1.OmniImages,
        "/v1/images/omni-image",
        "image",
        lambda request: request.amount,
        kind=_omni_image_kind,
        median=25.0,
        whole_at_tasks=False,
        whole_in_callbacks=False,
    ),
    Endpoint(
        v1.MultiImageToImage,
        v1.Images,
        "/v1/images/multi-image2image",
        "image",
        _n,
        kind=lambda request: (request.model_name, request.n or 1),
        median=25.0,
    ),
    Endpoint(
        v1.ImageExpand,
        v1.Images,
        "/v1/images/editing/expand",
        "image",
        _n,
        kind=lambda request: request.n or 1,
        median=25.0,
    ),
    Endpoint(
        v1.VirtualTryOn,
        v1.Images,
        "/v1/images/kolors-virtual-try-on",
        "virtual_try_on",
        _one,
        kind=lambda request: request.model_name,
        median=25.0,
    ),
    Endpoint(
        v1.AiMultiShot,
        v1.ViewSets,
        "/v1/general/ai-multi-shot",
        "image",
        _one,
        # billed in image units; no page states how many slots it takes
        sure=False,
        whole_at_tasks=False,
        whole_in_callbacks=False,
    ),
    Endpoint(
        v1.CustomElement,
        v1.Elements,
        "/v1/general/advanced-custom-elements",
        "element",
        _none,
        kind=lambda request: request.reference_type,
        median=5.0,
        # costs no units; whether it takes a slot is not documented
        sure=False,
        whole_at_tasks=False,
        whole_in_callbacks=False,
    ),
    Endpoint(
        v1.CustomVoice,
        v1.Voices,
        "/v1/general/custom-voices",
        "video",
        _one,
        median=9.0,
        # billed in video units; whether it takes a slot is not documented
        sure=False,
        whole_in_callbacks=False,
        page_size_max=VOICES_PAGE_SIZE_MAX,
    ),
    # sounds are priced among the videos; the page on concurrency does not name them
    Endpoint(
        v1.TextToAudio,
        v1.Audios,
        "/v1/audio/text-to-audio",
        "video",
        _one,
        sure=False,
        whole_in_callbacks=False,
    ),
    Endpoint(
        v1.VideoToAudio,
        v1.SoundedVideos,
        "/v1/audio/video-to-audio",
        "video",
        _one,
        sure=False,
        whole_at_tasks=False,
        whole_in_callbacks=False,
    ),
    *v2.TASKS,
)
"""Every endpoint that makes tasks."""

ACCOUNT_COSTS: Final = Call(v1.AccountCosts, v1.Costs, "GET", "/account/costs")


def _selection(step: str, request: type[CallRequest[R]], result: type[R]) -> Call[R]:
    path = f"/v1/videos/multi-elements/{step.replace('_', '-')}"
    return Call(request, result, "POST", path)


CALLS: Final[tuple[Call[Any], ...]] = (
    _selection("init_selection", v1.InitSelection, v1.SelectionVideo),
    _selection("add_selection", v1.AddSelection, v1.SelectionMarks),
    _selection("delete_selection", v1.DeleteSelection, v1.SelectionMarks),
    _selection("clear_selection", v1.ClearSelection, v1.SelectionAnswer),
    _selection("preview_selection", v1.PreviewSelection, v1.SelectionPreview),
    Call(v1.IdentifyFace, v1.Faces, "POST", "/v1/videos/identify-face"),
    Call(v1.ImageRecognize, v1.RecognizedImage, "POST", "/v1/videos/image-recognize"),
    Call(v1.PresetElements, v1.ElementPage, "GET", "/v1/general/advanced-presets-elements", array="tasks"),
    Call(v1.DeleteElement, v1.Deleted, "POST", "/v1/general/delete-elements"),
    Call(v1.CustomElementV0, v1.ElementV0, "POST", "/v1/general/custom-elements"),
    Call(v1.ListElementsV0, v1.ElementsV0, "GET", "/v1/general/custom-elements", array="elements"),
    Call(v1.PresetElementsV0, v1.ElementsV0, "GET", "/v1/general/presets-elements", array="elements"),
    Call(v1.PresetVoices, v1.VoicePage, "GET", "/v1/general/presets-voices", array="tasks"),
    Call(v1.DeleteVoice, v1.Deleted, "POST", "/v1/general/delete-voices"),
    Call(v1.TextToSpeech, v1.Speech, "POST", "/v1/audio/tts"),
    ACCOUNT_COSTS,
    Call(v1.AccountBillingPackage, v1.PackageDeductionPage, "POST", "/account/billing/package", read=True),
    Call(v1.AccountBillingBalance, v1.BalanceDeductionPage, "POST", "/account/billing/balance", read=True),
)
"""Every endpoint that answers at once."""

_by_name: Final = {row.name: row for row in TASKS}
_by_task: Final[dict[type, Endpoint[Any]]] = {row.request: row for row in TASKS}
_by_call: Final[dict[type, Call[Any]]] = {row.request: row for row in CALLS}


def endpoint_of(request: TaskRequest[R] | type[TaskRequest[R]]) -> Endpoint[R]:
    """Return the row of a task request, or of a type of task requests.

    Raises:
        TypeError: The request makes no task.
    """
    if isinstance(request, RawTask):
        return cast("Endpoint[R]", _raw_row(request.path, request.pool, request.weight))
    if isinstance(request, JournaledRequest):
        return cast("Endpoint[R]", _journaled_row(request))
    kind = request if isinstance(request, type) else type(request)
    found = _by_task.get(kind)
    if found is None:
        hint = "; use client.call()" if kind in _by_call else ""
        raise TypeError(f"{kind.__name__} is not a request that makes a task{hint}")
    return found


def _raw_row(path: str, pool: str, weight: int) -> Endpoint[RawResult]:
    check_path(path)
    row: Endpoint[RawResult] = Endpoint(
        RawTask, RawResult, path, pool, lambda _: weight, takes_callback=False
    )
    return row._replace(whole_at_tasks=bool(row.asked_at))


def _journaled_row(request: JournaledRequest) -> Endpoint[Any]:
    """Return the row of an endpoint for a request whose fields, and thus its weight, are not known."""
    if request.endpoint.startswith("/"):
        return _raw_row(request.endpoint, request.pool, 1)
    row = _by_name.get(request.endpoint)
    if row is None:
        raise TypeError(f"{request.endpoint!r:.60} is not an endpoint that makes tasks")
    return row._replace(weight=_one, kind=lambda _: "attached")


def endpoint_at(path: str, pool: str) -> Endpoint[Any]:
    """Return the row of the endpoint at a path; that of a `RawTask` where there is none."""
    found = next((row for row in TASKS if row.path == path), None)
    # the pool of a single model is the caller's own
    return endpoint_of(RawTask(path=path, body={}, pool=pool)) if found is None else found._replace(pool=pool)


def call_of(request: CallRequest[R]) -> Call[R]:
    """Return the row of a request that is answered at once.

    Raises:
        TypeError: The request is not answered at once.
    """
    found = _by_call.get(type(request))
    if found is None:
        hint = "; use client.submit()" if isinstance(request, TaskRequest) else ""
        raise TypeError(f"{type(request).__name__} is not a request that is answered at once{hint}")
    return found


def row_of(request: TaskRequest[Any] | CallRequest[Any]) -> Endpoint[Any] | Call[Any]:
    """Return the row of any request; raise TypeError for what is none, or is the type of one."""
    if isinstance(request, type):
        raise TypeError(f"this takes a request, not its type: {request.__name__}(...)")
    return call_of(request) if isinstance(request, CallRequest) else endpoint_of(request)


def request_from_dict(
    data: object, *, files: str | Path | None = None
) -> TaskRequest[Any] | CallRequest[Any]:
    """Return the request that an object out of JSON describes: ``{"endpoint": "text_to_video", ...}``.

    Reads what ``to_dict()`` of any request but a `RawTask` writes; strict, as ``from_dict()`` of its type.

    Args:
        data: The object; ``"endpoint"`` names the type of the request, the other names are its fields.
        files: A folder: a text may name a file below it by its path.

    Raises:
        RequestInvalid: The endpoint or a field is unknown, missing or wrong; all fields are named.
    """
    if not isinstance(data, Mapping):
        raise RequestInvalid("request", [Problem(WHOLE, f"must be an object, not {type(data).__name__}")])
    return request_type(data.get("endpoint")).from_dict(data, files=files)


def json_schema(kind: str | type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of requests, or of results as ``to_dict()`` writes them.

    Fields of requests come with their bounds, words, defaults and descriptions.

    Args:
        kind: Name of an endpoint, ``text_to_video``; or a type of requests, of their parts or of results.

    Raises:
        RequestInvalid: No endpoint has that name.
    """
    return schema_of(request_type(kind) if isinstance(kind, str) else kind)


_RequestType: TypeAlias = type[TaskRequest[Any]] | type[CallRequest[Any]]

_request_types: dict[str, _RequestType] = {row.name: row.request for row in TASKS}
_request_types |= {row.name: row.request for row in CALLS}


def request_type(name: object) -> _RequestType:
    """Return the type of an endpoint's requests.

    Raises:
        RequestInvalid: No endpoint has that name.
    """
    if (kind := _request_types.get(str(name))) is not None:
        return kind
    text = "is required" if name is None else f"no such endpoint {str(name)[:40]!r}"
    close = difflib.get_close_matches(str(name or ""), _request_types, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(_request_types)}"
    raise RequestInvalid("request", [Problem("endpoint", f"{text}; {hint}")])
