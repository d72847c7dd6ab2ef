"""The voices we know are those of the reference, each with the languages it has there."""

from __future__ import annotations

from kling_async import v1
from kling_async.errors import Problem
from kling_async.v1.tts_voices import REFUSED, voice_speaks
from tests.reference import V1

LISTED = {(row["voice_id"], row["voice_language"]) for row in V1["voices"]["video"]["voices"]}


def test_the_lists_are_the_vendor_s() -> None:
    """No voice is missing or made up; what other clients list of them is part of it."""
    assert {(voice, language) for language, voices in v1.TTS_VOICES.items() for voice in voices} == LISTED
    for language in ("zh", "en"):
        assert set(V1["voices"]["tts"][language]) <= v1.TTS_VOICES[language]
    assert set(V1["voices"]["tts"]["seen_refused_2026"]) == REFUSED


def test_every_voice_speaks_its_languages_and_no_other() -> None:
    """Each pair of a voice and a language: accepted where listed, refused where not."""
    for voice in {voice for voice, _ in LISTED}:
        for language in ("zh", "en"):
            refused = any(isinstance(found, Problem) for found in voice_speaks(voice, language))
            assert refused is ((voice, language) not in LISTED)
