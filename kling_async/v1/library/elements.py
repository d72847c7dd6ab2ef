"""Elements of the first generation: subjects to use again in videos and images.

This is the service of 2026; it and the older one (`kling_async.v1.library.old_elements`) do not know each
other's elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.library.voices import Voice
from kling_async.v1.parts import PAGED, Deleted, PageNumber, PageSize
from kling_async.v1.rules import is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
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

# --- what is sent ------------------------------------------------------------------------------


class ReferImage(Part, frozen=True, kw_only=True):
    """One more view of a subject."""

    image_url: Annotated[
        MediaInput, Meta(description="Address or file, in spite of the name", extra={"media": IMAGE})
    ]


class ElementImages(Part, frozen=True, kw_only=True):
    """A subject in images."""

    frontal_image: Annotated[MediaInput, Meta(description="From the front", extra={"media": IMAGE})]
    refer_images: Annotated[
        tuple[ReferImage, ...], Meta(min_length=1, max_length=3, description="Other views of it")
    ]


class ReferVideo(Part, frozen=True, kw_only=True):
    """A video of a subject."""

    video_url: Annotated[
        MediaInput,
        Meta(description="1080p, 16:9 or 9:16, 3 to 8 s, up to 200 MB", extra={"media": VIDEO}),
    ]


class ElementVideos(Part, frozen=True, kw_only=True):
    """A subject in a video: a realistic, human-like figure. If it speaks, its voice is kept as well."""

    refer_videos: Annotated[tuple[ReferVideo, ...], Meta(min_length=1, max_length=1, description="The video")]


class ElementTag(Part, frozen=True, kw_only=True):
    """What kind of thing an element is."""

    tag_id: Annotated[
        str,
        Meta(
            description="o_101 hottest, o_102 character, o_103 animal, o_104 item, o_105 costume, "
            "o_106 scene, o_107 effect, o_108 others"
        ),
    ]


# --- what comes back ---------------------------------------------------------------------------


class ImageLink(Discreet, frozen=True, kw_only=True):
    """Where one image is."""

    image_url: str = ""


class ImageLinks(Discreet, frozen=True, kw_only=True):
    """Where the images of an element are."""

    frontal_image: str = ""
    refer_images: tuple[ImageLink, ...] = ()


class VideoLink(Discreet, frozen=True, kw_only=True):
    """Where one video is."""

    video_url: str = ""


class VideoLinks(Discreet, frozen=True, kw_only=True):
    """Where the video of an element is."""

    refer_videos: tuple[VideoLink, ...] = ()


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of thing an element is."""

    id: str | int = ""
    name: str = ""
    description: str = ""


class Element(Discreet, frozen=True, kw_only=True):
    """One element."""

    element_id: int = 0
    """Names it in other requests: ``v1.ElementRef(element_id=...)``."""
    element_name: str = ""
    element_description: str = ""
    reference_type: str = ""
    """``image_refer``, or ``video_refer``, which image endpoints do not take."""
    element_image_list: ImageLinks = ImageLinks()
    element_video_list: VideoLinks = VideoLinks()
    element_voice_info: Voice = Voice()
    tag_list: tuple[Tag, ...] = ()
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""
    status: str = ""
    """``succeed``; ``deleted`` once removed."""

    def files(self) -> tuple[File, ...]:
        """Return its images, its video and the sample of its voice."""
        images, videos = self.element_image_list, self.element_video_list.refer_videos
        found = [(images.frontal_image, ".png", "frontal")]
        found += [(v.image_url, ".png", f"refer-{k}") for k, v in enumerate(images.refer_images, 1)]
        found += [(v.video_url, ".mp4", f"video-{k}") for k, v in enumerate(videos, 1)]
        found += [(self.element_voice_info.trial_url, ".mp3", "voice")]
        return tuple(File(url, suffix, name) for url, suffix, name in found if url)


class Elements(Result, frozen=True, kw_only=True):
    """Result of a custom element: one element."""

    elements: tuple[Element, ...] = ()

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
    """

    element_name: Annotated[str, Meta(max_length=20, description="What to call it")]
    element_description: Annotated[str, Meta(max_length=100, description="What it is")]
    reference_type: Annotated[
        Literal["image_refer", "video_refer"],
        Meta(description="image_refer: element_image_list counts; video_refer: element_video_list does"),
    ]
    element_image_list: (
        Annotated[ElementImages, Meta(description="The subject in images; required for image_refer")] | None
    ) = None
    element_video_list: (
        Annotated[
            ElementVideos,
            Meta(
                description="The subject in a video; required for video_refer, serves videos from 3.0 Omni on"
            ),
        ]
        | None
    ) = None
    element_voice_id: (
        Annotated[
            str,
            Meta(description="Its voice, custom or preset; from images only human-like subjects have one"),
        ]
        | None
    ) = None
    tag_list: Annotated[tuple[ElementTag, ...], Meta(description="What kind of thing it is")] | None = None

    rules: ClassVar[tuple[Rule, ...]]


_LISTS: Final = {"image_refer": "element_image_list", "video_refer": "element_video_list"}


def reference_is_there(r: CustomElement) -> Iterator[Problem | Doubt]:
    """The type of the reference says which list counts."""
    for kind, name in _LISTS.items():
        given = is_set(getattr(r, name))
        if kind == r.reference_type and not given:
            yield Problem(name, f"is required when reference_type is {kind!r}")
        if kind != r.reference_type and given:
            yield Doubt(name, f"is ignored by the vendor unless reference_type is {kind!r}")


def tags_are_known(r: CustomElement) -> Iterator[Problem | Doubt]:
    """An unknown tag passes with a warning."""
    for at, tag in enumerate(r.tag_list or ()):
        if tag.tag_id not in _TAGS:
            yield Doubt(
                f"tag_list[{at}].tag_id", f"{tag.tag_id!r} is not known here; the vendor will judge it"
            )


CustomElement.rules = (reference_is_there, tags_are_known)


class ElementTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the vendor's that made some of its elements. Times are milliseconds since 1970."""

    task_id: str = ""
    task_status: str = ""
    task_result: Elements = msgspec.field(default_factory=Elements)
    created_at: int = 0
    updated_at: int = 0


class ElementPage(Result, frozen=True, kw_only=True):
    """One page of the vendor's elements; one shorter than asked for is the last."""

    tasks: tuple[ElementTask, ...] = ()

    @property
    def elements(self) -> tuple[Element, ...]:
        """All elements of the page."""
        return tuple(element for task in self.tasks for element in task.task_result.elements)


class PresetElements(CallRequest[ElementPage], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """The vendor's own elements, ready to use: ``GET /v1/general/advanced-presets-elements``. Free.

    Your own: ``client.list(v1.CustomElement)``.
    """

    page: PageNumber | None = None
    page_size: PageSize | None = None


class DeleteElement(CallRequest[Deleted], frozen=True, kw_only=True, omit_defaults=True):
    """Delete an element of your own: ``POST /v1/general/delete-elements``.

    One of the older service may be unknown there.
    """

    element_id: Annotated[
        int,
        Meta(
            ge=0,
            le=2**63 - 1,
            description="The element's id, not that of the task that made it",
            extra={"wire": "text"},
        ),
    ]
