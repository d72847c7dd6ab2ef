"""Rules of what speaks and sounds: lip sync, avatars, voices, sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.rules.shared import exactly_one

if TYPE_CHECKING:
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["CUT_MS", "RULES"]

CUT_MS: Final = 2000
"""The least of a sound that is kept, and that falls on a face."""


def one_sound(body: Body) -> None:
    """The face speaks one sound, by its id or as a file, of which at least two seconds are kept."""
    exactly_one("audio_id", "sound_file")(body["face_choose"][0])
    face = body["face_choose"][0]
    if face["sound_end_time"] - face["sound_start_time"] < CUT_MS:
        raise Refusal(1201, "face_choose[0]: the cut sound must last at least 2000 ms")


def text_or_sound(body: Body) -> None:
    """Text needs a voice that speaks its language; a sound is a file or an address, as announced."""
    given = body["input"]
    if given["mode"] == "text2video":
        _required(given, "text", "voice_id")
        speaks(given["voice_id"], given.get("voice_language", "zh"))
    else:
        _required(given, "audio_type")
        _required(given, f"audio_{given['audio_type']}")


def _required(given: Body, *names: str) -> None:
    for name in names:
        if name not in given:
            raise Refusal(1201, f"input.{name} is required when mode is {given['mode']}")


def voice_can_speak(body: Body) -> None:
    """Preset voices of the elements and some listed ones are refused; the others speak their language."""
    if body["voice_id"] in REFERENCE.refused_voices:
        raise Refusal(1201, "Voice id not found")
    speaks(body["voice_id"], body["voice_language"])


def speaks(voice_id: str, language: str) -> None:
    """Refuse a known voice that has not that language; unknown voices pass: the lists change."""
    languages = REFERENCE.voices.get(voice_id, [language])
    if language not in languages:
        raise Refusal(1201, f"voice_language '{language}' is not supported by voice_id '{voice_id}'")


def one_decimal_place(body: Body) -> None:
    """Lengths of sounds are told in tenths of a second."""
    if round(body["duration"], 1) != body["duration"]:
        raise Refusal(1201, "duration must have at most one decimal place")


ONE_VIDEO: Final = exactly_one("video_id", "video_url")

RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "identify_face": (ONE_VIDEO,),
    "advanced_lip_sync": (one_sound,),
    "lip_sync": (exactly_one("video_id", "video_url", within="input"), text_or_sound),
    "avatar": (exactly_one("audio_id", "sound_file"),),
    "custom_voices": (exactly_one("voice_url", "video_id"),),
    "text_to_speech": (voice_can_speak,),
    "text_to_audio": (one_decimal_place,),
    "video_to_audio": (ONE_VIDEO,),
}
