"""Rules of pictures and elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.judging.rules.shared import names_point_somewhere

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES"]

LARGEST_AREA: Final = 3.0
"""Of an expanded picture, in old areas."""
AREA_TOLERANCE: Final = 1e-3
"""Ratios come rounded to four decimals."""


def picture_fields_agree(body: Body) -> None:
    """A way to use the picture needs one; with one there is no negative prompt."""
    if "image_reference" in body and "image" not in body:
        raise Refusal(1201, "image is required when image_reference is set")
    if "image" in body and "negative_prompt" in body:
        raise Refusal(1201, "negative_prompt is not supported together with image")


def ten_references(body: Body) -> None:
    """Elements and pictures together are at most 10."""
    pictures = len(body.get("image_list", ())) + ("image" in body)
    if len(body.get("element_list", ())) + pictures > 10:
        raise Refusal(1201, "element_list and image together must not exceed 10")


def three_times_the_area(body: Body) -> None:
    """The new picture covers at most three times the old one."""
    height = 1 + body["up_expansion_ratio"] + body["down_expansion_ratio"]
    width = 1 + body["left_expansion_ratio"] + body["right_expansion_ratio"]
    if height * width > LARGEST_AREA + AREA_TOLERANCE:
        raise Refusal(1201, "the expanded image must not exceed 3 times the area of the original")


def material_of_the_element(body: Body) -> None:
    """An element is made from pictures or from a video, as it says itself."""
    field = {"image_refer": "element_image_list", "video_refer": "element_video_list"}[body["reference_type"]]
    if field not in body:
        raise Refusal(1201, f"{field} is required when reference_type is {body['reference_type']}")


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "image_generation": (picture_fields_agree, ten_references),
    "omni_image": (ten_references, names_point_somewhere(image="image_list", element="element_list")),
    "image_expand": (three_times_the_area,),
    "custom_elements": (material_of_the_element,),
}
