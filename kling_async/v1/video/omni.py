"""Video endpoints of the first generation: omni video, from a text, images, elements and a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import ElementRef, MultiPrompt, ShotType, Videos, WatermarkInfo
from kling_async.v1.rules import placeholders, prompt_or_shots, shots_match, video_model
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
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
    """One image that goes in: a reference, unless ``type`` makes it a frame."""

    image_url: Annotated[
        MediaInput,
        Meta(description="The image; the file itself is taken too", extra={"media": IMAGE}),
    ]
    type: (
        Annotated[
            Literal["first_frame", "end_frame"],
            Meta(description="That the video starts or ends with it; end_frame needs a first_frame"),
        ]
        | None
    ) = None


class OmniVideoClip(Part, frozen=True, kw_only=True):
    """The video that goes in: mp4 or mov of 3 to 10 s, 720 to 2160 px, 24 to 60 fps, at most 200 MB."""

    video_url: Annotated[MediaInput, Meta(description="Its address", extra={"media": VIDEO})]
    refer_type: (
        Annotated[
            Literal["feature", "base"],
            Meta(
                description="base edits the video itself, feature borrows content, style or camera work",
                extra={"default": "base"},
            ),
        ]
        | None
    ) = None
    keep_original_sound: (
        Annotated[bool, Meta(description="Keep its sound", extra={"wire": "yes_no"})] | None
    ) = None


class OmniVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text, images, elements and a video: ``POST /v1/videos/omni-video``. One video slot.

    Images and elements together are at most 7, with a video at most 4, frames not counted.
    """

    model_name: Annotated[str, Meta(description="kling-v3-omni or kling-video-o1")] = DEFAULT_OMNI_VIDEO_MODEL
    multi_shot: (
        Annotated[
            bool,
            Meta(
                description="One video of several shots",
                extra={"default": False, "models": ("kling-v3-omni",)},
            ),
        ]
        | None
    ) = None
    shot_type: ShotType = None
    multi_prompt: MultiPrompt = None
    prompt: (
        Annotated[
            str,
            Meta(
                max_length=2500,
                description="What to show; required unless shot_type is customize; <<<image_1>>>, "
                "<<<element_1>>> and <<<video_1>>> name what is in the lists, from 1",
            ),
        ]
        | None
    ) = None
    image_list: (
        Annotated[tuple[OmniVideoImage, ...], Meta(max_length=7, description="References and frames")] | None
    ) = None
    element_list: (
        Annotated[
            tuple[ElementRef, ...],
            Meta(
                max_length=7,
                description="Elements; at most 3 with frames, at most 3 made from videos, none of those "
                "beside a video, and on kling-video-o1 those made from images only",
            ),
        ]
        | None
    ) = None
    video_list: (
        Annotated[
            tuple[OmniVideoClip, ...], Meta(max_length=1, description="A video to edit or to borrow from")
        ]
        | None
    ) = None
    sound: (
        Annotated[
            bool,
            Meta(
                description="With sound; not beside a video",
                extra={"default": False, "wire": "on_off", "models": ("kling-v3-omni",)},
            ),
        ]
        | None
    ) = None
    mode: (
        Annotated[
            Literal["std", "pro", "4k"],
            Meta(description="std 720p, pro 1080p, 4k (kling-v3-omni only)", extra={"default": "pro"}),
        ]
        | None
    ) = None
    aspect_ratio: (
        Annotated[
            Literal["16:9", "9:16", "1:1"],
            Meta(description="Frame; with a first frame or an edited video it is theirs"),
        ]
        | None
    ) = None
    duration: (
        Annotated[
            int,
            Meta(
                ge=3,
                le=15,
                description="Length; 3 to 15 for kling-v3-omni, else and beside a video 3 to 10; "
                "an edited video keeps its own",
                extra={"unit": "s", "default": 5, "wire": "text"},
            ),
        ]
        | None
    ) = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def frames_of(r: OmniVideo) -> list[str]:
    """Return what the images are frames of: ``first_frame``, ``end_frame``, in their order."""
    return [image.type for image in r.image_list or () if image.type]


def edits(r: OmniVideo) -> bool:
    """Tell whether the video that goes in is edited itself: the vendor's default."""
    return any((video.refer_type or "base") == "base" for video in r.video_list or ())


def shots_of_omni(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Several shots are as long as the video, if its length is asked for: an edited one keeps its own."""
    yield from shots_match(r, unread=edits)


def frames_in_order(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """One first frame and one end frame at most, the end only with a start, none with an edited video."""
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
    """kling-video-o1 takes frames among two images at most, and both of them without elements."""
    if r.model_name != _O1:
        return
    frames = frames_of(r)
    if frames and len(r.image_list or ()) > 2:
        yield Problem("image_list", f"{_O1} takes no frames among more than two images")
    if len(frames) > 1 and r.element_list:
        yield Problem("element_list", f"{_O1} takes no elements beside first_frame and end_frame")


def few_references(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Images and elements share limits; frames are not counted as references."""
    frames, elements = frames_of(r), len(r.element_list or ())
    total = len(r.image_list or ()) - len(frames) + elements
    most = 4 if r.video_list else 7
    if total > most:
        beside = " beside a video" if r.video_list else ""
        yield Problem("image_list", f"images and elements are {total} together; at most {most}{beside}")
    if frames and elements > 3 and r.model_name == _V3:
        yield Problem("element_list", f"has {elements} entries; at most 3 beside frames")


def beside_a_video(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """Beside a video there is no sound; what borrows from one lasts 10 s at most."""
    if not r.video_list:
        return
    if r.sound:
        yield Problem("sound", "must be off beside a video")
    if edits(r):
        if r.duration is not None:
            yield Doubt("duration", "is ignored by the vendor: an edited video keeps its length")
    elif (r.duration or 5) > 10:
        yield Problem("duration", f"{r.duration} is too large; at most 10 beside a video")


def plain_o1_length(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """kling-video-o1 makes 5 or 10 s by the map, where nothing but a text or a first frame goes in."""
    bare = not (r.video_list or r.element_list) and len(frames_of(r)) == len(r.image_list or ()) < 2
    if r.model_name == _O1 and bare and (r.duration or 5) not in (5, 10):
        yield Doubt("duration", f"{_O1} makes 5 or 10 s of a text or a first frame alone, says one source")


def frame_shape(r: OmniVideo) -> Iterator[Problem | Doubt]:
    """The shape is asked for unless something that goes in has it."""
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
