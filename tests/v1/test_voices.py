"""Custom voices: what is sent, what comes back, and their rule."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, doubted, lives, refused, result, sent

GOLDEN = golden("custom_voices")
REQUESTS: dict[str, Any] = {
    "vendor's example": v1.CustomVoice(
        voice_name="Narrator", voice_url="https://example.com/voice.mp3", video_id=""
    ),
    "from a video": v1.CustomVoice(voice_name="Narrator", voice_url="", video_id="900000000000000777"),
    "presets": v1.PresetVoices(page=1, page_size=1000),
    "delete": v1.DeleteVoice(voice_id="891495440020668439"),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body or query, compared as JSON; an empty source counts as left out."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_voice_is_made() -> None:
    """Its sample is a file; no repr shows what signs it."""
    lives(v1.CustomVoice, GOLDEN["answers"])
    found = result(v1.CustomVoice, GOLDEN["answers"]["finished"])
    assert [(voice.voice_id, voice.voice_name) for voice in found.voices] == [
        ("891495440020668439", "Narrator")
    ]
    assert found.files() == (File("https://example.com/narrator.mp3?sig=SECRET", ".mp3", "0"),)
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_the_vendor_s_voices_and_a_deletion_are_read() -> None:
    """Each voice comes in a task of its own."""
    page = answered(v1.PresetVoices(), GOLDEN["answers"]["presets"])
    assert [(voice.voice_name, voice.owned_by) for voice in page.voices] == [("Narrator", "kling")]
    assert answered(v1.DeleteVoice(voice_id="1"), GOLDEN["answers"]["deleted"]).task_status == "submitted"


ELSEWHERE = "put it where the API can fetch it"


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(
            v1.CustomVoice(voice_name="Ann"),
            [("voice_url", "give voice_url or video_id; neither is given")],
            id="no source",
        ),
        pytest.param(
            v1.CustomVoice(voice_name="Ann", voice_url=b"sound"),
            [("voice_url", f"takes the address of a recording, not the file itself: {ELSEWHERE}")],
            id="the sound itself",
        ),
        pytest.param(
            v1.CustomVoice(voice_name="A" * 21, video_id="1"),
            [("voice_name", "has 21 characters; at most 20")],
            id="long name",
        ),
        pytest.param(
            v1.PresetVoices(page_size=1001),
            [("page_size", "1001 is too large; at most 1000")],
            id="long page",
        ),
        pytest.param(v1.DeleteVoice(voice_id=""), [("voice_id", "must not be empty")], id="no voice"),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text."""
    assert refused(request_) == problems


def test_two_sources_are_doubted() -> None:
    """The vendor shows one of them alone and does not say what two do."""
    request = v1.CustomVoice(voice_name="Ann", voice_url="https://example.com/a.wav", video_id="1")
    text = "is given beside voice_url; the vendor's pages show one of them alone"
    assert doubted(request) == [("video_id", text)]
