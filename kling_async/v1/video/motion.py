"""Video endpoints of the first generation: the movement of one video for the figure of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import ElementRef, Videos, WatermarkInfo
from kling_async.v1.rules import placeholders, video_model
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE, VIDEO
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_MOTION_MODEL", "MotionControl"]

DEFAULT_MOTION_MODEL: Final = "kling-v3"
"""Sent where the caller names no model."""


class MotionControl(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """The figure of an image moves as in a video: ``POST /v1/videos/motion-control``. One video slot.

    As long as the video that goes in, and billed by what comes out.
    """

    model_name: Annotated[str, Meta(description="kling-v3 or kling-v2-6")] = DEFAULT_MOTION_MODEL
    prompt: (
        Annotated[str, Meta(max_length=2500, description="What to add to the scene; moves of the camera")]
        | None
    ) = None
    image_url: Annotated[
        MediaInput,
        Meta(
            description="Figure and background, framed much as in the video; the file itself is taken too",
            extra={"media": IMAGE._replace(max_side_px=65536)},
        ),
    ]
    video_url: Annotated[
        MediaInput,
        Meta(
            description="One shot of one person, mp4 or mov, 340 to 3850 px, at most 100 MB; of 3 to 10 s, "
            "with character_orientation video to 30 s",
            extra={"media": VIDEO},
        ),
    ]
    element_list: (
        Annotated[
            tuple[ElementRef, ...],
            Meta(
                max_length=1,
                description="Element; needs character_orientation video",
                extra={"models": ("kling-v3",)},
            ),
        ]
        | None
    ) = None
    keep_original_sound: (
        Annotated[bool, Meta(description="Keep the sound", extra={"default": True, "wire": "yes_no"})] | None
    ) = None
    character_orientation: Annotated[
        Literal["image", "video"],
        Meta(description="Whose facing is kept: image takes videos of up to 10 s, video up to 30 s"),
    ]
    mode: Annotated[Literal["std", "pro"], Meta(description="std 720p, pro 1080p; here it is required")]
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def element_faces_as_the_video(r: MotionControl) -> Iterator[Problem | Doubt]:
    """An element can only face as the person in the video does."""
    if r.element_list and r.character_orientation != "video":
        yield Problem("character_orientation", "must be 'video' with element_list")


MotionControl.rules = (
    element_faces_as_the_video,
    placeholders(),
    video_model("motion_control", "element_list"),
)
