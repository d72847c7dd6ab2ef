"""Synchronous calls on media: faces in a video, masks of a person, and text to speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.calls.fields import deductions, number_text
from kling_async.emulator.footage.files import MediaOwner
from kling_async.emulator.footage.shapes import WIDE
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import Audio, Clip, Face, Faces
from kling_async.emulator.state.lookups import video_of

if TYPE_CHECKING:
    from kling_async.emulator.calls.context import Body, CallContext, SyncCall

__all__ = ["CALLS"]

SECONDS_PER_LETTER: Final = 0.095
"""Length of speech at normal speed."""
SPEECH_MAX_S: Final = 60.0
LONGEST_TALK_S: Final = 60.0
"""Longest video in which faces are searched."""
SECOND_FACE_S: Final = 4.0
"""Videos of this length and more show a second face from the middle on."""


def identify_face(context: CallContext, body: Body) -> Body:
    """Find one face in a video, and in longer videos a second one that appears half way."""
    clip = video_of(body, context.library, high=LONGEST_TALK_S)
    session = Faces(id=context.library.new_id(), clip=clip, faces=_faces_in(clip), made=context.clock.time())
    context.library.add(session)
    url_of = context.links(session.id)
    found = [
        {
            "face_id": face.id,
            "face_image": url_of(f"face{face.id}.png"),
            "start_time": face.start_ms,
            "end_time": face.end_ms,
        }
        for face in session.faces
    ]
    return {"session_id": session.id, **deductions(context.units), "face_data": found}


def _faces_in(clip: Clip) -> list[Face]:
    end = round(clip.seconds * 1000)
    faces = [Face(id="0", start_ms=0, end_ms=end)]
    return [*faces, Face(id="1", start_ms=end // 2, end_ms=end)] if clip.seconds >= SECOND_FACE_S else faces


def image_recognize(context: CallContext, body: Body) -> Body:  # noqa: ARG001 - the picture is not examined
    """Return the masks of a person: object, head and face. Clothes are never found."""
    call_id = context.library.new_id()
    context.library.call_media[call_id] = MediaOwner(call_id, context.clock.time(), aspect=WIDE)
    url_of = context.links(call_id)
    masks = [
        {
            "type": f"{part}_seg",
            "is_contain": part != "cloth",
            "url": url_of(f"{part}.png") if part != "cloth" else "",
        }
        for part in ("object", "head", "face", "cloth")
    ]
    return {**deductions(context.units), "task_result": {"images": masks}}


def text_to_speech(context: CallContext, body: Body) -> Body:
    """Speak a text; avatars and lip sync take the id of the sound."""
    voice_id = body["voice_id"]
    if voice_id in context.library.voices:
        # Voices of elements are a separate set, although their field has the same name.
        raise Refusal(1201, "Voice id not found")
    speed = min(max(body["voice_speed"], 0.8), 2.0)  # the vendor rounds to these bounds instead of refusing
    seconds = min(max(0.5, round(SECONDS_PER_LETTER * len(body["text"]) / speed, 1)), SPEECH_MAX_S)
    task_id, now, now_ms = context.library.new_id(), context.clock.time(), context.clock.wall_ms()
    audio = Audio(id=context.library.new_id(), seconds=seconds, made=now)
    context.library.add(audio)
    context.library.call_media[task_id] = MediaOwner(task_id, now, seconds, text=body["text"])
    url = context.links(task_id)("0.mp3")
    sound = {"id": audio.id, "url": url, "duration": number_text(seconds)}
    return {
        "task_id": task_id,
        "task_status": "succeed",
        "task_status_msg": "",
        "task_result": {"audios": [sound]},
        **deductions(context.units),
        "created_at": now_ms,
        "updated_at": now_ms,
    }


CALLS: Final[dict[str, SyncCall]] = {
    "identify_face": identify_face,
    "image_recognize": image_recognize,
    "text_to_speech": text_to_speech,
}
"""Calls on media, by endpoint."""
