"""Rules for lip sync, avatars, voices and sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.shared import check_exactly_one

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["CUT_MS", "RULES"]

CUT_MS: Final = 2000
"""Milliseconds that a cut sound must last at least, and for which it must overlap the face."""


def check_cut_sound(body: Body) -> None:
    """Require one sound for the face, by id or as a file, cut to at least two seconds."""
    check_exactly_one("audio_id", "sound_file")(body["face_choose"][0])
    face = body["face_choose"][0]
    if face["sound_end_time"] - face["sound_start_time"] < CUT_MS:
        raise Refusal(1201, "face_choose[0]: the cut sound must last at least 2000 ms")


def check_text_or_sound(body: Body) -> None:
    """Require a text with a voice that speaks its language, or a sound of the announced type."""
    given = body["input"]
    if given["mode"] == "text2video":
        _required(given, "text", "voice_id")
        check_voice_language(given["voice_id"], given.get("voice_language", "zh"))
    else:
        _required(given, "audio_type")
        _required(given, f"audio_{given['audio_type']}")


def _required(given: Body, *names: str) -> None:
    for name in names:
        if name not in given:
            raise Refusal(1201, f"input.{name} is required when mode is {given['mode']}")


def check_tts_voice(body: Body) -> None:
    """Refuse listed voices that text to speech does not take, and voices without the language.

    Preset voices of elements are a different set; ``calls.media_calls`` refuses them.
    """
    if body["voice_id"] in REFERENCE.refused_voices:
        raise Refusal(1201, "Voice id not found")
    check_voice_language(body["voice_id"], body["voice_language"])


def check_voice_language(voice_id: str, language: str) -> None:
    """Refuse a known voice without that language; unknown ones pass, because the vendor's list changes."""
    languages = REFERENCE.voices.get(voice_id, [language])
    if language not in languages:
        raise Refusal(1201, f"voice_language '{language}' is not supported by voice_id '{voice_id}'")


def check_duration_decimals(body: Body) -> None:
    """Refuse a duration with more than one decimal place."""
    if round(body["duration"], 1) != body["duration"]:
        raise Refusal(1201, "duration must have at most one decimal place")


ONE_VIDEO: Final = check_exactly_one("video_id", "video_url")

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "identify_face": (ONE_VIDEO,),
    "advanced_lip_sync": (check_cut_sound,),
    "lip_sync": (check_exactly_one("video_id", "video_url", within="input"), check_text_or_sound),
    "avatar": (check_exactly_one("audio_id", "sound_file"),),
    "custom_voices": (check_exactly_one("voice_url", "video_id"),),
    "text_to_speech": (check_tts_voice,),
    "text_to_audio": (check_duration_decimals,),
    "video_to_audio": (ONE_VIDEO,),
}
