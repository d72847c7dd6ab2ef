"""The calls that are answered at once: faces, masks, speech, and the library of elements and voices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_async.emulator.calls import billing, selections
from kling_async.emulator.calls.results import deductions, element_look, plain, tag_look, voice_look
from kling_async.emulator.footage.files import Shelf
from kling_async.emulator.footage.shapes import WIDE
from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.state.library import Audio, Clip, Element, Face, Faces, OldElement, Voice
from kling_async.emulator.state.lookups import video_of

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, Call, Desk

__all__ = ["CALLS"]

_Item = TypeVar("_Item")

SECONDS_PER_LETTER: Final = 0.095
"""Of speech at its usual speed."""
SPEECH_MAX_S: Final = 60.0
LONGEST_TALK_S: Final = 60.0
SECOND_FACE_S: Final = 4.0
"""Seconds of video from which on a second face comes in, half way."""


# --- pictures and faces ------------------------------------------------------------------------


def identify_face(desk: Desk, body: Body) -> Body:
    """Find one face, in longer videos a second one that comes in half way."""
    clip = video_of(body, desk.library, high=LONGEST_TALK_S)
    session = Faces(id=desk.library.new_id(), clip=clip, faces=_faces_in(clip), made=desk.clock.time())
    desk.library.keep(session)
    url_of = desk.links(session.id)
    found = [
        {
            "face_id": face.id,
            "face_image": url_of(f"face{face.id}.png"),
            "start_time": face.start_ms,
            "end_time": face.end_ms,
        }
        for face in session.faces
    ]
    return {"session_id": session.id, **deductions(desk.units), "face_data": found}


def _faces_in(clip: Clip) -> list[Face]:
    end = round(clip.seconds * 1000)
    faces = [Face(id="0", start_ms=0, end_ms=end)]
    return [*faces, Face(id="1", start_ms=end // 2, end_ms=end)] if clip.seconds >= SECOND_FACE_S else faces


def image_recognize(desk: Desk, body: Body) -> Body:  # noqa: ARG001 - nobody looks at the picture
    """Return the masks of a person without seen clothes."""
    its_id = desk.library.new_id()
    desk.library.shelves[its_id] = Shelf(its_id, desk.clock.time(), aspect=WIDE)
    url_of = desk.links(its_id)
    masks = [
        {
            "type": f"{part}_seg",
            "is_contain": part != "cloth",
            "url": url_of(f"{part}.png") if part != "cloth" else "",
        }
        for part in ("object", "head", "face", "cloth")
    ]
    return {**deductions(desk.units), "task_result": {"images": masks}}


# --- speech ------------------------------------------------------------------------------------


def text_to_speech(desk: Desk, body: Body) -> Body:
    """Speak a text; the sound's id can be used by avatars and lip sync."""
    voice_id = body["voice_id"]
    if voice_id in desk.library.voices:  # voices of the elements are another namespace
        raise Refusal(1201, "Voice id not found")
    speed = min(max(body["voice_speed"], 0.8), 2.0)
    seconds = min(max(0.5, round(SECONDS_PER_LETTER * len(body["text"]) / speed, 1)), SPEECH_MAX_S)
    task_id, now, now_ms = desk.library.new_id(), desk.clock.time(), desk.clock.wall_ms()
    audio = Audio(id=desk.library.new_id(), seconds=seconds, made=now)
    desk.library.keep(audio)
    desk.library.shelves[task_id] = Shelf(task_id, now, seconds, text=body["text"])
    sound = {"id": audio.id, "url": desk.links(task_id)("0.mp3"), "duration": plain(seconds)}
    return {
        "task_id": task_id,
        "task_status": "succeed",
        "task_status_msg": "",
        "task_result": {"audios": [sound]},
        **deductions(desk.units),
        "created_at": now_ms,
        "updated_at": now_ms,
    }


# --- the library -------------------------------------------------------------------------------


def preset_elements(desk: Desk, body: Body) -> list[Body]:
    """One page of the official elements, each in the form of a task."""
    official = [element for element in desk.library.elements.values() if element.owned_by == "kling"]
    return [_preset(e, {"elements": [element_look(e, desk.links)]}) for e in _page(official, body)]


def preset_voices(desk: Desk, body: Body) -> list[Body]:
    """One page of the official voices, likewise."""
    official = [voice for voice in desk.library.voices.values() if voice.owned_by == "kling"]
    return [_preset(v, {"voices": [voice_look(v, desk.links)]}) for v in _page(official, body)]


def delete_element(desk: Desk, body: Body) -> Body:
    """Delete an element of one's own; its id comes as text."""
    text = body["element_id"]
    return _deleted(desk.library.element(int(text) if text.isdecimal() else -1))


def delete_voice(desk: Desk, body: Body) -> Body:
    """Delete a voice of one's own."""
    return _deleted(desk.library.voice(body["voice_id"]))


def _deleted(thing: Element | Voice) -> Body:
    if thing.owned_by == "kling":
        raise Refusal(1201, f"{thing.id} cannot be deleted: it belongs to the official library")
    thing.deleted = True
    return {"task_id": thing.task_id, "task_status": "succeed"}


def _preset(thing: Element | Voice, result: dict[str, Any]) -> Body:
    return {
        "task_id": thing.task_id,
        "task_status": "succeed",
        "task_result": result,
        "created_at": thing.made_ms,
        "updated_at": thing.made_ms,
    }


def _page(things: list[_Item], body: Body) -> list[_Item]:
    first = (body["pageNum"] - 1) * body["pageSize"]
    return things[first : first + body["pageSize"]]


# --- elements of the first service -------------------------------------------------------------


def make_old_element(desk: Desk, body: Body) -> Body:
    """Make an element at once. Its number is small, and unknown to everything newer."""
    made = OldElement(id=160 + len(desk.library.old_elements), body=body)
    desk.library.old_elements.append(made)
    return _old_look(desk, made)


def list_old_elements(desk: Desk, body: Body) -> list[Body]:
    """One page of them, newest first."""
    return [_old_look(desk, element) for element in _page(desk.library.old_elements[::-1], body)]


def preset_old_elements(desk: Desk, body: Body) -> list[Body]:
    """One page of the official ones."""
    fields = {"element_name": "Preset", "element_description": "One of the official library"}
    pictures = {"element_frontal_image": "", "element_refer_list": [{}], "tag_list": [{"tag_id": "o_102"}]}
    official = [OldElement(id=i, body=fields | pictures, owned_by="kling") for i in range(1, 6)]
    return [_old_look(desk, element) for element in _page(official, body)]


def _old_look(desk: Desk, element: OldElement) -> Body:
    its_id, body = f"element-{element.id}", element.body
    desk.library.shelves[its_id] = Shelf(its_id, float("inf"), aspect="1:1")
    url_of = desk.links(its_id)
    refers = range(len(body["element_refer_list"]))
    return {
        "element_id": element.id,
        "element_name": body["element_name"],
        "element_description": body["element_description"],
        "element_frontal_image": url_of("front.png"),
        "element_refer_list": [{"image_url": url_of(f"refer{i}.png")} for i in refers],
        "tag_list": [tag_look(tag["tag_id"]) for tag in body.get("tag_list", ())],
        "owned_by": element.owned_by,
    }


CALLS: Final[dict[str, Call]] = {
    "identify_face": identify_face,
    "image_recognize": image_recognize,
    "text_to_speech": text_to_speech,
    "custom_elements.presets": preset_elements,
    "custom_elements.delete": delete_element,
    "custom_elements.delete_alias": delete_element,
    "custom_elements_v0": make_old_element,
    "custom_elements_v0.list": list_old_elements,
    "custom_elements_v0.presets": preset_old_elements,
    "custom_elements_v0.delete": delete_element,
    "custom_voices.presets": preset_voices,
    "custom_voices.delete": delete_voice,
    **selections.CALLS,
    **billing.CALLS,
}
"""What each of them does."""
