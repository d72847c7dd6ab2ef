"""Video endpoints of the first generation: from a text, from an image, from several images.

Field names, words and bounds are the API's own (reference pages of 2026-03 and autumn 2026), so that its
documentation can be followed. A field left at None is not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import (
    CameraControl,
    CfgScale,
    ElementRef,
    InputImage,
    MultiPrompt,
    NegativePrompt,
    ShotType,
    Videos,
    VoiceRef,
    WatermarkInfo,
)
from kling_async.v1.rules import (
    camera_moves_once,
    is_set,
    placeholders,
    prompt_or_shots,
    shots_match,
    video_model,
    video_rows,
)
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import FRAME, IMAGE, MASK
from kling_async.wire.requests import Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_VIDEO_MODEL",
    "MULTI_IMAGE_TO_VIDEO_MODEL",
    "DynamicMask",
    "ImageToVideo",
    "MultiImageToVideo",
    "TextToVideo",
    "TrajectoryPoint",
]

DEFAULT_VIDEO_MODEL: Final = "kling-v3"
"""Sent where the caller names no model: the vendor's own default is retired."""
MULTI_IMAGE_TO_VIDEO_MODEL: Final = "kling-v1-6"
"""The only model multi-image to video ever had; announced to end on 2026-09-15."""

_MultiShot = (
    Annotated[
        bool,
        Meta(description="One video of several shots", extra={"default": False, "models": ("kling-v3",)}),
    ]
    | None
)
_Prompt = (
    Annotated[
        str,
        Meta(max_length=2500, description="What to show; required unless shot_type is customize"),
    ]
    | None
)
_Sound = (
    Annotated[
        bool,
        Meta(
            description="With sound; kling-v2-6 needs mode pro",
            extra={"default": False, "wire": "on_off", "models": ("kling-v2-6", "kling-v3")},
        ),
    ]
    | None
)
_Mode = (
    Annotated[
        Literal["std", "pro", "4k"],
        Meta(description="std 720p, pro 1080p, 4k (kling-v3 only)", extra={"default": "std"}),
    ]
    | None
)
_Duration = (
    Annotated[
        int,
        Meta(
            ge=3,
            le=15,
            description="Length; 3 to 15 for kling-v3, 5 or 10 for all others",
            extra={"unit": "s", "default": 5, "wire": "text"},
        ),
    ]
    | None
)
_AspectRatio = (
    Annotated[Literal["16:9", "9:16", "1:1"], Meta(description="Frame", extra={"default": "16:9"})] | None
)


class TextToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text: ``POST /v1/videos/text2video``. Takes one video slot."""

    model_name: Annotated[
        str, Meta(description="kling-v3, kling-v2-6 or kling-v2-5-turbo (served on 2026-10-01)")
    ] = DEFAULT_VIDEO_MODEL
    multi_shot: _MultiShot = None
    shot_type: ShotType = None
    multi_prompt: MultiPrompt = None
    prompt: _Prompt = None
    negative_prompt: NegativePrompt = None
    sound: _Sound = None
    cfg_scale: CfgScale = None
    mode: _Mode = None
    camera_control: (
        Annotated[CameraControl, Meta(description="Camera movement; granted to the retired kling-v1 only")]
        | None
    ) = None
    aspect_ratio: _AspectRatio = None
    duration: _Duration = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        prompt_or_shots,
        shots_match,
        placeholders(),
        camera_moves_once,
        video_model("text_to_video", "sound", "multi_shot", "camera_control", "cfg_scale"),
    )


class TrajectoryPoint(Part, frozen=True, kw_only=True):
    """One point of a path, in pixels of the image; the origin is its bottom left corner."""

    x: Annotated[int, Meta(description="From the left edge", extra={"unit": "px"})]
    y: Annotated[int, Meta(description="From the bottom edge", extra={"unit": "px"})]


class DynamicMask(Part, frozen=True, kw_only=True):
    """An area of the image that moves, and its path."""

    mask: Annotated[
        MediaInput,
        Meta(
            description="The area; shape of image, and size of static_mask, else the task fails",
            extra={"media": MASK},
        ),
    ]
    trajectories: Annotated[
        tuple[TrajectoryPoint, ...],
        Meta(min_length=2, max_length=77, description="The path, in order; 77 points are for 5 s"),
    ]


class ImageToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a start frame, an end frame or both: ``POST /v1/videos/image2video``. One video slot.

    It has the shape of the image. An end frame, masks and a camera movement exclude each other.
    """

    model_name: Annotated[
        str, Meta(description="kling-v3, kling-v2-6 or kling-v2-5-turbo (served on 2026-10-01)")
    ] = DEFAULT_VIDEO_MODEL
    image: Annotated[MediaInput, Meta(description="Start frame", extra={"media": IMAGE})] | None = None
    image_tail: (
        Annotated[
            MediaInput,
            Meta(
                description="End frame; with kling-v2-6 in mode pro and without sound only",
                extra={"media": FRAME, "models": ("kling-v2-5-turbo", "kling-v2-6", "kling-v3")},
            ),
        ]
        | None
    ) = None
    multi_shot: _MultiShot = None
    shot_type: ShotType = None
    multi_prompt: MultiPrompt = None
    prompt: (
        Annotated[
            str,
            Meta(
                max_length=2500,
                description="What to show; required unless shot_type is customize; <<<element_1>>> and "
                "<<<voice_1>>> name what is in the lists, from 1",
            ),
        ]
        | None
    ) = None
    negative_prompt: NegativePrompt = None
    element_list: (
        Annotated[
            tuple[ElementRef, ...],
            Meta(max_length=3, description="Elements; not with voice_list", extra={"models": ("kling-v3",)}),
        ]
        | None
    ) = None
    voice_list: (
        Annotated[
            tuple[VoiceRef, ...],
            Meta(
                max_length=2,
                description="Voices; need sound and mode pro; dearer once the prompt names one",
                extra={"models": ("kling-v2-6",)},
            ),
        ]
        | None
    ) = None
    sound: _Sound = None
    cfg_scale: CfgScale = None
    mode: _Mode = None
    static_mask: (
        Annotated[
            MediaInput,
            Meta(
                description="What must not move, in the shape of image; models that are retired, it seems",
                extra={"media": MASK},
            ),
        ]
        | None
    ) = None
    dynamic_masks: (
        Annotated[
            tuple[DynamicMask, ...],
            Meta(min_length=1, max_length=6, description="What moves, and where to"),
        ]
        | None
    ) = None
    camera_control: (
        Annotated[
            CameraControl,
            Meta(description="Camera movement; surely granted to the retired kling-v1-5 only"),
        ]
        | None
    ) = None
    duration: _Duration = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def frame_is_given(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """There is a start frame, an end frame or both; an end frame alone is for few models."""
    if r.image:
        return
    if not r.image_tail:
        yield Problem("image", "give image, image_tail or both")
        return
    rows = video_rows("image_to_video", r.model_name, r.mode or "std", r.duration or 5)
    if rows and not any("end_frame_only" in row.features for row in rows):
        mode = r.mode or "std"
        yield Problem("image", f"is required: {r.model_name} takes no end frame alone in mode {mode}")


def one_way_to_move(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """An end frame, masks and a camera movement exclude each other."""
    brush = "static_mask" if is_set(r.static_mask) else "dynamic_masks"
    given = [name for name in ("image_tail", brush, "camera_control") if is_set(getattr(r, name))]
    if len(given) > 1:
        yield Problem(given[-1], f"{' and '.join(given)} exclude each other")


def end_frame_fits(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """No end frame with several shots, nor with the sound of kling-v2-6."""
    if r.image_tail and r.multi_shot:
        yield Problem("image_tail", "is not allowed with multi_shot")
    if r.image_tail and r.sound and r.model_name == "kling-v2-6":
        yield Problem("sound", "kling-v2-6 makes no sound with image_tail")


def voices_or_elements(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Voices exclude elements, and need sound."""
    if not r.voice_list:
        return
    if r.element_list:
        yield Problem("voice_list", "element_list and voice_list exclude each other")
    if not r.sound:
        yield Problem("sound", "must be True with voice_list")


def simple_camera(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """The one model to which a camera movement is surely granted takes simple ones."""
    if r.camera_control and r.model_name == "kling-v1-5" and r.camera_control.type != "simple":
        yield Problem("camera_control.type", "kling-v1-5 takes type 'simple' only")


ImageToVideo.rules = (
    frame_is_given,
    one_way_to_move,
    end_frame_fits,
    voices_or_elements,
    prompt_or_shots,
    shots_match,
    placeholders(element="element_list", voice="voice_list"),
    camera_moves_once,
    simple_camera,
    video_model(
        "image_to_video",
        *("image_tail", "sound", "multi_shot", "voice_list", "element_list", "camera_control", "cfg_scale"),
        static_mask="motion_brush",
        dynamic_masks="motion_brush",
    ),
)


class MultiImageToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video in which up to four images appear: ``POST /v1/videos/multi-image2video``. One video slot.

    Retired, it seems: its only model was announced to end on 2026-09-15. `OmniVideo` does the same.
    """

    model_name: Annotated[str, Meta(description="kling-v1-6")] = MULTI_IMAGE_TO_VIDEO_MODEL
    image_list: Annotated[
        tuple[InputImage, ...], Meta(min_length=1, max_length=4, description="What appears")
    ]
    prompt: Annotated[str, Meta(max_length=2500, description="What to show")]
    negative_prompt: Annotated[str, Meta(max_length=2500, description="What to avoid")] | None = None
    mode: (
        Annotated[Literal["std", "pro"], Meta(description="std 720p, pro 1080p", extra={"default": "std"})]
        | None
    ) = None
    duration: (
        Annotated[
            Literal[5, 10], Meta(description="Length", extra={"unit": "s", "default": 5, "wire": "text"})
        ]
        | None
    ) = None
    aspect_ratio: _AspectRatio = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        placeholders(),
        video_model("multi_image_to_video"),
    )
