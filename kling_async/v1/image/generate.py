"""Image endpoints of the first generation: image generation.

Field names, words and bounds are the API's own (reference pages of autumn 2026). A field left at None is not
sent: the vendor's default applies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import IMAGE_COUNT, IMAGE_RATIO, ElementRef, Images, WatermarkInfo
from kling_async.v1.rules import image_model, image_row, together_at_most
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_IMAGE_MODEL", "ImageGeneration"]

DEFAULT_IMAGE_MODEL: Final = "kling-v3"
"""Sent where the caller names no model: the vendor's own default has changed before."""


_FIDELITY: Final = Meta(ge=0, le=1, extra={"default": 0.5, "models": ("kling-v2-1",)})
_FACE_FIDELITY: Final = Meta(ge=0, le=1, extra={"default": 0.45, "models": ("kling-v2-1",)})


class ImageGeneration(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """Images from a text, or from a text and one image: ``POST /v1/images/generations``.

    Takes n image slots.

    Args:
        prompt: Text of the images, at most 2500 characters.
        image: Reference image; on kling-v2-1 it doubles the price.
        model_name: ``kling-v3`` or ``kling-v2-1``. Default: kling-v3.
        n: Number of images, and of slots, 1 to 9. Default: 1.
        aspect_ratio: Width to height. Default: 16:9.
        resolution: Size of the images. Default: 1k.
        negative_prompt: What to avoid, at most 2500 characters. Not together with image.
        element_list: At most 10 elements, on kling-v3; image and elements together are at most 10.
        image_reference: What to keep of the image, on kling-v2-1: ``subject``, or ``face``, which needs
            exactly one face in the image.
        image_fidelity: How closely to follow the image, 0 to 1, on kling-v2-1. Default: 0.5.
        human_fidelity: How closely to keep the face, 0 to 1, on kling-v2-1; read only when image_reference
            is ``subject``. Default: 0.45.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "image_generation"

    prompt: Annotated[str, Meta(max_length=2500)]
    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    model_name: str = DEFAULT_IMAGE_MODEL
    n: Annotated[int, IMAGE_COUNT] | None = None
    aspect_ratio: (
        Annotated[Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"], IMAGE_RATIO] | None
    ) = None
    resolution: Annotated[Literal["1k", "2k"], Meta(extra={"default": "1k"})] | None = None
    negative_prompt: Annotated[str, Meta(max_length=2500)] | None = None
    element_list: (
        Annotated[tuple[ElementRef, ...], Meta(max_length=10, extra={"models": ("kling-v3",)})] | None
    ) = None
    image_reference: Annotated[Literal["subject", "face"], Meta(extra={"models": ("kling-v2-1",)})] | None = (
        None
    )
    image_fidelity: Annotated[float, _FIDELITY] | None = None
    human_fidelity: Annotated[float, _FACE_FIDELITY] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def image_excludes_negative(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """Refuse a negative prompt beside an image: the API takes it for a text alone."""
    if r.image and r.negative_prompt:
        yield Problem("negative_prompt", "is not allowed together with image")


def reference_needs_image(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """Require an image with image_reference; warn of human_fidelity that is not read."""
    if r.image_reference and not r.image:
        yield Problem("image", "is required when image_reference is set")
    if r.human_fidelity is not None and r.model_name == "kling-v2-1" and r.image_reference != "subject":
        yield Doubt("human_fidelity", "is read only when image_reference is 'subject'")


def fidelity_is_read(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """Warn of image_fidelity and human_fidelity on models other than kling-v2-1."""
    if image_row("image_generation", r.model_name) is None or r.model_name == "kling-v2-1":
        return
    for name in ("image_fidelity", "human_fidelity"):
        if getattr(r, name) is not None:
            yield Doubt(name, f"is documented for kling-v2-1, not for {r.model_name}")


def restyling_needs_an_image(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """Require an image on kling-v2-new: it makes nothing from a text alone."""
    if r.model_name == "kling-v2-new" and not r.image:
        yield Problem("image", "kling-v2-new only restyles an image")


def ended_models(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """Refuse values that the models announced to end never took; these models may still answer."""
    if r.model_name == "kling-v1" and r.aspect_ratio == "21:9":
        yield Problem("aspect_ratio", "kling-v1 has no 21:9")
    if r.model_name == "kling-v1-5" and r.image and not r.image_reference:
        yield Problem("image_reference", "kling-v1-5 needs it with image; 'subject' or 'face'")
    if r.model_name == "kling-v2" and r.image and r.resolution == "2k":
        yield Problem("resolution", "kling-v2 makes 2k of a text only: with image it keeps the image's size")


ImageGeneration.rules = (
    image_excludes_negative,
    reference_needs_image,
    together_at_most(10, "image", "element_list"),
    image_model("image_generation", "image_reference", "element_list", unsure=("element_list",)),
    fidelity_is_read,
    restyling_needs_an_image,
    ended_models,
)
