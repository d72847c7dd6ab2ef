"""Video endpoints of the first generation: move the figure of an image as in a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import ElementRef, Videos, WatermarkInfo
from kling_async.v1.rules import placeholders, video_model
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE, VIDEO
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_MOTION_MODEL", "MotionControl"]

DEFAULT_MOTION_MODEL: Final = "kling-v3"
"""Sent where the caller names no model."""


class MotionControl(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """The figure of an image moves as in a video: ``POST /v1/videos/motion-control``. One video slot.

    The result is as long as the input video, and billed by its length.

    Args:
        image_url: Figure and background, framed much as in the video; bytes and files are taken too.
        video_url: One shot of one person: MP4 or MOV, 340 to 3850 pixels, at most 100 MB, 3 to 10 seconds;
            with character_orientation ``video`` to 30 seconds.
        character_orientation: Whose facing is kept: ``image`` takes videos of up to 10 seconds, ``video`` of
            up to 30.
        mode: ``std`` is 720p, ``pro`` 1080p. Required here.
        prompt: What to add to the scene, and camera moves; at most 2500 characters.
        model_name: ``kling-v3`` or ``kling-v2-6``. Default: kling-v3.
        element_list: At most 1 element, on kling-v3; needs character_orientation ``video``.
        keep_original_sound: False drops the sound of the video. Default: True.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "motion_control"

    image_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE._replace(max_side_px=65536)})]
    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})]
    character_orientation: Literal["image", "video"]
    mode: Literal["std", "pro"]
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    model_name: str = DEFAULT_MOTION_MODEL
    element_list: (
        Annotated[tuple[ElementRef, ...], Meta(max_length=1, extra={"models": ("kling-v3",)})] | None
    ) = None
    keep_original_sound: Annotated[bool, Meta(extra={"default": True, "wire": "yes_no"})] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def element_faces_as_the_video(r: MotionControl) -> Iterator[Problem | Doubt]:
    """Require character_orientation ``video`` with an element."""
    if r.element_list and r.character_orientation != "video":
        yield Problem("character_orientation", "must be 'video' with element_list")


MotionControl.rules = (
    element_faces_as_the_video,
    placeholders(),
    video_model("motion_control", "element_list"),
)
