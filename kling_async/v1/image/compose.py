"""Image endpoints of the first generation: one image from several, and several views from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.v1.parts import ImageCount, ImageRatio, Images, WatermarkInfo
from kling_async.v1.rules import image_model, is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
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
    """One subject, already cut out: the vendor does not crop."""

    subject_image: Annotated[MediaInput, Meta(description="The subject", extra={"media": IMAGE})]


class MultiImageToImage(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """Images of up to four subjects in a scene, in a style: ``POST /v1/images/multi-image2image``.

    Takes n image slots.
    """

    model_name: Annotated[str, Meta(description="kling-v2-1")] = DEFAULT_MULTI_IMAGE_MODEL
    prompt: Annotated[str, Meta(max_length=2500, description="What to show")] | None = None
    negative_prompt: (
        Annotated[str, Meta(description="What to avoid; stands in a sample of the vendor's only")] | None
    ) = None
    subject_image_list: Annotated[
        tuple[SubjectImage, ...], Meta(min_length=1, max_length=4, description="The subjects")
    ]
    scene_image: Annotated[MediaInput, Meta(description="Where they are", extra={"media": IMAGE})] | None = (
        None
    )
    style_image: (
        Annotated[MediaInput, Meta(description="What the image should look like", extra={"media": IMAGE})]
        | None
    ) = None
    n: ImageCount = None
    aspect_ratio: ImageRatio = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def negative_may_be_ignored(r: MultiImageToImage) -> Iterator[Problem | Doubt]:
    """The vendor sends it in a sample, and never describes it."""
    if is_set(r.negative_prompt):
        yield Doubt("negative_prompt", "is not described by the vendor, who may ignore it")


MultiImageToImage.rules = (negative_may_be_ignored, image_model("multi_image_to_image"))


class ViewSet(Discreet, frozen=True, kw_only=True):
    """Three more views of a subject."""

    index: int = 0
    url_1: str = ""
    url_2: str = ""
    url_3: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses that are there."""
        return tuple(url for url in (self.url_1, self.url_2, self.url_3) if url)


class ViewSets(Result, frozen=True, kw_only=True):
    """Result of AI multi-shot: three sets of views to choose from."""

    images: tuple[ViewSet, ...] = ()

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
    """

    element_frontal_image: Annotated[
        MediaInput, Meta(description="The subject from the front", extra={"media": IMAGE})
    ]
