"""Rules for images and elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.shared import check_prompt_names

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]

LARGEST_AREA: Final = 3.0
"""Largest area of an expanded image, as a multiple of the original area."""
AREA_TOLERANCE: Final = 1e-3
"""Slack for the expansion ratios, which clients round to four decimals."""


def check_image_reference(body: Body) -> None:
    """Require an image when image_reference is set, and refuse a negative prompt beside an image."""
    if "image_reference" in body and "image" not in body:
        raise Refusal(1201, "image is required when image_reference is set")
    if "image" in body and "negative_prompt" in body:
        raise Refusal(1201, "negative_prompt is not supported together with image")


def check_reference_count(body: Body) -> None:
    """Refuse more than 10 elements and images together."""
    pictures = len(body.get("image_list", ())) + ("image" in body)
    if len(body.get("element_list", ())) + pictures > 10:
        raise Refusal(1201, "element_list and image together must not exceed 10")


def check_expanded_area(body: Body) -> None:
    """Refuse an expanded image of more than three times the original area."""
    height = 1 + body["up_expansion_ratio"] + body["down_expansion_ratio"]
    width = 1 + body["left_expansion_ratio"] + body["right_expansion_ratio"]
    if height * width > LARGEST_AREA + AREA_TOLERANCE:
        raise Refusal(1201, "the expanded image must not exceed 3 times the area of the original")


def check_element_material(body: Body) -> None:
    """Require the images or the video that reference_type announces."""
    field = {"image_refer": "element_image_list", "video_refer": "element_video_list"}[body["reference_type"]]
    if field not in body:
        raise Refusal(1201, f"{field} is required when reference_type is {body['reference_type']}")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "image_generation": (check_image_reference, check_reference_count),
    "omni_image": (check_reference_count, check_prompt_names(image="image_list", element="element_list")),
    "image_expand": (check_expanded_area,),
    "custom_elements": (check_element_material,),
}
