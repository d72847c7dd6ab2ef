"""Image endpoints of the first generation: omni image, from many references, single or as a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import IMAGE_COUNT, ElementRef, Image, InputImage, WatermarkInfo
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
    """The images, unless they are a series."""
    series_images: tuple[Image, ...] = ()
    """The images of a series, in its order."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the images, those of a series first."""
        found = (*self.series_images, *self.images)
        urls = (i.watermark_url if watermarked else i.url for i in found)
        return tuple(File(url, ".png", str(at)) for at, url in enumerate(urls) if url)


_SERIES: Final = Meta(extra={"default": 4})
_AUTO: Final = Meta(extra={"default": "auto"})


class OmniImage(TaskRequest[OmniImages], frozen=True, kw_only=True, omit_defaults=True):
    """Images from a text, images and elements: ``POST /v1/images/omni-image``.

    Takes n image slots; a series takes series_amount, with ``"auto"`` 9 are reserved.

    Args:
        prompt: Text of the images, at most 2500 characters. ``<<<image_1>>>`` and ``<<<element_1>>>`` name
            entries of the lists, from 1.
        image_list: At most 10 reference images; together with element_list at most 10.
        element_list: At most 10 elements made from images; together with image_list at most 10.
        model_name: ``kling-v3-omni`` or ``kling-image-o1``. Default: kling-v3-omni.
        n: Number of images, and of slots, 1 to 9; not read for a series. Default: 1.
        aspect_ratio: Width to height; ``auto`` is for requests with references. Default: auto.
        resolution: Size of the images; ``4k`` on kling-v3-omni only. Default: 1k.
        result_type: ``series``: images that belong together, on kling-v3-omni only. Default: single.
        series_amount: Number of images of a series, and of slots; ``auto`` lets the model choose. Default: 4.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "omni_image"

    prompt: Annotated[str, Meta(max_length=2500)]
    image_list: Annotated[tuple[InputImage, ...], Meta(max_length=10)] | None = None
    element_list: Annotated[tuple[ElementRef, ...], Meta(max_length=10)] | None = None
    model_name: str = DEFAULT_OMNI_IMAGE_MODEL
    n: Annotated[int, IMAGE_COUNT] | None = None
    aspect_ratio: (
        Annotated[Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"], _AUTO] | None
    ) = None
    resolution: Annotated[Literal["1k", "2k", "4k"], Meta(extra={"default": "1k"})] | None = None
    result_type: Annotated[Literal["single", "series"], Meta(extra={"default": "single"})] | None = None
    series_amount: Annotated[Literal[2, 3, 4, 5, 6, 7, 8, 9, "auto"], _SERIES] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]

    @property
    def amount(self) -> int:
        """Greatest number of images that the request makes, which is the number of slots it takes."""
        if self.result_type != "series":
            return self.n or 1
        return 9 if self.series_amount == "auto" else self.series_amount or 4


def count_is_read(r: OmniImage) -> Iterator[Problem | Doubt]:
    """Warn of the count that is not read: n counts single images, series_amount a series."""
    if r.result_type == "series" and r.n is not None:
        yield Doubt("n", "is ignored by the vendor when result_type is 'series'")
    if r.result_type != "series" and r.series_amount is not None:
        yield Doubt("series_amount", "is ignored by the vendor unless result_type is 'series'")


def series_needs_its_model(r: OmniImage) -> Iterator[Problem | Doubt]:
    """Refuse a series on models that make none."""
    row = image_row("omni_image", r.model_name)
    if r.result_type == "series" and row is not None and not row.series:
        yield Problem("result_type", f"{row.model} makes no series; kling-v3-omni does")


def frame_is_fixed_for_text(r: OmniImage) -> Iterator[Problem | Doubt]:
    """Warn of aspect_ratio ``auto`` for a text alone: the vendor calls it the default and forbids it."""
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
