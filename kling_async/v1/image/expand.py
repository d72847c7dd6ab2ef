"""Image endpoints of the first generation: an image continued beyond its edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, TypedDict

from msgspec import Meta

from kling_async.errors import Problem, RequestInvalid
from kling_async.v1.parts import ImageCount, Images, WatermarkInfo
from kling_async.wire.checks import Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Expansion", "ImageExpand", "expansion"]

AREA_MAX: Final = 3.0
_TOLERANCE: Final = 0.001  # four ratios rounded to four decimals may pass the limit by so much
_DECIMALS: Final = 10_000


class Expansion(TypedDict):
    """How far an image is to grow on each side; for ``ImageExpand(..., **expansion(...))``."""

    up_expansion_ratio: float
    down_expansion_ratio: float
    left_expansion_ratio: float
    right_expansion_ratio: float


def expansion(width: float, height: float, *, area: float, aspect: float | None = None) -> Expansion:
    """Work out the ratios that bring an image to an area and a shape, the same on opposite sides.

    The new sides are ``W = sqrt(area * width * height * aspect)`` and ``H = W / aspect``; left and right are
    ``(W / width - 1) / 2``, up and down ``(H / height - 1) / 2``, all cut off after four decimals.

    Args:
        width: Of the image, in pixels.
        height: Likewise.
        area: Area of the new image as a multiple of the old one's, 1 to 3.
        aspect: Width / height of the new image; None keeps the shape.

    Raises:
        RequestInvalid: No image grows to that: the area is out of bounds, or too small for that shape.
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
    """Cut off after four decimals: rounded up, the area could pass what was asked for."""
    return max(0, math.floor(ratio * _DECIMALS + 1e-6)) / _DECIMALS


_Ends = Annotated[float, Meta(ge=0, le=2, extra={"unit": "multiples of the picture height"})]
_Sides = Annotated[float, Meta(ge=0, le=2, extra={"unit": "multiples of the picture width"})]


class ImageExpand(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """An image continued beyond its edges: ``POST /v1/images/editing/expand``. Takes n image slots.

    `expansion` works out the four ratios for a wanted size and shape.
    """

    image: Annotated[MediaInput, Meta(description="The image", extra={"media": IMAGE})]
    up_expansion_ratio: _Ends
    """Added above."""
    down_expansion_ratio: _Ends
    """Added below."""
    left_expansion_ratio: _Sides
    """Added on the left."""
    right_expansion_ratio: _Sides
    """Added on the right. The new image has at most three times the old one's area."""
    prompt: Annotated[str, Meta(max_length=2500, description="What is to be seen there")] | None = None
    n: ImageCount = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def area_is_at_most_three(r: ImageExpand) -> Iterator[Problem]:
    """The new image may cover at most three times the old one's area."""
    height = 1 + r.up_expansion_ratio + r.down_expansion_ratio
    area = height * (1 + r.left_expansion_ratio + r.right_expansion_ratio)
    if area > AREA_MAX + _TOLERANCE:
        text = f"the new image has {area:.4g} times the area; at most {AREA_MAX:g}, see v1.expansion()"
        yield Problem("right_expansion_ratio", text)


ImageExpand.rules = (area_is_at_most_three,)
