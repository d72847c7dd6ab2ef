"""Video endpoints of the first generation: from a text, from an image, from several images.

Field names, words and bounds are the API's own (reference pages of 2026-03 and autumn 2026), so that its
documentation can be followed. A field left at None is not sent: the vendor's default applies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import (
    CFG_SCALE,
    SHOTS,
    CameraControl,
    ElementRef,
    InputImage,
    Shot,
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
from kling_async.wire.media import Media
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

_MULTI_SHOT: Final = Meta(extra={"default": False, "models": ("kling-v3",)})
_SOUND: Final = Meta(extra={"default": False, "wire": "on_off", "models": ("kling-v2-6", "kling-v3")})
_DURATION: Final = Meta(ge=3, le=15, extra={"unit": "s", "default": 5, "wire": "text"})


class TextToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text: ``POST /v1/videos/text2video``. Takes one video slot.

    Args:
        prompt: Text of the video, at most 2500 characters. Required unless shot_type is ``customize``.
        model_name: ``kling-v3``, ``kling-v2-6`` or ``kling-v2-5-turbo`` (served on 2026-10-01).
            Default: kling-v3.
        mode: ``std`` is 720p, ``pro`` 1080p, ``4k`` is offered by kling-v3 only. Default: std.
        duration: Length in seconds, 3 to 15 on kling-v3, 5 or 10 on all other models. Default: 5.
        aspect_ratio: Width to height. Default: 16:9.
        negative_prompt: What to avoid, at most 2500 characters. The vendor advises a sentence in prompt
            instead.
        sound: True makes a video with sound, on kling-v3, and on kling-v2-6 in mode ``pro``. Default: False.
        multi_shot: True makes one video of several shots, on kling-v3. Default: False.
        shot_type: ``customize``: multi_prompt gives the shots; ``intelligence``: the model cuts the prompt
            into shots. Required with multi_shot.
        multi_prompt: 1 to 6 shots, for shot_type ``customize``; their durations add up to duration.
        camera_control: Camera movement; granted to the retired kling-v1 only.
        cfg_scale: How closely to follow the prompt, 0 to 1. Default: 0.5.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "text_to_video"

    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    model_name: str = DEFAULT_VIDEO_MODEL
    mode: Annotated[Literal["std", "pro", "4k"], Meta(extra={"default": "std"})] | None = None
    duration: Annotated[int, _DURATION] | None = None
    aspect_ratio: Annotated[Literal["16:9", "9:16", "1:1"], Meta(extra={"default": "16:9"})] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    sound: Annotated[bool, _SOUND] | None = None
    multi_shot: Annotated[bool, _MULTI_SHOT] | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[tuple[Shot, ...], SHOTS] | None = None
    camera_control: CameraControl | None = None
    cfg_scale: Annotated[float, CFG_SCALE] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (
        prompt_or_shots,
        shots_match,
        placeholders(),
        camera_moves_once,
        video_model("text_to_video", "sound", "multi_shot", "camera_control", "cfg_scale"),
    )


class TrajectoryPoint(Part, frozen=True, kw_only=True):
    """One point of a path, in pixels of the image; the origin is its bottom left corner.

    Args:
        x: Distance from the left edge, in pixels.
        y: Distance from the bottom edge, in pixels.
    """

    x: Annotated[int, Meta(extra={"unit": "px"})]
    y: Annotated[int, Meta(extra={"unit": "px"})]


class DynamicMask(Part, frozen=True, kw_only=True):
    """An area of the image that moves, and its path.

    Args:
        mask: Picture of the area. It has the shape of image and the size of static_mask, else the task fails.
        trajectories: 2 to 77 points of the path, in order; 77 points are for a video of 5 seconds.
    """

    mask: Annotated[Media | str | bytes | Path, Meta(extra={"media": MASK})]
    trajectories: Annotated[tuple[TrajectoryPoint, ...], Meta(min_length=2, max_length=77)]


_END_FRAME: Final = Meta(extra={"media": FRAME, "models": ("kling-v2-5-turbo", "kling-v2-6", "kling-v3")})


class ImageToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a start frame, an end frame or both: ``POST /v1/videos/image2video``. One video slot.

    The video has the shape of the image. An end frame, masks and a camera movement exclude each other.

    Args:
        image: Start frame. Required unless image_tail alone is enough for the model.
        prompt: Text of the video, at most 2500 characters. Required unless shot_type is ``customize``.
            ``<<<element_1>>>`` and ``<<<voice_1>>>`` name entries of the two lists, from 1.
        image_tail: End frame, on kling-v3, kling-v2-5-turbo and kling-v2-6, on the last in mode ``pro`` and
            without sound only.
        model_name: ``kling-v3``, ``kling-v2-6`` or ``kling-v2-5-turbo`` (served on 2026-10-01).
            Default: kling-v3.
        mode: ``std`` is 720p, ``pro`` 1080p, ``4k`` is offered by kling-v3 only. Default: std.
        duration: Length in seconds, 3 to 15 on kling-v3, 5 or 10 on all other models. Default: 5.
        negative_prompt: What to avoid, at most 2500 characters. The vendor advises a sentence in prompt
            instead.
        sound: True makes a video with sound, on kling-v3, and on kling-v2-6 in mode ``pro``. Default: False.
        element_list: At most 3 elements, on kling-v3. Not together with voice_list.
        voice_list: At most 2 voices, on kling-v2-6; they need sound and mode ``pro``. The video costs more
            once the prompt names a voice.
        multi_shot: True makes one video of several shots, on kling-v3. Default: False.
        shot_type: ``customize``: multi_prompt gives the shots; ``intelligence``: the model cuts the prompt
            into shots. Required with multi_shot.
        multi_prompt: 1 to 6 shots, for shot_type ``customize``; their durations add up to duration.
        static_mask: Picture of the area that must not move, in the shape of image. Probably only models
            that are retired take it.
        dynamic_masks: 1 to 6 areas that move, with their paths.
        camera_control: Camera movement; surely granted to the retired kling-v1-5 only.
        cfg_scale: How closely to follow the prompt, 0 to 1. Default: 0.5.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "image_to_video"

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    image_tail: Annotated[Media | str | bytes | Path, _END_FRAME] | None = None
    model_name: str = DEFAULT_VIDEO_MODEL
    mode: Annotated[Literal["std", "pro", "4k"], Meta(extra={"default": "std"})] | None = None
    duration: Annotated[int, _DURATION] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    sound: Annotated[bool, _SOUND] | None = None
    element_list: (
        Annotated[tuple[ElementRef, ...], Meta(max_length=3, extra={"models": ("kling-v3",)})] | None
    ) = None
    voice_list: (
        Annotated[tuple[VoiceRef, ...], Meta(max_length=2, extra={"models": ("kling-v2-6",)})] | None
    ) = None
    multi_shot: Annotated[bool, _MULTI_SHOT] | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[tuple[Shot, ...], SHOTS] | None = None
    static_mask: Annotated[Media | str | bytes | Path, Meta(extra={"media": MASK})] | None = None
    dynamic_masks: Annotated[tuple[DynamicMask, ...], Meta(min_length=1, max_length=6)] | None = None
    camera_control: CameraControl | None = None
    cfg_scale: Annotated[float, CFG_SCALE] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def frame_is_given(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Require a start frame, an end frame or both; few models take an end frame alone."""
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
    """Refuse more than one of end frame, masks and camera movement."""
    brush = "static_mask" if is_set(r.static_mask) else "dynamic_masks"
    given = [name for name in ("image_tail", brush, "camera_control") if is_set(getattr(r, name))]
    if len(given) > 1:
        yield Problem(given[-1], f"{' and '.join(given)} exclude each other")


def end_frame_fits(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse an end frame with several shots, and with the sound of kling-v2-6."""
    if r.image_tail and r.multi_shot:
        yield Problem("image_tail", "is not allowed with multi_shot")
    if r.image_tail and r.sound and r.model_name == "kling-v2-6":
        yield Problem("sound", "kling-v2-6 makes no sound with image_tail")


def voices_or_elements(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse voices beside elements and without sound."""
    if not r.voice_list:
        return
    if r.element_list:
        yield Problem("voice_list", "element_list and voice_list exclude each other")
    if not r.sound:
        yield Problem("sound", "must be True with voice_list")


def simple_camera(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse camera movements of kling-v1-5 other than simple ones."""
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

    Probably retired: its only model was announced to end on 2026-09-15. `OmniVideo` does the same.

    Args:
        image_list: 1 to 4 images of what appears in the video.
        prompt: Text of the video, at most 2500 characters.
        model_name: ``kling-v1-6``, the only model. Default: kling-v1-6.
        mode: ``std`` is 720p, ``pro`` 1080p. Default: std.
        duration: Length in seconds, 5 or 10. Default: 5.
        aspect_ratio: Width to height. Default: 16:9.
        negative_prompt: What to avoid, at most 2500 characters.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_image_to_video"

    image_list: Annotated[tuple[InputImage, ...], Meta(min_length=1, max_length=4)]
    prompt: Annotated[str, Meta(max_length=2500)]
    model_name: str = MULTI_IMAGE_TO_VIDEO_MODEL
    mode: Annotated[Literal["std", "pro"], Meta(extra={"default": "std"})] | None = None
    duration: Annotated[Literal[5, 10], Meta(extra={"unit": "s", "default": 5, "wire": "text"})] | None = None
    aspect_ratio: Annotated[Literal["16:9", "9:16", "1:1"], Meta(extra={"default": "16:9"})] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (
        placeholders(),
        video_model("multi_image_to_video"),
    )
