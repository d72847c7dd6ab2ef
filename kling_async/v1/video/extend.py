"""Video endpoints of the first generation: make a produced video longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from kling_async.v1.parts import CFG_SCALE, DerivedVideos, WatermarkInfo
from kling_async.v1.rules import placeholders
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.errors import Problem

__all__ = ["VideoExtend"]


class VideoExtend(TaskRequest[DerivedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """A video made 4 to 5 seconds longer: ``POST /v1/videos/video-extend``. Takes one video slot.

    The result is the whole video; it may be extended again, up to 3 minutes in all. Model and mode are
    those of the source. ``task.raw["task_info"]["parent_video"]`` holds the input video.

    Args:
        video_id: Id of a video (not of its task), made in the last 30 days from a text, an image or a
            shorter video by kling-v1, kling-v1-5 or kling-v1-6; these models are retired.
        prompt: What happens next, at most 2500 characters.
        negative_prompt: What to avoid, at most 2500 characters. Not for videos of kling-v1.
        cfg_scale: How closely to follow the prompt, 0 to 1. Default: 0.5.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "video_extend"

    video_id: str
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    cfg_scale: Annotated[float, CFG_SCALE] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def sources_are_retired(_: VideoExtend) -> Iterator[Problem | Doubt]:
    """Warn that no model whose videos can be extended is surely served any more."""
    yield Doubt(
        "video_id",
        "only videos of kling-v1, kling-v1-5 and kling-v1-6 can be extended; these models were announced "
        "to end on 2026-09-15",
    )


VideoExtend.rules = (sources_are_retired, placeholders())
