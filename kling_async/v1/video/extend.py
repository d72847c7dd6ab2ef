"""Video endpoints of the first generation: a produced video made longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from kling_async.v1.parts import CfgScale, DerivedVideos, WatermarkInfo
from kling_async.v1.rules import placeholders
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.errors import Problem

__all__ = ["VideoExtend"]


class VideoExtend(TaskRequest[DerivedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """A video, 4 to 5 s longer: ``POST /v1/videos/video-extend``. Takes one video slot.

    The result is the whole video, and may be extended again up to 3 minutes in all. Model and mode are
    those of the source. ``task.raw["task_info"]["parent_video"]`` tells the video that went in.
    """

    video_id: Annotated[
        str,
        Meta(
            description="Id of a video (not of its task), made in the last 30 days from a text, an image "
            "or a shorter video by kling-v1, kling-v1-5 or kling-v1-6, which are retired"
        ),
    ]
    prompt: Annotated[str, Meta(max_length=2500, description="What happens next")] | None = None
    negative_prompt: (
        Annotated[str, Meta(max_length=2500, description="What to avoid; not for videos of kling-v1")] | None
    ) = None
    cfg_scale: CfgScale = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def sources_are_retired(_: VideoExtend) -> Iterator[Problem | Doubt]:
    """No model whose videos can be extended is surely served any more."""
    yield Doubt(
        "video_id",
        "only videos of kling-v1, kling-v1-5 and kling-v1-6 can be extended; these models were announced "
        "to end on 2026-09-15",
    )


VideoExtend.rules = (sources_are_retired, placeholders())
