"""Elements of the first generation: subjects to use again in videos and images.

This is the service of 2026. Neither it nor the older one (`kling_async.v1.library.old_elements`) knows the
other's elements.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.library.shared import ElementTag, ImageLink, ReferImage, Tag, Voice
from kling_async.v1.parts import PAGE_NUMBER, PAGE_SIZE, PAGED, Deleted
from kling_async.v1.rules import is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE, VIDEO
from kling_async.wire.requests import CallRequest, File, Part, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CustomElement",
    "DeleteElement",
    "Element",
    "ElementImages",
    "ElementPage",
    "ElementTag",
    "ElementTask",
    "ElementVideos",
    "Elements",
    "ImageLink",
    "ImageLinks",
    "ReferImage",
    "ReferVideo",
    "Tag",
    "VideoLink",
    "VideoLinks",
]

_TAGS: Final = frozenset(f"o_{number}" for number in range(101, 109))

# --- parts of requests -------------------------------------------------------------------------


class ElementImages(Part, frozen=True, kw_only=True):
    """A subject in images.

    Args:
        frontal_image: Image of the subject from the front.
        refer_images: 1 to 3 other views of it.
    """

    frontal_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    refer_images: Annotated[tuple[ReferImage, ...], Meta(min_length=1, max_length=3)]


class ReferVideo(Part, frozen=True, kw_only=True):
    """A video of a subject.

    Args:
        video_url: Address of the video: 1080p, 16:9 or 9:16, 3 to 8 seconds, at most 200 MB.
    """

    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})]


class ElementVideos(Part, frozen=True, kw_only=True):
    """A subject in a video: a realistic, human-like figure. If it speaks, its voice is kept as well.

    Args:
        refer_videos: 1 video.
    """

    refer_videos: Annotated[tuple[ReferVideo, ...], Meta(min_length=1, max_length=1)]


# --- results -----------------------------------------------------------------------------------


class ImageLinks(Discreet, frozen=True, kw_only=True):
    """Addresses of the images of an element."""

    frontal_image: str = ""
    """Address of the image from the front."""
    refer_images: tuple[ImageLink, ...] = ()
    """The other views."""


class VideoLink(Discreet, frozen=True, kw_only=True):
    """Address of one video."""

    video_url: str = ""
    """The address."""


class VideoLinks(Discreet, frozen=True, kw_only=True):
    """Addresses of the videos of an element."""

    refer_videos: tuple[VideoLink, ...] = ()
    """The videos; in practice one."""


class Element(Discreet, frozen=True, kw_only=True):
    """One element."""

    element_id: int = 0
    """Id of the element in other requests: ``v1.ElementRef(element_id=...)``."""
    element_name: str = ""
    """Its name."""
    element_description: str = ""
    """Its description."""
    reference_type: str = ""
    """``image_refer``, or ``video_refer``, which image endpoints do not take."""
    element_image_list: ImageLinks = ImageLinks()
    """Its images, if it was made from images."""
    element_video_list: VideoLinks = VideoLinks()
    """Its video, if it was made from a video."""
    element_voice_info: Voice = Voice()
    """Its voice, if it has one."""
    tag_list: tuple[Tag, ...] = ()
    """What kind of thing it is."""
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""
    status: str = ""
    """``succeed``; ``deleted`` once removed."""

    def files(self) -> tuple[File, ...]:
        """Return the element's images, its video and the sample of its voice."""
        images, videos = self.element_image_list, self.element_video_list.refer_videos
        found = [(images.frontal_image, ".png", "frontal")]
        found += [(v.image_url, ".png", f"refer-{k}") for k, v in enumerate(images.refer_images, 1)]
        found += [(v.video_url, ".mp4", f"video-{k}") for k, v in enumerate(videos, 1)]
        found += [(self.element_voice_info.trial_url, ".mp3", "voice")]
        return tuple(File(url, suffix, name) for url, suffix, name in found if url)


class Elements(Result, frozen=True, kw_only=True):
    """Result of a custom element: one element."""

    elements: tuple[Element, ...] = ()
    """The element."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the elements; none is watermarked."""
        if watermarked:
            return ()
        found = ((at, file) for at, element in enumerate(self.elements) for file in element.files())
        return tuple(File(file.url, file.suffix, f"{at}-{file.name}") for at, file in found)


# --- requests ----------------------------------------------------------------------------------


class CustomElement(TaskRequest[Elements], frozen=True, kw_only=True, omit_defaults=True):
    """An element from images or a video: ``POST /v1/general/advanced-custom-elements``.

    Takes no slot as far as known, and no units.

    Args:
        element_name: Name of the element, at most 20 characters.
        element_description: Description of the element, at most 100 characters.
        reference_type: ``image_refer``: made from element_image_list; ``video_refer``: made from
            element_video_list.
        element_image_list: The subject in images. Required for ``image_refer``.
        element_video_list: The subject in a video, for videos from 3.0 Omni on. Required for
            ``video_refer``.
        element_voice_id: Id of its voice, custom or preset. Made from images, only a human-like subject has
            one.
        tag_list: What kind of thing it is.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements"

    element_name: Annotated[str, Meta(max_length=20)]
    element_description: Annotated[str, Meta(max_length=100)]
    reference_type: Literal["image_refer", "video_refer"]
    element_image_list: ElementImages | None = None
    element_video_list: ElementVideos | None = None
    element_voice_id: str | None = None
    tag_list: tuple[ElementTag, ...] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


_LISTS: Final = {"image_refer": "element_image_list", "video_refer": "element_video_list"}


def reference_is_there(r: CustomElement) -> Iterator[Problem | Doubt]:
    """Require the list that reference_type names; warn of the other one."""
    for kind, name in _LISTS.items():
        given = is_set(getattr(r, name))
        if kind == r.reference_type and not given:
            yield Problem(name, f"is required when reference_type is {kind!r}")
        if kind != r.reference_type and given:
            yield Doubt(name, f"is ignored by the vendor unless reference_type is {kind!r}")


def tags_are_known(r: CustomElement) -> Iterator[Problem | Doubt]:
    """Warn of unknown tags."""
    for at, tag in enumerate(r.tag_list or ()):
        if tag.tag_id not in _TAGS:
            yield Doubt(
                f"tag_list[{at}].tag_id", f"{tag.tag_id!r} is not known here; the vendor will judge it"
            )


CustomElement.rules = (reference_is_there, tags_are_known)


class ElementTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task by which the vendor made some of its preset elements."""

    task_id: str = ""
    """Id of the task."""
    task_status: str = ""
    """``succeed``."""
    task_result: Elements = msgspec.field(default_factory=Elements)
    """The elements."""
    created_at: int = 0
    """When the task was made, milliseconds since 1970."""
    updated_at: int = 0
    """When the task last changed, milliseconds since 1970."""


class ElementPage(Result, frozen=True, kw_only=True):
    """One page of the vendor's elements; one shorter than asked for is the last."""

    tasks: tuple[ElementTask, ...] = ()
    """The tasks as the API nests them; see ``elements``."""

    @property
    def elements(self) -> tuple[Element, ...]:
        """All elements of the page."""
        return tuple(element for task in self.tasks for element in task.task_result.elements)


class PresetElements(CallRequest[ElementPage], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """List the vendor's own elements, ready to use: ``GET /v1/general/advanced-presets-elements``. Free.

    Your own: ``client.list(v1.CustomElement)``.

    Args:
        page: Number of the page, 1 to 1000. Default: 1.
        page_size: Entries of a page, 1 to 500. Default: 30.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements.presets"

    page: Annotated[int, PAGE_NUMBER] | None = None
    page_size: Annotated[int, PAGE_SIZE] | None = None
    extra: dict[str, Any] = {}


class DeleteElement(CallRequest[Deleted], frozen=True, kw_only=True, omit_defaults=True):
    """Delete an element of your own: ``POST /v1/general/delete-elements``.

    An element of the older service may be unknown there.

    Args:
        element_id: Id of the element (not of the task that made it), a 64-bit number, 0 to
            9223372036854775807.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements.delete"

    element_id: Annotated[int, Meta(ge=0, le=2**63 - 1, extra={"wire": "text"})]
    extra: dict[str, Any] = {}
