"""What several endpoints of ``/v1`` take or give: shots, camera, elements, produced videos and images."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import File, Part, Result

__all__ = [
    "PAGED",
    "CameraConfig",
    "CameraControl",
    "CfgScale",
    "Charged",
    "Deduction",
    "Deleted",
    "DerivedVideos",
    "ElementRef",
    "Image",
    "ImageCount",
    "ImageRatio",
    "Images",
    "InputImage",
    "MultiPrompt",
    "NegativePrompt",
    "PageNumber",
    "PageSize",
    "Shot",
    "ShotType",
    "Video",
    "Videos",
    "VoiceRef",
    "WatermarkInfo",
    "seconds_of",
]


def seconds_of(told: str | float | None) -> float | None:
    """Return a length as a number, if the vendor gave one: as text, or as it is."""
    try:
        return float(told) if told is not None else None
    except ValueError:
        return None


class WatermarkInfo(Part, frozen=True, kw_only=True):
    """Whether a watermarked copy is made beside the clean one."""

    enabled: (
        Annotated[bool, Meta(description="True also gives watermark_url", extra={"default": False})] | None
    ) = None


class Shot(Part, frozen=True, kw_only=True):
    """One shot of a video of several shots."""

    index: Annotated[int, Meta(ge=1, le=6, description="Number of the shot, from 1 without gaps")]
    prompt: Annotated[str, Meta(max_length=512, description="What this shot shows")]
    duration: Annotated[int, Meta(ge=1, description="Length", extra={"unit": "s", "wire": "text"})]


ShotType = (
    Annotated[
        Literal["customize", "intelligence"],
        Meta(description="customize: multi_prompt names the shots; intelligence: the model cuts the prompt"),
    ]
    | None
)
MultiPrompt = (
    Annotated[
        tuple[Shot, ...],
        Meta(min_length=1, max_length=6, description="The shots; their durations add up to duration"),
    ]
    | None
)
NegativePrompt = (
    Annotated[
        str,
        Meta(max_length=2500, description="What to avoid; the vendor advises a sentence in prompt instead"),
    ]
    | None
)
CfgScale = (
    Annotated[
        float,
        Meta(ge=0, le=1, description="Higher follows the prompt more closely", extra={"default": 0.5}),
    ]
    | None
)

ImageCount = (
    Annotated[int, Meta(ge=1, le=9, description="How many images, and slots", extra={"default": 1})] | None
)
ImageRatio = (
    Annotated[
        Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"],
        Meta(description="Frame", extra={"default": "16:9"}),
    ]
    | None
)

_Movement = Annotated[float, Meta(ge=-10, le=10, extra={"default": 0})] | None


class CameraConfig(Part, frozen=True, kw_only=True):
    """A simple camera movement: exactly one of the six is not 0."""

    horizontal: _Movement = None
    """Shift: negative left, positive right."""
    vertical: _Movement = None
    """Shift: negative down, positive up."""
    pan: _Movement = None
    """Turn about the vertical axis: negative left, positive right."""
    tilt: _Movement = None
    """Turn about the horizontal axis: negative down, positive up."""
    roll: _Movement = None
    """Negative counter-clockwise, positive clockwise."""
    zoom: _Movement = None
    """Negative narrows the field of view, positive widens it."""


class CameraControl(Part, frozen=True, kw_only=True):
    """A camera movement. Left out, the model chooses."""

    type: Annotated[
        Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"],
        Meta(description="simple takes one movement from config; the others take no config"),
    ]
    config: CameraConfig | None = None


class Video(Discreet, frozen=True, kw_only=True):
    """One produced video. Addresses die 30 days after the task ended."""

    id: str = ""
    """Names the video in other calls (``video_id``); not the task's id."""
    url: str = ""
    watermark_url: str | None = None
    duration: str | float | None = None
    """As sent, text such as ``"5.041"``; see ``seconds``."""
    session_id: str | None = None
    """Of an edited video, the session it was marked in."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration)


class Videos(Result, frozen=True, kw_only=True):
    """Result of a video task; in practice one video."""

    videos: tuple[Video, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos."""
        urls = (v.watermark_url if watermarked else v.url for v in self.videos)
        return tuple(File(url, ".mp4", str(i)) for i, url in enumerate(urls) if url)


class DerivedVideos(Videos, frozen=True, kw_only=True):
    """Result of a task that made a video out of another one."""

    parent_video: Video | None = None
    """The other one; None where the answer does not tell (``/tasks`` does not). From ``task_info``."""


class Deduction(Discreet, frozen=True, kw_only=True):
    """Money that a call took, decimals as text."""

    quota: str | float | None = None
    """What was taken."""
    list_price: str | float | None = None
    """The same before discount."""


class Charged(Result, frozen=True, kw_only=True):
    """Base of the answers that say what the call cost."""

    final_unit_deduction: str | float | None = None
    """Units taken from a resource pack, a decimal as text."""
    final_balance_deduction: Deduction | None = None
    """Money taken, on accounts that pay so."""


class ElementRef(Part, frozen=True, kw_only=True):
    """An element of the account's library."""

    element_id: Annotated[int, Meta(ge=0, le=2**63 - 1, description="A 64-bit number, up to 18 digits")]


class VoiceRef(Part, frozen=True, kw_only=True):
    """A voice of the account's library, or one of the presets there."""

    voice_id: Annotated[
        str, Meta(description="Not a voice id of lip sync or text to speech: those are another namespace")
    ]


class InputImage(Part, frozen=True, kw_only=True):
    """One of several images that go in."""

    image: Annotated[
        MediaInput, Meta(description="Crop to the subject first: the API does not", extra={"media": IMAGE})
    ]


class Image(Discreet, frozen=True, kw_only=True):
    """One produced image. Addresses die 30 days after the task ended."""

    index: int = 0
    url: str = ""
    watermark_url: str | None = None


class Images(Result, frozen=True, kw_only=True):
    """Result of an image task: as many images as asked for."""

    images: tuple[Image, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the images."""
        urls = ((i.index, i.watermark_url if watermarked else i.url) for i in self.images)
        return tuple(File(url, ".png", str(index)) for index, url in urls if url)


PAGED: Final = {"page": "pageNum", "page_size": "pageSize"}
"""What the wire calls the fields of a call that leafs through a list."""
PageNumber = Annotated[int, Meta(ge=1, le=1000, description="Page, from 1", extra={"default": 1})]
PageSize = Annotated[int, Meta(ge=1, le=500, description="Entries of a page", extra={"default": 30})]


class Deleted(Result, frozen=True, kw_only=True):
    """The answer to a deletion."""

    task_id: str = ""
    task_status: str = ""
