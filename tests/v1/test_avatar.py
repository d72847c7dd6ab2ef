"""Avatars: what is sent, what comes back, and their rule."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import lives, refused, result, sent

GOLDEN = golden("avatar")
WHO = "https://example.com/face.png"
SOUND = "https://example.com/voice.mp3"
REQUESTS = {
    "vendor's example": v1.Avatar(image=WHO, sound_file=SOUND, mode="std"),
    "speech": v1.Avatar(
        image=b"fox bytes",
        audio_id="900000000000000003",
        sound_file="",
        prompt="She smiles",
        mode="pro",
        watermark_info=v1.WatermarkInfo(enabled=True),
    ),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """A video as of any other endpoint, with its watermarked copy."""
    lives(v1.Avatar, GOLDEN["answers"])
    found = result(v1.Avatar, GOLDEN["answers"]["finished"])
    assert found.files(watermarked=True) == (File("https://example.com/w.mp4?sig=SECRET", ".mp4", "0"),)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, ("audio_id", "give one of audio_id, sound_file; none is given")),
        (
            {"audio_id": "1", "sound_file": SOUND},
            ("sound_file", "give one of audio_id, sound_file; audio_id and sound_file are given"),
        ),
        ({"audio_id": "1", "mode": "4k"}, ("mode", "'4k' is not one of 'pro', 'std'")),
        ({"audio_id": "1", "prompt": "x" * 2501}, ("prompt", "has 2501 characters; at most 2500")),
    ],
    ids=["no sound", "two sounds", "mode", "prompt"],
)
def test_what_cannot_be_right_is_refused(values: dict[str, Any], problem: tuple[str, str]) -> None:
    """Each rule, with its text."""
    assert refused(v1.Avatar(image=WHO, **values)) == [problem]
