"""Parts and results that several endpoints of ``/v1`` share: shots, camera, elements, videos, images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from kling_async.records import PAGE_NUMBER_MAX, PAGE_SIZE_MAX
from kling_async.redaction import Discreet
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import File, Part, Result

__all__ = [
    "CFG_SCALE",
    "IMAGE_COUNT",
    "IMAGE_RATIO",
    "PAGED",
    "PAGE_NUMBER",
    "PAGE_SIZE",
    "SHOTS",
    "CameraConfig",
    "CameraControl",
    "Charged",
    "Deduction",
    "Deleted",
    "DerivedVideos",
    "ElementRef",
    "Image",
    "Images",
    "InputImage",
    "Shot",
    "Video",
    "Videos",
    "VoiceRef",
    "WatermarkInfo",
    "seconds_of",
]


def seconds_of(told: str | float | None) -> float | None:
    """Return a length as a number; None if the vendor's text or number is missing or unreadable."""
    try:
        return float(told) if told is not None else None
    except ValueError:
        return None


class WatermarkInfo(Part, frozen=True, kw_only=True):
    """Ask for a watermarked copy beside the clean one.

    Args:
        enabled: True also makes the copy; its address is ``watermark_url``. Default: False.
    """

    enabled: Annotated[bool, Meta(extra={"default": False})] | None = None


class Shot(Part, frozen=True, kw_only=True):
    """One shot of a video of several shots.

    Args:
        index: Number of the shot, 1 to 6, without gaps.
        prompt: Text of this shot, at most 512 characters.
        duration: Length of the shot in seconds, at least 1.
    """

    index: Annotated[int, Meta(ge=1, le=6)]
    prompt: Annotated[str, Meta(max_length=512)]
    duration: Annotated[int, Meta(ge=1, extra={"unit": "s", "wire": "text"})]


SHOTS: Final = Meta(min_length=1, max_length=6)
"""Bounds on the number of shots of a video."""
CFG_SCALE: Final = Meta(ge=0, le=1, extra={"default": 0.5})
IMAGE_COUNT: Final = Meta(ge=1, le=9, extra={"default": 1})
IMAGE_RATIO: Final = Meta(extra={"default": "16:9"})
_MOVEMENT: Final = Meta(ge=-10, le=10, extra={"default": 0})


class CameraConfig(Part, frozen=True, kw_only=True):
    """A simple camera movement: exactly one of the six values is not 0. Each is -10 to 10; default: 0.

    Args:
        horizontal: Shift sideways, -10 to 10: negative left, positive right. Default: 0.
        vertical: Shift up or down, -10 to 10: negative down, positive up. Default: 0.
        pan: Turn about the vertical axis, -10 to 10: negative left, positive right. Default: 0.
        tilt: Turn about the horizontal axis, -10 to 10: negative down, positive up. Default: 0.
        roll: Turn about the viewing axis, -10 to 10: negative counter-clockwise, positive clockwise.
            Default: 0.
        zoom: Change the field of view, -10 to 10: negative narrower, positive wider. Default: 0.
    """

    horizontal: Annotated[float, _MOVEMENT] | None = None
    vertical: Annotated[float, _MOVEMENT] | None = None
    pan: Annotated[float, _MOVEMENT] | None = None
    tilt: Annotated[float, _MOVEMENT] | None = None
    roll: Annotated[float, _MOVEMENT] | None = None
    zoom: Annotated[float, _MOVEMENT] | None = None


class CameraControl(Part, frozen=True, kw_only=True):
    """A camera movement. Without one, the model chooses.

    Args:
        type: ``simple`` takes exactly one movement from config; the other words take no config.
        config: The simple movement.
    """

    type: Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"]
    config: CameraConfig | None = None


class Video(Discreet, frozen=True, kw_only=True):
    """One produced video. Addresses expire 30 days after the task ended."""

    id: str = ""
    """Id of the video in other calls (``video_id``); not the task's id."""
    url: str = ""
    """Address of the MP4."""
    watermark_url: str | None = None
    """Address of the watermarked copy, if one was asked for."""
    duration: str | float | None = None
    """Length in seconds as sent, text such as ``"5.041"``; see ``seconds``."""
    session_id: str | None = None
    """Of an edited video: id of the session in which it was marked."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration)


class Videos(Result, frozen=True, kw_only=True):
    """Result of a video task; in practice one video."""

    videos: tuple[Video, ...] = ()
    """The videos."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos."""
        urls = (v.watermark_url if watermarked else v.url for v in self.videos)
        return tuple(File(url, ".mp4", str(i)) for i, url in enumerate(urls) if url)


class DerivedVideos(Videos, frozen=True, kw_only=True):
    """Result of a task that made a video out of another one."""

    in_task_info = ("parent_video",)

    parent_video: Video | None = None
    """The input video, from ``task_info``; None where the answer does not tell (``/tasks`` does not)."""


class Deduction(Discreet, frozen=True, kw_only=True):
    """Money that a call took, decimals as text."""

    quota: str | float | None = None
    """Money taken."""
    list_price: str | float | None = None
    """Money before discount."""


class Charged(Result, frozen=True, kw_only=True):
    """Base of the answers that say what the call cost."""

    final_unit_deduction: str | float | None = None
    """Units taken from a resource pack, a decimal as text."""
    final_balance_deduction: Deduction | None = None
    """Money taken, on accounts that pay by balance."""


class ElementRef(Part, frozen=True, kw_only=True):
    """An element of the account's library.

    Args:
        element_id: Id of the element, a 64-bit number of up to 18 digits, 0 to 9223372036854775807.
    """

    element_id: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class VoiceRef(Part, frozen=True, kw_only=True):
    """A voice of the account's library, or one of the vendor's presets there.

    Args:
        voice_id: Id of the voice. Voice ids of lip sync and text to speech belong to another namespace.
    """

    voice_id: str


class InputImage(Part, frozen=True, kw_only=True):
    """One of several input images.

    Args:
        image: The image. Crop it to the subject first: the API does not.
    """

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]


class Image(Discreet, frozen=True, kw_only=True):
    """One produced image. Addresses expire 30 days after the task ended."""

    index: int = 0
    """Number of the image, from 0."""
    url: str = ""
    """Address of the PNG."""
    watermark_url: str | None = None
    """Address of the watermarked copy, if one was asked for."""


class Images(Result, frozen=True, kw_only=True):
    """Result of an image task: as many images as asked for."""

    images: tuple[Image, ...] = ()
    """The images."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the images."""
        urls = ((i.index, i.watermark_url if watermarked else i.url) for i in self.images)
        return tuple(File(url, ".png", str(index)) for index, url in urls if url)


PAGED: Final = {"page": "pageNum", "page_size": "pageSize"}
"""Names on the wire of the paging fields of a list call."""
PAGE_NUMBER: Final = Meta(ge=1, le=PAGE_NUMBER_MAX, extra={"default": 1})
PAGE_SIZE: Final = Meta(ge=1, le=PAGE_SIZE_MAX, extra={"default": 30})


class Deleted(Result, frozen=True, kw_only=True):
    """The answer to a deletion."""

    task_id: str = ""
    """Id of the vendor's task that deleted."""
    task_status: str = ""
    """``succeed``."""
