"""Fields that many answers share: numbers as text, prices paid, elements, voices and tags."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.state.items import Element, Voice

__all__ = ["Links", "UrlOf", "deductions", "element_fields", "number_text", "tag_fields", "voice_fields"]

UrlOf: TypeAlias = "Callable[[str], str]"
"""Returns the URL of a file by the file's name."""
Links: TypeAlias = "Callable[[str], UrlOf]"
"""Returns, by the id of a task, session or other owner of files, the function that gives their URLs."""

TAGS: Final = {
    "o_101": "hottest",
    "o_102": "character",
    "o_103": "animal",
    "o_104": "item",
    "o_105": "costume",
    "o_106": "scene",
    "o_107": "effect",
    "o_108": "others",
}
"""The vendor's tags of elements."""


def number_text(number: Decimal | float) -> str:
    """Return a number as the text that answers have in its place, without trailing zeros."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def deductions(units: Decimal) -> dict[str, Any]:
    """Return the two fields of an answer that tell the price paid, in units and in money."""
    return {
        "final_unit_deduction": number_text(units),
        "final_balance_deduction": {"quota": "0", "list_price": "0"},
    }


def voice_fields(voice: Voice, links: Links) -> dict[str, Any]:
    """Return the fields of a voice, as all answers show it."""
    return {
        "voice_id": voice.id,
        "voice_name": voice.name,
        "trial_url": links(voice.id)("trial.mp3"),
        "owned_by": voice.owned_by,
    }


def element_fields(element: Element, links: Links) -> dict[str, Any]:
    """Return the fields of an element, as all answers show it."""
    url_of, filmed = links(str(element.id)), element.kind == "video_refer"
    pictures = {
        "frontal_image": url_of("front.png"),
        "refer_images": [{"image_url": url_of(f"refer{i}.png")} for i in range(element.pictures)],
    }
    return {
        "element_id": element.id,
        "element_name": element.name,
        "element_description": element.description,
        "reference_type": element.kind,
        "element_image_list": {} if filmed else pictures,
        "element_video_list": {"refer_videos": [{"video_url": url_of("0.mp4")}]} if filmed else {},
        "element_voice_info": {} if element.voice is None else voice_fields(element.voice, links),
        "tag_list": [tag_fields(tag) for tag in element.tags],
        "owned_by": element.owned_by,
        "status": "deleted" if element.deleted else "succeed",
    }


def tag_fields(tag: str) -> dict[str, str]:
    """Return the fields of a tag, as all answers show it."""
    name = TAGS.get(tag, "others")
    return {"id": tag, "name": name, "description": f"Things tagged {name}"}
