"""Rows of the catalog for the second generation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_async.v1.parts import Images, Videos
from kling_async.v2.solutions import (
    ClothingDupe,
    DramaSubtitle,
    GoodsStudio,
    ProductVideos,
    SubtitledVideos,
    TalkingAgent,
    VirtualTryOn,
)
from kling_async.v2.video import ImageToVideo, MotionControl, OmniVideo, TextToVideo
from kling_async.wire.endpoints import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from kling_async.wire.requests import TaskRequest

__all__ = ["TASKS"]

R = TypeVar("R")


def _one(_: Any) -> int:
    return 1


def _clip_kind(request: TextToVideo | ImageToVideo) -> Hashable:
    return request.model_name, request.resolution or "720p", request.duration or 5, request.audio or "off"


def _omni_kind(request: OmniVideo) -> Hashable:
    uses = request.feature_video is not None, request.base_video is not None
    return (
        request.model_name,
        request.resolution or "720p",
        request.duration or 5,
        request.audio or "off",
        uses,
    )


def _motion_kind(request: MotionControl) -> Hashable:
    return request.model_name, request.resolution or "720p", request.character_orientation


def _video(
    request: type[TaskRequest[Videos]], path: str, kind: Callable[[Any], Hashable], median: float
) -> Endpoint[Videos]:
    return Endpoint(request, Videos, path, "video", _one, kind=kind, median=median, model_in_path=True)


def _solution(request: type[TaskRequest[R]], result: type[R], path: str, pool: str = "video") -> Endpoint[R]:
    # billed in units of that pool; no page states which slots it takes
    return Endpoint(request, result, f"/solutions/{path}", pool, _one, median=120.0, sure=False)


# medians are first guesses: 3 s of kling-3.0-turbo took 28 s, of kling-3.0-omni 83 s
TASKS: Final[tuple[Endpoint[Any], ...]] = (
    _video(TextToVideo, "/text-to-video", _clip_kind, 60.0),
    _video(ImageToVideo, "/image-to-video", _clip_kind, 60.0),
    _video(OmniVideo, "/omni-video", _omni_kind, 90.0),
    _video(MotionControl, "/motion-control", _motion_kind, 90.0),
    _solution(ClothingDupe, ProductVideos, "e-commerce/clothing_dupe"),
    _solution(GoodsStudio, Videos, "e-commerce/goods_studio"),
    _solution(TalkingAgent, Videos, "talking_agent"),
    # the page on concurrency gives a try-on task one slot, and packs for try-on exist
    _solution(VirtualTryOn, Images, "virtual_try_on", "virtual_try_on"),
    _solution(DramaSubtitle, SubtitledVideos, "drama_subtitle"),
)
"""Every endpoint of the second generation; all make tasks."""
