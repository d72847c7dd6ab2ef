"""Video endpoints of the first generation: edit the contents of a video (multi-elements).

First `InitSelection` reads a video and opens a session of 24 hours. To replace or remove something, mark it
in the session: `AddSelection`, `DeleteSelection` and `ClearSelection` at will, `PreviewSelection` to look at
it. Then `MultiElements` makes the edited video.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1 import capabilities
from kling_async.v1.parts import Charged, InputImage, Videos, WatermarkInfo
from kling_async.v1.rules import exactly_one, is_set, model_is_known
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
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


class SelectionAnswer(Charged, frozen=True, kw_only=True):
    """Base of the answers about a session. A ``status`` other than 0 is raised, not returned."""

    status: int = 0
    """0 is success."""
    session_id: str = ""
    """Id of the session, for the next call."""

    def refusal(self) -> tuple[int | None, str] | None:
        """Return the status, unless it is 0."""
        if not self.status:
            return None
        return self.status, "nothing was recognised: data.status of the answer is not 0"


class SelectionVideo(SelectionAnswer, frozen=True, kw_only=True):
    """The video of a session as the vendor read it."""

    fps: float = 0
    """Frames per second."""
    original_duration: int = 0
    """Length, presumably in milliseconds."""
    width: int = 0
    """Width in pixels."""
    height: int = 0
    """Height in pixels."""
    total_frame: int = 0
    """Number of frames that can be marked; the first one is 0."""
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
    """The compressed run lengths."""


class PngMask(Discreet, frozen=True, kw_only=True):
    """A mask as a picture."""

    size: tuple[int, ...] = ()
    """Height and width in pixels."""
    base64: str = ""
    """The PNG in Base64; the repr shows only its length."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show the size of the picture instead of its Base64."""
        return [("size", self.size), ("base64", f"<{len(self.base64)} characters>")]


class ObjectMask(Discreet, frozen=True, kw_only=True):
    """The area of one marked object in a frame, in two forms."""

    object_id: int = 0
    """Number of the object."""
    rle_mask: RleMask | None = None
    """The area as run lengths."""
    png_mask: PngMask | None = None
    """The area as a picture."""


class FrameMarks(Discreet, frozen=True, kw_only=True):
    """The objects recognised in one frame."""

    frame_index: int = 0
    """Number of the frame, from 0."""
    rle_mask_list: tuple[ObjectMask, ...] = ()
    """One mask for each marked object."""


class SelectionMarks(SelectionAnswer, frozen=True, kw_only=True):
    """The marks of a frame, after some were added or removed."""

    res: FrameMarks = FrameMarks()
    """The marks that the frame has now."""


class PreviewFiles(Discreet, frozen=True, kw_only=True):
    """Addresses of files that show the marks."""

    video: str = ""
    """The video with the mask drawn in."""
    video_cover: str = ""
    """A still of that video."""
    tracking_output: str = ""
    """The mask of every frame."""


class SelectionPreview(SelectionAnswer, frozen=True, kw_only=True):
    """The marks of a session, shown in its video."""

    res: PreviewFiles = PreviewFiles()
    """Addresses of the files."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the video with its marks, its cover, and the masks of all frames; none is watermarked."""
        if watermarked:
            return ()
        shown = self.res
        found = (shown.video, ".mp4", "video"), (shown.video_cover, ".png", "cover")
        masks = (shown.tracking_output, "", "tracking")  # the vendor does not say which format this file has
        return tuple(File(url, suffix, name) for url, suffix, name in (*found, masks) if url)


class InitSelection(CallRequest[SelectionVideo], frozen=True, kw_only=True, omit_defaults=True):
    """Read a video and open a session to edit it: ``POST /v1/videos/multi-elements/init-selection``.

    Exactly one of the two is given.

    Args:
        video_id: Id of a video made here in the last 30 days, 2 to 5 or 7 to 10 seconds long.
        video_url: Address of a video of 2 to 5 or 7 to 10 seconds, sides of 720 to 2160 pixels, 24, 30 or
            60 frames per second.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements.init_selection"

    video_id: str | None = None
    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)


class Point(Part, frozen=True, kw_only=True):
    """A point in a frame.

    The vendor's page calls [0, 1] the top left corner, as if y grew upwards; nobody confirmed it: look at a
    preview.

    Args:
        x: Share of the frame's width, 0 to 1.
        y: Share of the frame's height, 0 to 1.
    """

    x: Annotated[float, Meta(ge=0, le=1)]
    y: Annotated[float, Meta(ge=0, le=1)]


_POINTS: Final = Meta(min_length=1, max_length=10)


class AddSelection(CallRequest[SelectionMarks], frozen=True, kw_only=True, omit_defaults=True):
    """Mark points of one frame: ``POST /v1/videos/multi-elements/add-selection``.

    Args:
        session_id: Id of the session, from `InitSelection`; it lives 24 hours.
        frame_index: Number of the frame, from 0; at most 10 frames of a session.
        points: 1 to 10 points of the frame, at most 10 in one frame.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements.add_selection"

    session_id: str
    frame_index: Annotated[int, Meta(ge=0)]
    points: Annotated[tuple[Point, ...], _POINTS]
    extra: dict[str, Any] = {}


class DeleteSelection(CallRequest[SelectionMarks], frozen=True, kw_only=True, omit_defaults=True):
    """Remove marks: ``POST /v1/videos/multi-elements/delete-selection``.

    The points must be exactly those that were added.

    Args:
        session_id: Id of the session, from `InitSelection`; it lives 24 hours.
        frame_index: Number of the frame, from 0; at most 10 frames of a session.
        points: 1 to 10 points of the frame, at most 10 in one frame.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements.delete_selection"

    session_id: str
    frame_index: Annotated[int, Meta(ge=0)]
    points: Annotated[tuple[Point, ...], _POINTS]
    extra: dict[str, Any] = {}


class ClearSelection(CallRequest[SelectionAnswer], frozen=True, kw_only=True, omit_defaults=True):
    """Remove all marks of a session: ``POST /v1/videos/multi-elements/clear-selection``.

    Args:
        session_id: Id of the session, from `InitSelection`; it lives 24 hours.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements.clear_selection"

    session_id: str
    extra: dict[str, Any] = {}


class PreviewSelection(CallRequest[SelectionPreview], frozen=True, kw_only=True, omit_defaults=True):
    """Show the marks in the video: ``POST /v1/videos/multi-elements/preview-selection``.

    Args:
        session_id: Id of the session, from `InitSelection`; it lives 24 hours.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements.preview_selection"

    session_id: str
    extra: dict[str, Any] = {}


class MultiElements(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """Put something into a video, replace it or take it out: ``POST /v1/videos/multi-elements``.

    Takes one video slot.

    Args:
        session_id: Id of the session, from `InitSelection`; it lives 24 hours.
        edit_mode: ``addition`` puts in, ``swap`` replaces, ``removal`` takes out; the last two need marks.
        prompt: Text at most 2500 characters long that names the video as ``<<<video_1>>>`` and each image as
            ``<<<image_1>>>``.
        image_list: At most 2 images of what to put in: 1 or 2 for ``addition``, 1 for ``swap``.
        model_name: Best left out: the vendor's newest page has no such field.
        mode: ``std`` or ``pro``. Default: std.
        duration: Length in seconds: 5 for a video of 2 to 5 seconds, 10 for one of 7 to 10. Default: 5.
        negative_prompt: What to avoid, at most 2500 characters.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_elements"

    session_id: str
    edit_mode: Literal["addition", "swap", "removal"]
    prompt: Annotated[str, Meta(max_length=2500)]
    image_list: Annotated[tuple[InputImage, ...], Meta(max_length=2)] | None = None
    model_name: str | None = None
    mode: Annotated[Literal["std", "pro"], Meta(extra={"default": "std"})] | None = None
    duration: Annotated[Literal[5, 10], Meta(extra={"unit": "s", "default": 5, "wire": "text"})] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def known_model(r: MultiElements) -> Iterator[Problem | Doubt]:
    """Warn of any model_name: the only model of this endpoint was announced to end."""
    if is_set(r.model_name) and r.model_name is not None:
        yield from model_is_known(
            r.model_name,
            frozenset({"kling-v1-6"}),
            endpoint="multi_elements",
            retired=capabilities.RETIRED_VIDEO,
        )


IMAGES: Final = {
    "addition": ((1, 2), "1 or 2 images"),
    "swap": ((1,), "1 image"),
    "removal": ((0,), "no image"),
}
"""By mode: the numbers of images it takes, and their words."""


def images_fit_the_mode(r: MultiElements) -> Iterator[Problem | Doubt]:
    """Check the number of images: addition takes 1 or 2, swap 1, removal none."""
    if r.edit_mode not in IMAGES:
        return  # the check of the field itself reports the unknown word
    counts, words = IMAGES[r.edit_mode]
    given = len(r.image_list or ())
    if given not in counts:
        yield Problem("image_list", f"{r.edit_mode} takes {words}; {given} given")


_NAME: Final = re.compile(r"<<<(?:image|video)_[0-9]+>>>")


def prompt_names_all(r: MultiElements) -> Iterator[Problem | Doubt]:
    """Check that the prompt names the video and every image, and no other."""
    there = ["<<<video_1>>>", *(f"<<<image_{at}>>>" for at, _ in enumerate(r.image_list or (), 1))]
    named = dict.fromkeys(_NAME.findall(r.prompt))
    for name in there:
        if name not in named:
            yield Problem("prompt", f"must name {name}")
    for name in named:
        if name not in there:
            yield Problem("prompt", f"{name} points to nothing")


MultiElements.rules = (known_model, images_fit_the_mode, prompt_names_all)
