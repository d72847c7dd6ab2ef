"""Videos of the second generation: from a text, from an image, from many materials, by a model motion.

The model is a part of the path; the fields are those of the API's ``settings`` and of the entries of its
``contents``. A field left at None is not sent: the vendor's default applies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import Videos
from kling_async.v2.parts import (
    CLIP,
    PICTURE,
    WATERMARK,
    NamedElement,
    NamedImage,
    NamedVideo,
    NamedVoice,
)
from kling_async.v2.rules import extra_is_read, model_reads, names_are_unique, shots_add_up
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.placement import IN_PATH
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_MOTION_MODEL",
    "DEFAULT_OMNI_VIDEO_MODEL",
    "DEFAULT_VIDEO_MODEL",
    "ImageToVideo",
    "MotionControl",
    "OmniVideo",
    "TextToVideo",
]

DEFAULT_VIDEO_MODEL: Final = "kling-3.0"
"""Used where the caller names no model."""
DEFAULT_OMNI_VIDEO_MODEL: Final = "kling-3.0-omni"
"""Used where the caller names no model."""
DEFAULT_MOTION_MODEL: Final = "kling-3.0"
"""Used where the caller names no model."""
_O1: Final = "kling-o1"
_2_6: Final = "kling-2.6"

_MODEL: Final = Meta(extra={"place": IN_PATH})
_PROMPT: Final = Meta(max_length=3072, extra={"place": "contents.prompt.text"})
_RESOLUTION: Final = Meta(extra={"default": "720p", "place": "settings.resolution"})
_RATIO: Final = Meta(extra={"default": "16:9", "place": "settings.aspect_ratio"})
_DURATION: Final = Meta(ge=3, le=15, extra={"unit": "s", "default": 5, "place": "settings.duration"})
_AUDIO: Final = Meta(extra={"default": "off", "place": "settings.audio"})
_MULTI_SHOT: Final = Meta(extra={"default": True, "place": "settings.multi_shot"})
_ELEMENTS: Final = Meta(extra={"place": "contents.element"})


class TextToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text: ``POST /text-to-video/{model}``. Takes one video slot.

    Args:
        prompt: Text of the video, at most 3072 characters, on kling-2.6 and kling-2.5-turbo 2500. Several
            shots are written as ``shot 1, 3, words; shot 2, 2, words;``: number, seconds, text.
        model_name: ``kling-3.0``, ``kling-3.0-turbo``, ``kling-2.6`` or ``kling-2.5-turbo``. Default:
            kling-3.0.
        resolution: ``4k`` is offered by kling-3.0 only. Default: 720p.
        aspect_ratio: Width to height. Default: 16:9.
        duration: Length in seconds, 3 to 15 on kling-3.0 and kling-3.0-turbo, else 5 or 10. Default: 5.
        audio: ``native`` makes sound with the picture, on kling-3.0, and on kling-2.6 in 1080p.
            kling-3.0-turbo always makes sound, kling-2.5-turbo never does. Default: off.
        multi_shot: False makes a single shot for sure; on kling-3.0. Default: True.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.text_to_video"

    prompt: Annotated[str, Meta(max_length=3072)]
    model_name: Annotated[str, _MODEL] = DEFAULT_VIDEO_MODEL
    resolution: Annotated[Literal["720p", "1080p", "4k"], _RESOLUTION] | None = None
    aspect_ratio: Annotated[Literal["16:9", "9:16", "1:1"], _RATIO] | None = None
    duration: Annotated[int, _DURATION] | None = None
    audio: Annotated[Literal["native", "off"], _AUDIO] | None = None
    multi_shot: Annotated[bool, _MULTI_SHOT] | None = None
    watermark: Annotated[bool, WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


class ImageToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video that begins with an image: ``POST /image-to-video/{model}``. Takes one video slot.

    The video has the shape of the image.

    Args:
        prompt: Text of the video, at most 3072 characters, on all models but kling-3.0 2500. ``@name`` points
            at the element or voice of that name. Several shots are written as
            ``shot 1, 3, words; shot 2, 2, words;``: number, seconds, text.
        first_frame: The image.
        last_frame: The image to end with, on all models but kling-3.0-turbo. kling-2.6 and kling-2.5-turbo
            then make 1080p only.
        elements: At most 3 elements, on kling-3.0.
        voices: At most 2 voices, on kling-2.6; they need audio ``native``.
        model_name: ``kling-3.0``, ``kling-3.0-turbo``, ``kling-2.6`` or ``kling-2.5-turbo``. Default:
            kling-3.0.
        resolution: ``4k`` is offered by kling-3.0 only. Default: 720p.
        duration: Length in seconds, 3 to 15 on kling-3.0 and kling-3.0-turbo, else 5 or 10. Default: 5.
        audio: ``native`` makes sound with the picture, on kling-3.0, and on kling-2.6 in 1080p.
            kling-3.0-turbo always makes sound, kling-2.5-turbo never does. Default: off.
        multi_shot: False makes a single shot for sure; on kling-3.0. Default: True.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.image_to_video"

    prompt: Annotated[str, _PROMPT]
    first_frame: Annotated[
        Media | str | bytes | Path, Meta(extra={"media": PICTURE, "place": "contents.first_frame.url"})
    ]
    last_frame: (
        Annotated[
            Media | str | bytes | Path, Meta(extra={"media": PICTURE, "place": "contents.last_frame.url"})
        ]
        | None
    ) = None
    elements: Annotated[tuple[NamedElement, ...], _ELEMENTS] | None = None
    voices: Annotated[tuple[NamedVoice, ...], Meta(extra={"place": "contents.voice"})] | None = None
    model_name: Annotated[str, _MODEL] = DEFAULT_VIDEO_MODEL
    resolution: Annotated[Literal["720p", "1080p", "4k"], _RESOLUTION] | None = None
    duration: Annotated[int, _DURATION] | None = None
    audio: Annotated[Literal["native", "off"], _AUDIO] | None = None
    multi_shot: Annotated[bool, _MULTI_SHOT] | None = None
    watermark: Annotated[bool, WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


class OmniVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text, images, elements and a video: ``POST /omni-video/{model}``. Takes one video slot.

    Reference images and elements together are at most 7, beside a video at most 4.

    Args:
        prompt: Text of the video, at most 3072 characters, on kling-o1 2500. ``@name`` points at the material
            of that name. Several shots are written as ``shot 1, 3, words; shot 2, 2, words;``.
        first_frame: The image to begin with.
        last_frame: The image to end with; it needs a first frame.
        refer_images: Reference images.
        feature_video: A video to borrow style, motion or camera work from; on kling-3.0-omni without sound.
        base_video: A video to edit. At most one of feature_video and base_video.
        elements: Elements; on kling-3.0-omni at most 3 beside frames.
        model_name: ``kling-3.0-omni`` or ``kling-o1``. Default: kling-3.0-omni.
        resolution: ``4k`` is offered by kling-3.0-omni only. Default: 720p.
        aspect_ratio: Width to height. Default: 16:9. The vendor asks for it all the same, unless a first
            frame or a base video has it.
        duration: Length in seconds: 3 to 15 on kling-3.0-omni, 3 to 10 on kling-o1. Default: 5.
        audio: ``native`` makes sound with the picture, on kling-3.0-omni; ``original`` keeps the sound of the
            feature or base video. Default: off.
        multi_shot: False makes a single shot for sure, which a base video needs; on kling-3.0-omni.
            Default: True.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.omni_video"

    prompt: Annotated[str, _PROMPT]
    first_frame: Annotated[NamedImage, Meta(extra={"place": "contents.first_frame"})] | None = None
    last_frame: Annotated[NamedImage, Meta(extra={"place": "contents.last_frame"})] | None = None
    refer_images: Annotated[tuple[NamedImage, ...], Meta(extra={"place": "contents.refer_image"})] | None = (
        None
    )
    feature_video: Annotated[NamedVideo, Meta(extra={"place": "contents.feature_video"})] | None = None
    base_video: Annotated[NamedVideo, Meta(extra={"place": "contents.base_video"})] | None = None
    elements: Annotated[tuple[NamedElement, ...], _ELEMENTS] | None = None
    model_name: Annotated[str, _MODEL] = DEFAULT_OMNI_VIDEO_MODEL
    resolution: Annotated[Literal["720p", "1080p", "4k"], _RESOLUTION] | None = None
    aspect_ratio: Annotated[Literal["16:9", "9:16", "1:1"], _RATIO] | None = None
    duration: Annotated[int, _DURATION] | None = None
    audio: Annotated[Literal["native", "original", "off"], _AUDIO] | None = None
    multi_shot: Annotated[bool, _MULTI_SHOT] | None = None
    watermark: Annotated[bool, WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


class MotionControl(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """The figure of an image moves as in a video: ``POST /motion-control/{model}``. Takes one video slot.

    The result is as long as the usable motion in the video, and billed by its length.

    Args:
        image: The figure, framed much as in the video.
        video: One take: MP4 or MOV, 340 to 3850 pixels, at most 100 MB, 3 to 10 seconds; with
            character_orientation ``video`` to 30 seconds.
        character_orientation: Whose facing is kept: ``image`` takes videos of up to 10 seconds, ``video`` of
            up to 30.
        prompt: What to add to the scene, at most 2500 characters.
        element: An element, on kling-3.0; the facing then follows the video.
        model_name: ``kling-3.0`` or ``kling-2.6``. Default: kling-3.0.
        audio: ``original`` keeps the sound of the video. Default: original.
        resolution: 720p or 1080p. Default: 720p.
        watermark: True also makes a watermarked copy. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last. Each warns once.
    """

    endpoint_name = "v2.motion_control"

    image: Annotated[
        Media | str | bytes | Path, Meta(extra={"media": PICTURE, "place": "contents.image.url"})
    ]
    video: Annotated[Media | str | bytes | Path, Meta(extra={"media": CLIP, "place": "contents.video.url"})]
    character_orientation: Annotated[
        Literal["image", "video"], Meta(extra={"place": "settings.character_orientation"})
    ]
    prompt: Annotated[str, Meta(max_length=2500, extra={"place": "contents.prompt.text"})] | None = None
    element: Annotated[NamedElement, _ELEMENTS] | None = None
    model_name: Annotated[str, _MODEL] = DEFAULT_MOTION_MODEL
    audio: (
        Annotated[Literal["original", "off"], Meta(extra={"default": "original", "place": "settings.audio"})]
        | None
    ) = None
    resolution: Annotated[Literal["720p", "1080p"], _RESOLUTION] | None = None
    watermark: Annotated[bool, WATERMARK] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def sound_of_2_6(r: TextToVideo | ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse sound on kling-2.6 in other resolutions than 1080p."""
    if r.model_name == _2_6 and r.audio == "native" and r.resolution != "1080p":
        yield Problem("resolution", f"must be 1080p for audio 'native' on {_2_6}")


def last_frame_of_2(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse an end frame on kling-2.6 and kling-2.5-turbo in other resolutions than 1080p."""
    if not r.last_frame or r.model_name not in (_2_6, "kling-2.5-turbo"):
        return
    if r.resolution != "1080p":
        yield Problem("resolution", f"must be 1080p for last_frame on {r.model_name}")
    if r.audio == "native":
        yield Doubt(
            "audio", f"{r.model_name} may make no sound with last_frame: the vendor's sources disagree"
        )


def voices_need_sound(r: ImageToVideo) -> Iterator[Problem | Doubt]:
    """Refuse voices without sound."""
    if r.voices and r.audio in (None, "off"):
        yield Problem("audio", "must be 'native' with voices")


def one_reference_video(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse two videos, the sound of none, and what does not go beside the one there is."""
    if r.feature_video and r.base_video:
        yield Problem("base_video", "feature_video and base_video exclude each other")
    if r.audio == "original" and not (r.feature_video or r.base_video):
        yield Problem("audio", "'original' needs a feature_video or base_video")
    if r.base_video:
        yield from _beside_base_video(r)
    if r.feature_video:
        yield from _beside_feature_video(r)


def _beside_base_video(r: OmniVideo) -> Iterator[Problem | Doubt]:
    for name in ("first_frame", "last_frame"):
        if getattr(r, name):
            yield Problem(name, "is not allowed beside a base_video")
    if r.audio == "native":
        yield Problem("audio", "must not be 'native' beside a base_video")
    if r.multi_shot:
        yield Problem("multi_shot", "must be False beside a base_video")
    elif r.multi_shot is None and r.model_name != _O1:
        yield Doubt("multi_shot", "the vendor's default is True, which it does not take beside a base_video")


def _beside_feature_video(r: OmniVideo) -> Iterator[Problem | Doubt]:
    if r.model_name == _O1:
        if r.last_frame:
            yield Problem("last_frame", f"{_O1} takes none beside a feature_video")
        return
    if r.multi_shot is False:
        yield Problem("multi_shot", "must be True beside a feature_video")
    if r.audio not in (None, "off"):
        yield Problem("audio", "must be 'off' beside a feature_video")


def frames_in_order(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse an end frame without a first one, and on kling-o1 both beside references."""
    if r.last_frame and not r.first_frame:
        yield Problem("last_frame", "needs a first_frame")
    if r.model_name == _O1 and r.first_frame and r.last_frame:
        for name in ("refer_images", "elements"):
            if getattr(r, name):
                yield Problem(name, f"{_O1} takes none beside first_frame and last_frame")


def few_references(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse more reference images and elements than fit together."""
    elements = len(r.elements or ())
    total, video = len(r.refer_images or ()) + elements, r.feature_video or r.base_video
    most = 4 if video else 7
    if total > most:
        beside = " beside a video" if video else ""
        yield Problem("refer_images", f"images and elements are {total} together; at most {most}{beside}")
    if r.first_frame and elements > 3 and r.model_name != _O1:
        yield Problem("elements", f"has {elements} entries; at most 3 beside frames")


def plain_o1_length(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Hold kling-o1 to 5 and 10 s for a first frame alone, and warn of others for a text alone."""
    if r.model_name != _O1 or r.refer_images or r.feature_video or r.base_video:
        return
    if (r.duration or 5) in (5, 10):
        return
    if r.first_frame:
        yield Problem("duration", f"{_O1} makes 5 or 10 s of frames without reference images and video")
    elif not r.elements:
        yield Doubt("duration", f"{_O1} makes 5 or 10 s of a text alone, says one source")


def shape_is_known(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Warn of a missing aspect_ratio where nothing else has a shape."""
    if not (r.aspect_ratio or r.first_frame or r.base_video or r.feature_video):
        yield Doubt("aspect_ratio", "the vendor asks for it unless a first frame or a base video has it")


def element_faces_as_the_video(r: MotionControl) -> Iterator[Problem | Doubt]:
    """Warn of an element with the facing of the image."""
    if r.element and r.character_orientation != "video":
        yield Doubt("character_orientation", "follows the video where there is an element")


TextToVideo.rules = (model_reads, extra_is_read, shots_add_up, sound_of_2_6)
ImageToVideo.rules = (
    model_reads,
    extra_is_read,
    shots_add_up,
    sound_of_2_6,
    last_frame_of_2,
    voices_need_sound,
    names_are_unique("elements", "voices"),
)
OmniVideo.rules = (
    model_reads,
    extra_is_read,
    shots_add_up,
    one_reference_video,
    frames_in_order,
    few_references,
    plain_o1_length,
    shape_is_known,
    names_are_unique("first_frame", "last_frame", "refer_images", "feature_video", "base_video", "elements"),
)
MotionControl.rules = (model_reads, extra_is_read, element_faces_as_the_video, names_are_unique("element"))
