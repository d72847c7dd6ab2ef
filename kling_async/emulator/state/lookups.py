"""Lookups of the earlier results that a create names: they must exist, be unexpired, and fit the use.

Each function gets the fields that are set, judged already, and returns the source of the task or refuses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.footage.shapes import UNSEEN_SECONDS
from kling_async.emulator.judging.media import decoded, is_url
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.speech import CUT_MS
from kling_async.emulator.judging.sounds import sound_seconds
from kling_async.emulator.state.items import Clip, Element, TaskSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.state.library import Library

__all__ = ["LOOKUPS", "look_up", "video_of"]

Body = dict[str, Any]

EXTENDED_MODELS: Final = ("kling-v1", "kling-v1-5", "kling-v1-6")
EXTENDED_ENDPOINTS: Final = ("text_to_video", "image_to_video", "video_extend")
EXTENDED_BY: Final = 5.0
LONGEST_EXTENDED: Final = 180.0
SPEAKING_ENDPOINTS: Final = ("avatar", "lip_sync", "advanced_lip_sync")
SOUND_SLACK_MS: Final = 100
"""Slack of a cut's end, because the API tells the lengths of sounds in tenths of a second."""


def look_up(endpoint: str, body: Body, library: Library) -> TaskSource:
    """Return the earlier results that a create works on.

    Raises:
        Refusal: One of them does not exist (any more) or does not fit (1201).
    """
    find = LOOKUPS.get(endpoint)
    return TaskSource() if find is None else find(body, library)


def video_of(body: Body, library: Library, low: float = 0.0, high: float = math.inf) -> Clip:
    """Return the video of ``video_id`` or ``video_url``; one with an id must last ``low`` to ``high`` s."""
    if "video_id" not in body:
        return Clip(id=library.new_id(), endpoint="", model="", made=library.now(), url=body["video_url"])
    clip = library.clip(body["video_id"])
    if not low <= clip.seconds <= high:
        raise Refusal(1201, f"video duration must be between {low:g} and {high:g} seconds")
    return clip


# --- elements and voices -----------------------------------------------------------------------


def elements_of(body: Body, library: Library) -> list[Element]:
    """Return the elements that a body names."""
    return [library.element(entry["element_id"]) for entry in body.get("element_list", ())]


def find_elements_and_voices(body: Body, library: Library) -> TaskSource:
    """Check that the elements and voices exist."""
    elements_of(body, library)
    for entry in body.get("voice_list", ()):
        library.voice(entry["voice_id"])
    return TaskSource()


def find_image_elements(body: Body, library: Library) -> TaskSource:
    """Check that all elements were made from images: image endpoints take no others."""
    if any(element.kind == "video_refer" for element in elements_of(body, library)):
        raise Refusal(1201, "element_list: only multi-image elements are supported")
    return TaskSource()


def find_omni_references(body: Body, library: Library) -> TaskSource:
    """Check the numbers of images and elements.

    Images and elements are counted together. Start and end frames are not counted, and video characters have
    a limit of their own.
    """
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
    return TaskSource(seconds=UNSEEN_SECONDS if edits else None)


def find_motion_elements(body: Body, library: Library) -> TaskSource:
    """Check the elements; the video to imitate is given by URL, so that its length is not known."""
    elements_of(body, library)
    return TaskSource(seconds=UNSEEN_SECONDS)


def find_element_voice(body: Body, library: Library) -> TaskSource:
    """Find the voice of a new element, if it has one."""
    voice_id = body.get("element_voice_id")
    return TaskSource(voice=None if voice_id is None else library.voice(voice_id))


# --- videos ------------------------------------------------------------------------------------


def find_video_to_extend(body: Body, library: Library) -> TaskSource:
    """Find the video to extend by five seconds: of an early model, and shorter than three minutes."""
    clip = library.clip(body["video_id"])
    if clip.endpoint not in EXTENDED_ENDPOINTS or clip.model not in EXTENDED_MODELS:
        raise Refusal(1201, "video_id: this video cannot be extended")
    if clip.seconds >= LONGEST_EXTENDED:
        raise Refusal(1201, "video_id: the video must be shorter than 3 minutes")
    if clip.model == "kling-v1":
        for name in ("negative_prompt", "cfg_scale"):
            if name in body:
                raise Refusal(1201, f"{name} is not supported by videos of kling-v1")
    return TaskSource(clip, min(clip.seconds + EXTENDED_BY, LONGEST_EXTENDED))


def find_editing(body: Body, library: Library) -> TaskSource:
    """Find the editing session: as long as requested, and marked if a mark is needed."""
    editing = library.editing(body["session_id"])
    if body["edit_mode"] in ("swap", "removal") and not editing.marks:
        raise Refusal(1201, f"session_id: {body['edit_mode']} needs marks made with add-selection")
    if (body.get("duration", "5") == "5") != (editing.clip.seconds <= 5):
        raise Refusal(1201, "duration 5 needs a video of 2 to 5 seconds, 10 one of 7 to 10 seconds")
    return TaskSource(editing=editing)


def find_silent_video(body: Body, library: Library) -> TaskSource:
    """Find the video of 3 to 20 seconds that gets a sound."""
    clip = video_of(body, library, 3.0, 20.0)
    return TaskSource(clip, clip.seconds)


# --- speech ------------------------------------------------------------------------------------


def find_video_to_sync(body: Body, library: Library) -> TaskSource:
    """Find the video to lip-sync, of 2 to 60 seconds."""
    clip = video_of(body["input"], library, 2.0, 60.0)
    return TaskSource(clip, clip.seconds)


def find_face(body: Body, library: Library) -> TaskSource:
    """Find the face to lip-sync: the cut sound must end within the video and overlap the face."""
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
    return TaskSource(session.clip, session.clip.seconds)


def find_avatar_sound(body: Body, library: Library) -> TaskSource:
    """Find the sound of an avatar, of 2 to 300 seconds; the video is as long."""
    return TaskSource(seconds=_sound_seconds(body, library, 2.0, 300.0) or UNSEEN_SECONDS)


def _sound_seconds(body: Body, library: Library, low: float, high: float) -> float | None:
    """Return the length of the sound of ``audio_id`` or ``sound_file``, None if it cannot be measured."""
    if "audio_id" not in body:
        sound: str = body["sound_file"]
        return None if is_url(sound) else sound_seconds(decoded(sound) or b"")
    seconds = library.audio(body["audio_id"]).seconds
    if not low <= seconds <= high:
        raise Refusal(1201, f"audio duration must be between {low:g} and {high:g} seconds")
    return seconds


def find_voice_source(body: Body, library: Library) -> TaskSource:
    """Check the video to clone a voice from: 5 to 30 seconds, with somebody speaking. A URL always passes."""
    if "video_id" in body:
        clip = video_of(body, library, 5.0, 30.0)
        speaks = clip.endpoint in SPEAKING_ENDPOINTS or (clip.model == "kling-v2-6" and clip.sound)
        if not speaks:
            raise Refusal(1201, "video_id: no voice can be taken from this video")
    return TaskSource()


LOOKUPS: Final[dict[str, Callable[[Body, Library], TaskSource]]] = {
    "image_to_video": find_elements_and_voices,
    "omni_video": find_omni_references,
    "motion_control": find_motion_elements,
    "multi_elements": find_editing,
    "video_extend": find_video_to_extend,
    "advanced_lip_sync": find_face,
    "lip_sync": find_video_to_sync,
    "avatar": find_avatar_sound,
    "image_generation": find_image_elements,
    "omni_image": find_image_elements,
    "custom_elements": find_element_voice,
    "custom_voices": find_voice_source,
    "video_to_audio": find_silent_video,
}
"""Lookups by endpoint; the other endpoints name no earlier results."""
