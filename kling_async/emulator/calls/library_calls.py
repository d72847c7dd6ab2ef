"""Synchronous calls on the library: preset elements and voices, deletions, and the first element service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_async.emulator.calls.fields import element_fields, tag_fields, voice_fields
from kling_async.emulator.footage.files import MediaOwner
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import Element, OldElement, Voice

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, CallContext, SyncCall

__all__ = ["CALLS"]

_Item = TypeVar("_Item")

FIRST_OLD_ELEMENT: Final = 160
"""Id of the first element that the account makes with the first service; that service has small ids."""


# --- elements and voices -----------------------------------------------------------------------


def preset_elements(context: CallContext, body: Body) -> list[Body]:
    """Return one page of the vendor's preset elements, each in the form of a task."""
    official = [element for element in context.library.elements.values() if element.owned_by == "kling"]
    return [
        _as_task(element, {"elements": [element_fields(element, context.links)]})
        for element in _page(official, body)
    ]


def preset_voices(context: CallContext, body: Body) -> list[Body]:
    """Return one page of the vendor's preset voices, each in the form of a task."""
    official = [voice for voice in context.library.voices.values() if voice.owned_by == "kling"]
    return [
        _as_task(voice, {"voices": [voice_fields(voice, context.links)]}) for voice in _page(official, body)
    ]


def delete_element(context: CallContext, body: Body) -> None:
    """Delete an element of the account; the API takes its numeric id as text, and answers without data."""
    text = body["element_id"]
    element_id = int(text) if text.isdecimal() else -1
    element = context.library.elements.get(element_id)
    if element is not None and element.deleted:
        raise Refusal(1201, f"Element already be deleted for id: {element_id}")
    _delete(context.library.element(element_id))


def delete_voice(context: CallContext, body: Body) -> Body:
    """Delete a voice of the account."""
    voice = context.library.voice(body["voice_id"])
    _delete(voice)
    return {"task_id": voice.task_id, "task_status": "succeed"}


def _delete(item: Element | Voice) -> None:
    if item.owned_by == "kling":
        raise Refusal(1201, f"{item.id} cannot be deleted: it belongs to the official library")
    item.deleted = True


def _as_task(item: Element | Voice, result: dict[str, Any]) -> Body:
    return {
        "task_id": item.task_id,
        "task_status": "succeed",
        "task_result": result,
        "created_at": item.made_ms,
        "updated_at": item.made_ms,
    }


def _page(items: list[_Item], body: Body) -> list[_Item]:
    first = (body["pageNum"] - 1) * body["pageSize"]
    return items[first : first + body["pageSize"]]


# --- elements of the first service -------------------------------------------------------------


def make_old_element(context: CallContext, body: Body) -> Body:
    """Make an element of the first service at once, with a small id that the newer endpoints do not know."""
    made = OldElement(id=FIRST_OLD_ELEMENT + len(context.library.old_elements), body=body)
    context.library.old_elements.append(made)
    return _old_fields(context, made)


def list_old_elements(context: CallContext, body: Body) -> list[Body]:
    """Return one page of the account's elements of the first service, newest first."""
    return [_old_fields(context, element) for element in _page(context.library.old_elements[::-1], body)]


def preset_old_elements(context: CallContext, body: Body) -> list[Body]:
    """Return one page of the vendor's preset elements of the first service."""
    fields = {"element_name": "Preset", "element_description": "One of the official library"}
    pictures = {"element_frontal_image": "", "element_refer_list": [{}], "tag_list": [{"tag_id": "o_102"}]}
    official = [OldElement(id=i, body=fields | pictures, owned_by="kling") for i in range(1, 6)]
    return [_old_fields(context, element) for element in _page(official, body)]


def _old_fields(context: CallContext, element: OldElement) -> Body:
    owner_id, body = f"element-{element.id}", element.body
    context.library.call_media[owner_id] = MediaOwner(owner_id, float("inf"), aspect="1:1")
    url_of = context.links(owner_id)
    refers = range(len(body["element_refer_list"]))
    return {
        "element_id": element.id,
        "element_name": body["element_name"],
        "element_description": body["element_description"],
        "element_frontal_image": url_of("front.png"),
        "element_refer_list": [{"image_url": url_of(f"refer{i}.png")} for i in refers],
        "tag_list": [tag_fields(tag["tag_id"]) for tag in body.get("tag_list", ())],
        "owned_by": element.owned_by,
    }


CALLS: Final[dict[str, SyncCall]] = {
    "custom_elements.presets": preset_elements,
    "custom_elements.delete": delete_element,
    "custom_elements.delete_alias": delete_element,
    "custom_elements_v0": make_old_element,
    "custom_elements_v0.list": list_old_elements,
    "custom_elements_v0.presets": preset_old_elements,
    "custom_elements_v0.delete": delete_element,
    "custom_voices.presets": preset_voices,
    "custom_voices.delete": delete_voice,
}
"""Calls on the library, by endpoint."""
