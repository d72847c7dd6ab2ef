"""Video endpoints of the first generation: omni video, from a text, images, elements and a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import SHOTS, ElementRef, Shot, Videos, WatermarkInfo
from kling_async.v1.rules import placeholders, prompt_or_shots, shots_match, video_model
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE, VIDEO
from kling_async.wire.requests import Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_OMNI_VIDEO_MODEL", "OmniVideo", "OmniVideoClip", "OmniVideoImage"]

DEFAULT_OMNI_VIDEO_MODEL: Final = "kling-v3-omni"
"""Sent where the caller names no model."""
_O1: Final = "kling-video-o1"
_V3: Final = "kling-v3-omni"


class OmniVideoImage(Part, frozen=True, kw_only=True):
    """One input image: a reference, unless ``type`` makes it a frame.

    Args:
        image_url: The image; in spite of the name, bytes and files are taken too.
        type: The video starts (``first_frame``) or ends (``end_frame``) with the image; None makes it a
            reference. An end_frame needs a first_frame.
    """

    image_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideoClip(Part, frozen=True, kw_only=True):
    """The input video: MP4 or MOV of 3 to 10 seconds, 720 to 2160 pixels, 24 to 60 fps, at most 200 MB.

    Args:
        video_url: Address of the video.
        refer_type: ``base``: edit this video; ``feature``: borrow content, style or camera work from it.
            Default: base.
        keep_original_sound: True keeps the sound of the video.
    """

    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})]
    refer_type: Annotated[Literal["feature", "base"], Meta(extra={"default": "base"})] | None = None
    keep_original_sound: Annotated[bool, Meta(extra={"wire": "yes_no"})] | None = None


_SOUND: Final = Meta(extra={"default": False, "wire": "on_off", "models": ("kling-v3-omni",)})
_DURATION: Final = Meta(ge=3, le=15, extra={"unit": "s", "default": 5, "wire": "text"})


class OmniVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text, images, elements and a video: ``POST /v1/videos/omni-video``. One video slot.

    Images and elements together are at most 7, beside a video at most 4; frames are not counted.

    Args:
        prompt: Text of the video, at most 2500 characters. Required unless shot_type is ``customize``.
            ``<<<image_1>>>``, ``<<<element_1>>>`` and ``<<<video_1>>>`` name entries of the lists, from 1.
        image_list: At most 7 reference images and frames.
        video_list: At most 1 video, to edit or to borrow from.
        element_list: At most 7 elements; at most 3 beside frames, and at most 3 that were made from videos.
            Beside a video, and on kling-video-o1, only elements that were made from images.
        model_name: ``kling-v3-omni`` or ``kling-video-o1``. Default: kling-v3-omni.
        mode: ``std`` is 720p, ``pro`` 1080p, ``4k`` is offered by kling-v3-omni only. Default: pro.
        duration: Length in seconds: 3 to 15 on kling-v3-omni, 3 to 10 on kling-video-o1 and beside a video;
            an edited video keeps its own. Default: 5.
        aspect_ratio: Width to height. The vendor asks for it unless a first frame or an edited video has it.
        sound: True makes a video with sound, on kling-v3-omni; not beside a video. Default: False.
        multi_shot: True makes one video of several shots, on kling-v3-omni. Default: False.
        shot_type: ``customize``: multi_prompt gives the shots; ``intelligence``: the model cuts the prompt
            into shots. Required with multi_shot.
        multi_prompt: 1 to 6 shots, for shot_type ``customize``; their durations add up to duration.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "omni_video"

    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    image_list: Annotated[tuple[OmniVideoImage, ...], Meta(max_length=7)] | None = None
    video_list: Annotated[tuple[OmniVideoClip, ...], Meta(max_length=1)] | None = None
    element_list: Annotated[tuple[ElementRef, ...], Meta(max_length=7)] | None = None
    model_name: str = DEFAULT_OMNI_VIDEO_MODEL
    mode: Annotated[Literal["std", "pro", "4k"], Meta(extra={"default": "pro"})] | None = None
    duration: Annotated[int, _DURATION] | None = None
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None
    sound: Annotated[bool, _SOUND] | None = None
    multi_shot: Annotated[bool, Meta(extra={"default": False, "models": ("kling-v3-omni",)})] | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[tuple[Shot, ...], SHOTS] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def frames_of(r: OmniVideo) -> list[str]:
    """Return the types of the images that are frames, in their order: ``first_frame``, ``end_frame``."""
    return [image.type for image in r.image_list or () if image.type]


def edits(r: OmniVideo) -> bool:
    """Tell whether the input video itself is edited, which is the vendor's default."""
    return any((video.refer_type or "base") == "base" for video in r.video_list or ())


def shots_of_omni(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Require shots that add up to the duration; an edited video keeps its own, so it is not compared."""
    yield from shots_match(r, unread=edits)


def frames_in_order(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse two frames of one type, an end frame without a first one, and frames beside an edited video."""
    frames = frames_of(r)
    if len(frames) != len(set(frames)):
        yield Problem("image_list", "takes one first_frame and one end_frame")
    if "end_frame" in frames and "first_frame" not in frames:
        yield Problem("image_list", "an end_frame needs a first_frame")
    if frames and edits(r):
        yield Problem("image_list", "takes no frames beside an edited video (refer_type 'base')")
    if frames and r.multi_shot:
        yield Doubt("image_list", "the vendor may refuse frames together with multi_shot")


def frames_of_o1(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse, on kling-video-o1, frames among more than two images, and both frames beside elements."""
    if r.model_name != _O1:
        return
    frames = frames_of(r)
    if frames and len(r.image_list or ()) > 2:
        yield Problem("image_list", f"{_O1} takes no frames among more than two images")
    if len(frames) > 1 and r.element_list:
        yield Problem("element_list", f"{_O1} takes no elements beside first_frame and end_frame")


def few_references(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse more images and elements than fit together; frames do not count as references."""
    frames, elements = frames_of(r), len(r.element_list or ())
    total = len(r.image_list or ()) - len(frames) + elements
    most = 4 if r.video_list else 7
    if total > most:
        beside = " beside a video" if r.video_list else ""
        yield Problem("image_list", f"images and elements are {total} together; at most {most}{beside}")
    if frames and elements > 3 and r.model_name == _V3:
        yield Problem("element_list", f"has {elements} entries; at most 3 beside frames")


def beside_a_video(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Refuse sound beside a video and too long borrowing from one; warn of shots and end frames."""
    if not r.video_list:
        return
    if r.sound:
        yield Problem("sound", "must be off beside a video")
    if r.multi_shot:
        yield Doubt("multi_shot", "was refused beside a video")
    if "end_frame" in frames_of(r):
        yield Doubt("image_list", "an end frame was refused beside a video")
    if edits(r):
        if r.duration is not None:
            yield Doubt("duration", "is ignored by the vendor: an edited video keeps its length")
    elif (r.duration or 5) > 10:
        yield Problem("duration", f"{r.duration} is too large; at most 10 beside a video")


def plain_o1_length(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Warn of lengths other than 5 and 10 s on kling-video-o1 for a text or a first frame alone."""
    bare = not (r.video_list or r.element_list) and len(frames_of(r)) == len(r.image_list or ()) < 2
    if r.model_name == _O1 and bare and (r.duration or 5) not in (5, 10):
        yield Doubt("duration", f"{_O1} makes 5 or 10 s of a text or a first frame alone, says one source")


def frame_shape(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Warn of aspect_ratio where an input gives the shape, and of its absence elsewhere."""
    given = "a first frame" if "first_frame" in frames_of(r) else "an edited video" if edits(r) else ""
    if given and r.aspect_ratio:
        yield Doubt("aspect_ratio", f"is not supported with {given}: the video keeps its shape")
    elif not given and not r.aspect_ratio:
        yield Doubt(
            "aspect_ratio", "the vendor's page asks for it unless a first frame or an edited video has it"
        )


OmniVideo.rules = (
    prompt_or_shots,
    shots_of_omni,
    frames_in_order,
    frames_of_o1,
    few_references,
    beside_a_video,
    plain_o1_length,
    frame_shape,
    placeholders(image="image_list", element="element_list", video="video_list"),
    video_model(
        "omni_video",
        *("sound", "multi_shot", "element_list"),
        mode="pro",
        unread=edits,
        video_list="reference_video",
    ),
)
