"""Image endpoints of the first generation: continue an image beyond its edges."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypedDict

from msgspec import Meta

from kling_async.errors import Problem, RequestInvalid
from kling_async.v1.parts import IMAGE_COUNT, Images, WatermarkInfo
from kling_async.wire.checks import Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Expansion", "ImageExpand", "expansion"]

AREA_MAX: Final = 3.0
_TOLERANCE: Final = 0.001  # four ratios rounded to four decimals may exceed the limit by this much
_DECIMALS: Final = 10_000


class Expansion(TypedDict):
    """How far an image grows on each side, for ``ImageExpand(..., **expansion(...))``."""

    up_expansion_ratio: float
    down_expansion_ratio: float
    left_expansion_ratio: float
    right_expansion_ratio: float


def expansion(width: float, height: float, *, area: float, aspect: float | None = None) -> Expansion:
    """Work out the ratios by which an image grows to an area and a shape, the same on opposite sides.

    The new sides are ``W = sqrt(area * width * height * aspect)`` and ``H = W / aspect``; left and right are
    ``(W / width - 1) / 2``, up and down ``(H / height - 1) / 2``, all cut off after four decimals.

    Args:
        width: Width of the image, in pixels.
        height: Height of the image, in pixels.
        area: Area of the new image as a multiple of the old one's, 1 to 3.
        aspect: Width / height of the new image; None keeps the shape.

    Raises:
        RequestInvalid: The area is out of bounds, or too small for that shape.
    """
    old = width / height if width > 0 and height > 0 else math.nan
    new = old if aspect is None else aspect
    if not (0 < old < math.inf and 0 < new < math.inf):
        raise RequestInvalid("expansion", [Problem("aspect", "sides and shape must be numbers above 0")])
    if not 1 <= area <= AREA_MAX:
        raise RequestInvalid("expansion", [Problem("area", f"{area:g} is not from 1 to {AREA_MAX:g}")])
    wider, higher = math.sqrt(area * new / old), math.sqrt(area * old / new)
    if min(wider, higher) < 1 - 1 / _DECIMALS:
        least = max(new / old, old / new)
        raise RequestInvalid("expansion", [Problem("area", f"that shape needs at least {least:.4g}")])
    sides, ends = _cut((wider - 1) / 2), _cut((higher - 1) / 2)
    return {
        "up_expansion_ratio": ends,
        "down_expansion_ratio": ends,
        "left_expansion_ratio": sides,
        "right_expansion_ratio": sides,
    }


def _cut(ratio: float) -> float:
    """Cut a ratio off after four decimals: rounded up, the area could exceed the one asked for."""
    return max(0, math.floor(ratio * _DECIMALS + 1e-6)) / _DECIMALS


_ENDS: Final = Meta(ge=0, le=2, extra={"unit": "multiples of the picture height"})
_SIDES: Final = Meta(ge=0, le=2, extra={"unit": "multiples of the picture width"})


class ImageExpand(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """An image continued beyond its edges: ``POST /v1/images/editing/expand``. Takes n image slots.

    The new image has at most three times the area of the old one. `expansion` works out the four ratios for
    a wanted size and shape.

    Args:
        image: The image.
        up_expansion_ratio: Added above, 0 to 2 multiples of the picture height.
        down_expansion_ratio: Added below, 0 to 2 multiples of the picture height.
        left_expansion_ratio: Added on the left, 0 to 2 multiples of the picture width.
        right_expansion_ratio: Added on the right, 0 to 2 multiples of the picture width.
        prompt: Text of what the new parts show, at most 2500 characters.
        n: Number of images, and of slots, 1 to 9. Default: 1.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "image_expand"

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    up_expansion_ratio: Annotated[float, _ENDS]
    down_expansion_ratio: Annotated[float, _ENDS]
    left_expansion_ratio: Annotated[float, _SIDES]
    right_expansion_ratio: Annotated[float, _SIDES]
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    n: Annotated[int, IMAGE_COUNT] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def area_is_at_most_three(r: ImageExpand) -> Iterator[Problem]:
    """Refuse a new image of more than three times the area of the old one."""
    height = 1 + r.up_expansion_ratio + r.down_expansion_ratio
    area = height * (1 + r.left_expansion_ratio + r.right_expansion_ratio)
    if area > AREA_MAX + _TOLERANCE:
        text = f"the new image has {area:.4g} times the area; at most {AREA_MAX:g}, see v1.expansion()"
        yield Problem("right_expansion_ratio", text)


ImageExpand.rules = (area_is_at_most_three,)
