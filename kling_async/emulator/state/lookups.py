"""What a create names that was made earlier: it must exist, be young enough, and be fit for the use.

Each function gets the fields that are set, judged already, and returns what the task works on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.judging.media import decoded, is_url
from kling_async.emulator.judging.rules.speech import CUT_MS
from kling_async.emulator.judging.sounds import sound_seconds
from kling_async.emulator.state.library import UNSEEN_SECONDS, Clip, Editing, Element, Library, Voice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOOKUPS", "Source", "look_up", "video_of"]

Body = dict[str, Any]

EXTENDED_MODELS: Final = ("kling-v1", "kling-v1-5", "kling-v1-6")
EXTENDED_ENDPOINTS: Final = ("text_to_video", "image_to_video", "video_extend")
EXTENDED_BY: Final = 5.0
LONGEST_EXTENDED: Final = 180.0
SPEAKING_ENDPOINTS: Final = ("avatar", "lip_sync", "advanced_lip_sync")
SOUND_SLACK_MS: Final = 100
"""Lengths of sounds are told in tenths of a second."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a task works on."""

    clip: Clip | None = None
    seconds: float | None = None
    """Length of what will be made, where it follows from this."""
    editing: Editing | None = None
    voice: Voice | None = None


def look_up(endpoint: str, body: Body, library: Library) -> Source:
    """Return what a create works on, or refuse."""
    find = LOOKUPS.get(endpoint)
    return Source() if find is None else find(body, library)


def video_of(body: Body, library: Library, low: float = 0.0, high: float = math.inf) -> Clip:
    """Return the video that ``video_id`` or ``video_url`` tells, of ``low`` to ``high`` seconds."""
    if "video_id" not in body:
        return Clip(id=library.new_id(), endpoint="", model="", made=library.now(), url=body["video_url"])
    clip = library.clip(body["video_id"])
    if not low <= clip.seconds <= high:
        raise Refusal(1201, f"video duration must be between {low:g} and {high:g} seconds")
    return clip


# --- elements and voices -----------------------------------------------------------------------


def elements_of(body: Body, library: Library) -> list[Element]:
    """Return the elements a body names."""
    return [library.element(entry["element_id"]) for entry in body.get("element_list", ())]


def elements_and_voices(body: Body, library: Library) -> Source:
    """Elements of both kinds, and voices of the library."""
    elements_of(body, library)
    for entry in body.get("voice_list", ()):
        library.voice(entry["voice_id"])
    return Source()


def pictured_elements(body: Body, library: Library) -> Source:
    """Images take elements made from pictures only."""
    if any(element.kind == "video_refer" for element in elements_of(body, library)):
        raise Refusal(1201, "element_list: only multi-image elements are supported")
    return Source()


def omni_references(body: Body, library: Library) -> Source:
    """Pictures and elements count together, frames not; characters from videos count for themselves."""
    elements, videos = elements_of(body, library), body.get("video_list", ())
    characters = [element for element in elements if element.kind == "video_refer"]
    images = body.get("image_list", ())
    frames = sum("type" in image for image in images)
    old_model = body.get("model_name", "kling-video-o1") == "kling-video-o1"
    if characters and (videos or old_model):
        beside = "kling-video-o1" if old_model else "a reference video"
        raise Refusal(1201, f"element_list: video character elements are not supported with {beside}")
    if len(characters) > 3:
        raise Refusal(1201, "element_list: at most 3 video character elements")
    most = 4 if videos or characters else 7
    if len(images) - frames + len(elements) - len(characters) > most:
        raise Refusal(1201, f"image_list and element_list together must not exceed {most}")
    if frames and len(elements) > 3:
        raise Refusal(1201, "element_list: at most 3 elements with a first frame")
    edits = any(video.get("refer_type", "base") == "base" for video in videos)
    return Source(seconds=UNSEEN_SECONDS if edits else None)


def clip_to_follow(body: Body, library: Library) -> Source:
    """The movement of a clip that nobody sees here."""
    elements_of(body, library)
    return Source(seconds=UNSEEN_SECONDS)


def voice_of_element(body: Body, library: Library) -> Source:
    """An element may speak with a voice of the library."""
    voice_id = body.get("element_voice_id")
    return Source(voice=None if voice_id is None else library.voice(voice_id))


# --- videos ------------------------------------------------------------------------------------


def extended_video(body: Body, library: Library) -> Source:
    """A video of the first models, shorter than three minutes, five seconds longer."""
    clip = library.clip(body["video_id"])
    if clip.endpoint not in EXTENDED_ENDPOINTS or clip.model not in EXTENDED_MODELS:
        raise Refusal(1201, "video_id: this video cannot be extended")
    if clip.seconds >= LONGEST_EXTENDED:
        raise Refusal(1201, "video_id: the video must be shorter than 3 minutes")
    if clip.model == "kling-v1":
        for name in ("negative_prompt", "cfg_scale"):
            if name in body:
                raise Refusal(1201, f"{name} is not supported by videos of kling-v1")
    return Source(clip, min(clip.seconds + EXTENDED_BY, LONGEST_EXTENDED))


def edited_video(body: Body, library: Library) -> Source:
    """A session that lives, is as long as asked for, and marked where something is to go."""
    editing = library.editing(body["session_id"])
    if body["edit_mode"] in ("swap", "removal") and not editing.marks:
        raise Refusal(1201, f"session_id: {body['edit_mode']} needs marks made with add-selection")
    if (body.get("duration", "5") == "5") != (editing.clip.seconds <= 5):
        raise Refusal(1201, "duration 5 needs a video of 2 to 5 seconds, 10 one of 7 to 10 seconds")
    return Source(editing=editing)


def sounded_video(body: Body, library: Library) -> Source:
    """A video of 3 to 20 seconds gets a sound."""
    clip = video_of(body, library, 3.0, 20.0)
    return Source(clip, clip.seconds)


# --- speech ------------------------------------------------------------------------------------


def lip_synced_video(body: Body, library: Library) -> Source:
    """A video of 2 to 60 seconds."""
    clip = video_of(body["input"], library, 2.0, 60.0)
    return Source(clip, clip.seconds)


def synced_face(body: Body, library: Library) -> Source:
    """A face of the session; the cut sound ends within the video and falls on the face."""
    session, wanted = library.faces_of(body["session_id"]), body["face_choose"][0]
    face = next((face for face in session.faces if face.id == wanted["face_id"]), None)
    if face is None:
        raise Refusal(1201, f"face_choose[0].face_id '{wanted['face_id'][:64]}' is not found")
    seconds, start = _sound_seconds(wanted, library, 2.0, 60.0), wanted["sound_insert_time"]
    if seconds is not None and wanted["sound_end_time"] > seconds * 1000 + SOUND_SLACK_MS:
        raise Refusal(1201, "face_choose[0].sound_end_time must not be after the end of the sound")
    end = start + wanted["sound_end_time"] - wanted["sound_start_time"]
    if end > session.clip.seconds * 1000:
        raise Refusal(1201, "face_choose[0]: the sound must end within the video")
    if min(end, face.end_ms) - max(start, face.start_ms) < CUT_MS:
        raise Refusal(1201, "face_choose[0]: the sound must overlap the face for at least 2000 ms")
    return Source(session.clip, session.clip.seconds)


def spoken_sound(body: Body, library: Library) -> Source:
    """A sound of 2 to 300 seconds; the video is as long."""
    return Source(seconds=_sound_seconds(body, library, 2.0, 300.0) or UNSEEN_SECONDS)


def _sound_seconds(body: Body, library: Library, low: float, high: float) -> float | None:
    """Return the length of the sound that ``audio_id`` or ``sound_file`` tells, None if unseen."""
    if "audio_id" not in body:
        sound: str = body["sound_file"]
        return None if is_url(sound) else sound_seconds(decoded(sound) or b"")
    seconds = library.audio(body["audio_id"]).seconds
    if not low <= seconds <= high:
        raise Refusal(1201, f"audio duration must be between {low:g} and {high:g} seconds")
    return seconds


def voice_to_clone(body: Body, library: Library) -> Source:
    """An address, or a video of 5 to 30 seconds in which somebody speaks."""
    if "video_id" in body:
        clip = video_of(body, library, 5.0, 30.0)
        speaks = clip.endpoint in SPEAKING_ENDPOINTS or (clip.model == "kling-v2-6" and clip.sound)
        if not speaks:
            raise Refusal(1201, "video_id: no voice can be taken from this video")
    return Source()


LOOKUPS: Final[dict[str, Callable[[Body, Library], Source]]] = {
    "image_to_video": elements_and_voices,
    "omni_video": omni_references,
    "motion_control": clip_to_follow,
    "multi_elements": edited_video,
    "video_extend": extended_video,
    "advanced_lip_sync": synced_face,
    "lip_sync": lip_synced_video,
    "avatar": spoken_sound,
    "image_generation": pictured_elements,
    "omni_image": pictured_elements,
    "custom_elements": voice_of_element,
    "custom_voices": voice_to_clone,
    "video_to_audio": sounded_video,
}
"""The endpoints that name what was made earlier."""
