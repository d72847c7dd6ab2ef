"""Image endpoints of the first generation: omni image, from many references, alone or as a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import ElementRef, Image, InputImage, WatermarkInfo
from kling_async.v1.rules import image_model, image_row, is_set, placeholders, together_at_most
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.requests import File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_OMNI_IMAGE_MODEL", "OmniImage", "OmniImages"]

DEFAULT_OMNI_IMAGE_MODEL: Final = "kling-v3-omni"
"""Sent where the caller names no model."""


class OmniImages(Result, frozen=True, kw_only=True):
    """Result of omni image: either images, or series_images that belong together."""

    result_type: str = ""
    """``single`` or ``series``."""
    images: tuple[Image, ...] = ()
    series_images: tuple[Image, ...] = ()
    """In the order of the series."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the images, those of a series first."""
        found = (*self.series_images, *self.images)
        urls = (i.watermark_url if watermarked else i.url for i in found)
        return tuple(File(url, ".png", str(at)) for at, url in enumerate(urls) if url)


class OmniImage(TaskRequest[OmniImages], frozen=True, kw_only=True, omit_defaults=True):
    """Images from a text, images and elements: ``POST /v1/images/omni-image``.

    Takes n image slots; a series takes series_amount, with ``"auto"`` 9 are reserved.
    """

    model_name: Annotated[str, Meta(description="kling-v3-omni or kling-image-o1")] = DEFAULT_OMNI_IMAGE_MODEL
    prompt: Annotated[
        str,
        Meta(
            max_length=2500,
            description="What to show; <<<image_1>>> and <<<element_1>>> name what is in the lists, from 1",
        ),
    ]
    image_list: (
        Annotated[
            tuple[InputImage, ...],
            Meta(max_length=10, description="Reference images; with element_list at most 10 together"),
        ]
        | None
    ) = None
    element_list: (
        Annotated[
            tuple[ElementRef, ...],
            Meta(max_length=10, description="Elements made from images; with image_list at most 10 together"),
        ]
        | None
    ) = None
    resolution: (
        Annotated[
            Literal["1k", "2k", "4k"],
            Meta(description="Size of the images; 4k on kling-v3-omni only", extra={"default": "1k"}),
        ]
        | None
    ) = None
    result_type: (
        Annotated[
            Literal["single", "series"],
            Meta(
                description="series: images that belong together; on kling-v3-omni only",
                extra={"default": "single"},
            ),
        ]
        | None
    ) = None
    n: (
        Annotated[
            int,
            Meta(ge=1, le=9, description="How many images, and slots; not of a series", extra={"default": 1}),
        ]
        | None
    ) = None
    series_amount: (
        Annotated[
            Literal[2, 3, 4, 5, 6, 7, 8, 9, "auto"],
            Meta(
                description="Images of a series, and slots; auto lets the model choose", extra={"default": 4}
            ),
        ]
        | None
    ) = None
    aspect_ratio: (
        Annotated[
            Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"],
            Meta(description="Frame; auto is for calls with references", extra={"default": "auto"}),
        ]
        | None
    ) = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]

    @property
    def amount(self) -> int:
        """The most images it makes: as many slots as it takes."""
        if self.result_type != "series":
            return self.n or 1
        return 9 if self.series_amount == "auto" else self.series_amount or 4


def count_is_read(r: OmniImage) -> Iterator[Problem | Doubt]:
    """Single images and series are counted by fields of their own."""
    if r.result_type == "series" and r.n is not None:
        yield Doubt("n", "is ignored by the vendor when result_type is 'series'")
    if r.result_type != "series" and r.series_amount is not None:
        yield Doubt("series_amount", "is ignored by the vendor unless result_type is 'series'")


def series_needs_its_model(r: OmniImage) -> Iterator[Problem | Doubt]:
    """Only some models make series."""
    row = image_row("omni_image", r.model_name)
    if r.result_type == "series" and row is not None and not row.series:
        yield Problem("result_type", f"{row.model} makes no series; kling-v3-omni does")


def frame_is_fixed_for_text(r: OmniImage) -> Iterator[Problem | Doubt]:
    """The vendor says of ``auto`` both that it is the default and that text alone cannot have it."""
    if r.aspect_ratio in (None, "auto") and not is_set(r.image_list) and not is_set(r.element_list):
        yield Doubt("aspect_ratio", "may not be 'auto', the default, without references: choose a fixed one")


OmniImage.rules = (
    placeholders(image="image_list", element="element_list"),
    together_at_most(10, "image_list", "element_list"),
    count_is_read,
    image_model("omni_image", "element_list"),
    series_needs_its_model,
    frame_is_fixed_for_text,
)
