"""Video endpoints of the first generation: edit what is in a video (multi-elements).

First `InitSelection` reads a video and opens a session of 24 hours. To replace or remove something, mark it
in the session: `AddSelection`, `DeleteSelection` and `ClearSelection` at will, `PreviewSelection` to look at
it. Then `MultiElements` makes the edited video.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1 import capabilities
from kling_async.v1.parts import Charged, InputImage, Videos, WatermarkInfo
from kling_async.v1.rules import exactly_one, is_set, model_is_known
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import VIDEO
from kling_async.wire.requests import CallRequest, File, Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AddSelection",
    "ClearSelection",
    "DeleteSelection",
    "FrameMarks",
    "InitSelection",
    "MultiElements",
    "ObjectMask",
    "PngMask",
    "Point",
    "PreviewFiles",
    "PreviewSelection",
    "RleMask",
    "SelectionAnswer",
    "SelectionMarks",
    "SelectionPreview",
    "SelectionVideo",
]

_SessionId = Annotated[str, Meta(description="From InitSelection; lives 24 hours")]


class SelectionAnswer(Charged, frozen=True, kw_only=True):
    """What all answers about a session hold. A ``status`` other than 0 is raised, not returned."""

    status: int = 0
    session_id: str = ""

    def refusal(self) -> tuple[int | None, str] | None:
        """Return the status, unless it is 0."""
        if not self.status:
            return None
        return self.status, "nothing was recognised: data.status of the answer is not 0"


class SelectionVideo(SelectionAnswer, frozen=True, kw_only=True):
    """The video of a session as the vendor read it."""

    fps: float = 0
    original_duration: int = 0
    """Length, presumably in milliseconds."""
    width: int = 0
    height: int = 0
    total_frame: int = 0
    """How many frames there are to mark, the first one being 0."""
    normalized_video: str = ""
    """Address of the prepared video."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the prepared video; it is not watermarked."""
        url = "" if watermarked else self.normalized_video
        return (File(url, ".mp4", "normalized"),) if url else ()


class RleMask(Discreet, frozen=True, kw_only=True):
    """A mask as run lengths, as COCO writes them: compressed, column by column."""

    size: tuple[int, ...] = ()
    """Height and width in pixels."""
    counts: str = ""


class PngMask(Discreet, frozen=True, kw_only=True):
    """A mask as a picture."""

    size: tuple[int, ...] = ()
    base64: str = ""
    """The PNG in Base64; its repr tells only how long that is."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show the picture's size."""
        return [("size", self.size), ("base64", f"<{len(self.base64)} characters>")]


class ObjectMask(Discreet, frozen=True, kw_only=True):
    """Where one marked object is in a frame, in two forms."""

    object_id: int = 0
    rle_mask: RleMask | None = None
    png_mask: PngMask | None = None


class FrameMarks(Discreet, frozen=True, kw_only=True):
    """What was recognised in one frame."""

    frame_index: int = 0
    rle_mask_list: tuple[ObjectMask, ...] = ()


class SelectionMarks(SelectionAnswer, frozen=True, kw_only=True):
    """The marks of a frame, after some were added or removed."""

    res: FrameMarks = FrameMarks()


class PreviewFiles(Discreet, frozen=True, kw_only=True):
    """Addresses of what shows the marks."""

    video: str = ""
    """The video with the mask drawn in."""
    video_cover: str = ""
    tracking_output: str = ""
    """The mask of every frame."""


class SelectionPreview(SelectionAnswer, frozen=True, kw_only=True):
    """The marks of a session, seen in its video."""

    res: PreviewFiles = PreviewFiles()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the video with its marks, its cover, and the masks of all frames; none is watermarked."""
        if watermarked:
            return ()
        shown = self.res
        found = (shown.video, ".mp4", "video"), (shown.video_cover, ".png", "cover")
        masks = (shown.tracking_output, "", "tracking")  # what it is a file of the vendor does not say
        return tuple(File(url, suffix, name) for url, suffix, name in (*found, masks) if url)


class InitSelection(CallRequest[SelectionVideo], frozen=True, kw_only=True, omit_defaults=True):
    """Read a video and open a session to edit it: ``POST /v1/videos/multi-elements/init-selection``."""

    video_id: (
        Annotated[
            str,
            Meta(description="Of a video made here in the last 30 days; 2 to 5 s or 7 to 10 s long"),
        ]
        | None
    ) = None
    video_url: (
        Annotated[
            MediaInput,
            Meta(
                description="2 to 5 s or 7 to 10 s; sides of 720 to 2160 px; 24, 30 or 60 frames a second",
                extra={"media": VIDEO},
            ),
        ]
        | None
    ) = None

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)


class Point(Part, frozen=True, kw_only=True):
    """A point in a frame.

    The vendor's page calls [0, 1] the top left corner, as if y grew upwards; nobody confirmed it: look at a
    preview.
    """

    x: Annotated[float, Meta(ge=0, le=1, description="Share of the frame's width")]
    y: Annotated[float, Meta(ge=0, le=1, description="Share of the frame's height")]


class _Marking(CallRequest[SelectionMarks], frozen=True, kw_only=True, omit_defaults=True):
    session_id: _SessionId
    frame_index: Annotated[int, Meta(ge=0, description="Frame, from 0; at most 10 frames of a session")]
    points: Annotated[
        tuple[Point, ...], Meta(min_length=1, max_length=10, description="At most 10 in one frame")
    ]


class AddSelection(_Marking, frozen=True, kw_only=True, omit_defaults=True):
    """Mark points of one frame: ``POST /v1/videos/multi-elements/add-selection``."""


class DeleteSelection(_Marking, frozen=True, kw_only=True, omit_defaults=True):
    """Remove marks: ``POST /v1/videos/multi-elements/delete-selection``.

    The points must be exactly those that were added.
    """


class ClearSelection(CallRequest[SelectionAnswer], frozen=True, kw_only=True, omit_defaults=True):
    """Remove all marks of a session: ``POST /v1/videos/multi-elements/clear-selection``."""

    session_id: _SessionId


class PreviewSelection(CallRequest[SelectionPreview], frozen=True, kw_only=True, omit_defaults=True):
    """See the marks in the video: ``POST /v1/videos/multi-elements/preview-selection``."""

    session_id: _SessionId


class MultiElements(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """Put something into a video, replace it or take it out: ``POST /v1/videos/multi-elements``.

    Takes one video slot.
    """

    model_name: Annotated[str, Meta(description="Not on the vendor's newest page: leave it out")] | None = (
        None
    )
    session_id: _SessionId
    edit_mode: Annotated[
        Literal["addition", "swap", "removal"],
        Meta(description="addition puts in, swap replaces, removal takes out; the last two need marks"),
    ]
    image_list: (
        Annotated[
            tuple[InputImage, ...],
            Meta(max_length=2, description="What to put in: 1 or 2 for addition, 1 for swap"),
        ]
        | None
    ) = None
    prompt: Annotated[
        str,
        Meta(max_length=2500, description="Names the video as <<<video_1>>>, each image as <<<image_1>>>"),
    ]
    negative_prompt: Annotated[str, Meta(max_length=2500, description="What to avoid")] | None = None
    mode: (
        Annotated[Literal["std", "pro"], Meta(description="std or pro", extra={"default": "std"})] | None
    ) = None
    duration: (
        Annotated[
            Literal[5, 10],
            Meta(
                description="5 for a video of 2 to 5 s, 10 for one of 7 to 10 s",
                extra={"unit": "s", "default": 5, "wire": "text"},
            ),
        ]
        | None
    ) = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def known_model(r: MultiElements) -> Iterator[Problem | Doubt]:
    """There has been only one model, and it ended."""
    if is_set(r.model_name) and r.model_name is not None:
        known = r.model_name == "kling-v1-6"
        yield from model_is_known(r.model_name, known, retired=capabilities.RETIRED_VIDEO)


IMAGES: Final = {
    "addition": ((1, 2), "1 or 2 images"),
    "swap": ((1,), "1 image"),
    "removal": ((0,), "no image"),
}
"""How many images each mode takes."""


def images_fit_the_mode(r: MultiElements) -> Iterator[Problem | Doubt]:
    """Putting in takes one or two images, replacing one, taking out none."""
    if r.edit_mode not in IMAGES:
        return  # told already: it is none of the words
    counts, words = IMAGES[r.edit_mode]
    given = len(r.image_list or ())
    if given not in counts:
        yield Problem("image_list", f"{r.edit_mode} takes {words}; {given} given")


_NAME: Final = re.compile(r"<<<(?:image|video)_[0-9]+>>>")


def prompt_names_all(r: MultiElements) -> Iterator[Problem | Doubt]:
    """The prompt names the video and each image, and nothing that is not there."""
    there = ["<<<video_1>>>", *(f"<<<image_{at}>>>" for at, _ in enumerate(r.image_list or (), 1))]
    named = dict.fromkeys(_NAME.findall(r.prompt))
    for name in there:
        if name not in named:
            yield Problem("prompt", f"must name {name}")
    for name in named:
        if name not in there:
            yield Problem("prompt", f"{name} points to nothing")


MultiElements.rules = (known_model, images_fit_the_mode, prompt_names_all)
