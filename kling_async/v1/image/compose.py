"""Image endpoints of the first generation: one image from several, and several views of one subject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.v1.parts import IMAGE_COUNT, IMAGE_RATIO, Images, WatermarkInfo
from kling_async.v1.rules import image_model, is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import File, Part, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.errors import Problem

__all__ = [
    "DEFAULT_MULTI_IMAGE_MODEL",
    "AiMultiShot",
    "MultiImageToImage",
    "SubjectImage",
    "ViewSet",
    "ViewSets",
]

DEFAULT_MULTI_IMAGE_MODEL: Final = "kling-v2-1"
"""Sent where the caller names no model."""


class SubjectImage(Part, frozen=True, kw_only=True):
    """One subject, already cut out: the vendor does not crop.

    Args:
        subject_image: Image of the subject.
    """

    subject_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]


class MultiImageToImage(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """Images of up to four subjects in a scene, in a style: ``POST /v1/images/multi-image2image``.

    Takes n image slots.

    Args:
        subject_image_list: 1 to 4 images of one subject each.
        prompt: Text of the images, at most 2500 characters.
        scene_image: Image of the surroundings.
        style_image: Image whose style the result takes.
        model_name: ``kling-v2-1``. Default: kling-v2-1.
        n: Number of images, and of slots, 1 to 9. Default: 1.
        aspect_ratio: Width to height. Default: 16:9.
        negative_prompt: What to avoid. Only a sample of the vendor's has it; it may be ignored.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "multi_image_to_image"

    subject_image_list: Annotated[tuple[SubjectImage, ...], Meta(min_length=1, max_length=4)]
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    scene_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    style_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    model_name: str = DEFAULT_MULTI_IMAGE_MODEL
    n: Annotated[int, IMAGE_COUNT] | None = None
    aspect_ratio: (
        Annotated[Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"], IMAGE_RATIO] | None
    ) = None
    negative_prompt: str | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def negative_may_be_ignored(r: MultiImageToImage) -> Iterator[Problem | Doubt]:
    """Warn that negative_prompt stands in a sample of the vendor's and is described nowhere."""
    if is_set(r.negative_prompt):
        yield Doubt("negative_prompt", "is not described by the vendor, who may ignore it")


MultiImageToImage.rules = (negative_may_be_ignored, image_model("multi_image_to_image"))


class ViewSet(Discreet, frozen=True, kw_only=True):
    """Three more views of a subject."""

    index: int = 0
    """Number of the set, from 0."""
    url_1: str = ""
    """Address of the first view."""
    url_2: str = ""
    """Address of the second view."""
    url_3: str = ""
    """Address of the third view."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Addresses of the views that were made."""
        return tuple(url for url in (self.url_1, self.url_2, self.url_3) if url)


class ViewSets(Result, frozen=True, kw_only=True):
    """Result of AI multi-shot: three sets of views to choose from."""

    images: tuple[ViewSet, ...] = ()
    """The sets."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of all views, named by set and view; none is watermarked."""
        if watermarked:
            return ()
        views = (
            (s.index, k, url) for s in self.images for k, url in enumerate((s.url_1, s.url_2, s.url_3), 1)
        )
        return tuple(File(url, ".png", f"{index}-{k}") for index, k, url in views if url)


class AiMultiShot(TaskRequest[ViewSets], frozen=True, kw_only=True, omit_defaults=True):
    """Other views of a subject, for an element: ``POST /v1/general/ai-multi-shot``.

    Takes one image slot as far as known.

    Args:
        element_frontal_image: The subject from the front.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "ai_multi_shot"

    element_frontal_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    extra: dict[str, Any] = {}
