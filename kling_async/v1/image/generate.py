"""Image endpoints of the first generation: image generation.

Field names, words and bounds are the API's own (reference pages of autumn 2026). A field left at None is not
sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import ElementRef, ImageCount, ImageRatio, Images, WatermarkInfo
from kling_async.v1.rules import image_model, image_row, together_at_most
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_IMAGE_MODEL", "ImageGeneration"]

DEFAULT_IMAGE_MODEL: Final = "kling-v3"
"""Sent where the caller names no model: the vendor's own default has changed before."""


class ImageGeneration(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """Images from a text, or from a text and one image: ``POST /v1/images/generations``.

    Takes n image slots.
    """

    model_name: Annotated[str, Meta(description="kling-v3 or kling-v2-1")] = DEFAULT_IMAGE_MODEL
    prompt: Annotated[str, Meta(max_length=2500, description="What to show")]
    negative_prompt: (
        Annotated[str, Meta(max_length=2500, description="What to avoid; not together with image")] | None
    ) = None
    image: (
        Annotated[
            MediaInput,
            Meta(description="Reference image; on kling-v2-1 it doubles the price", extra={"media": IMAGE}),
        ]
        | None
    ) = None
    image_reference: (
        Annotated[
            Literal["subject", "face"],
            Meta(
                description="What to keep of the image; face needs exactly one face in it",
                extra={"models": ("kling-v2-1",)},
            ),
        ]
        | None
    ) = None
    image_fidelity: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Higher follows the image more closely",
                extra={"default": 0.5, "models": ("kling-v2-1",)},
            ),
        ]
        | None
    ) = None
    human_fidelity: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="Higher keeps the face closer; read only when image_reference is subject",
                extra={"default": 0.45, "models": ("kling-v2-1",)},
            ),
        ]
        | None
    ) = None
    element_list: (
        Annotated[
            tuple[ElementRef, ...],
            Meta(
                max_length=10,
                description="Elements to use; with image at most 10 together",
                extra={"models": ("kling-v3",)},
            ),
        ]
        | None
    ) = None
    resolution: (
        Annotated[Literal["1k", "2k"], Meta(description="Size of the images", extra={"default": "1k"})] | None
    ) = None
    n: ImageCount = None
    aspect_ratio: ImageRatio = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def image_excludes_negative(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """The API takes a negative prompt for text alone."""
    if r.image and r.negative_prompt:
        yield Problem("negative_prompt", "is not allowed together with image")


def reference_needs_image(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """What to keep of an image means nothing without one."""
    if r.image_reference and not r.image:
        yield Problem("image", "is required when image_reference is set")
    if r.human_fidelity is not None and r.model_name == "kling-v2-1" and r.image_reference != "subject":
        yield Doubt("human_fidelity", "is read only when image_reference is 'subject'")


def fidelity_is_read(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """How close to stay to the image is of one model."""
    if image_row("image_generation", r.model_name) is None or r.model_name == "kling-v2-1":
        return
    for name in ("image_fidelity", "human_fidelity"):
        if getattr(r, name) is not None:
            yield Doubt(name, f"is documented for kling-v2-1, not for {r.model_name}")


def restyling_needs_an_image(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """One model makes nothing from a text alone."""
    if r.model_name == "kling-v2-new" and not r.image:
        yield Problem("image", "kling-v2-new only restyles an image")


def ended_models(r: ImageGeneration) -> Iterator[Problem | Doubt]:
    """What the models that ended never took; they may still answer."""
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
