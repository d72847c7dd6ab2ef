"""Files that the emulator serves play to their end in a browser, as people look at results."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from kling_async import Client, Polling, v1
from kling_async.display.html import joined
from kling_async.testing import emulator
from kling_async.wire.players import players, stored_players
from kling_async.wire.requests import Result
from tests.chromium import CHROMIUM, opened_page

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.wire.requests import CallRequest, TaskRequest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
    ),
]

QUICK: Final = "emulator:seconds=0"
JPEG: Final = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWG"
    "kJ6jq62rZ4C8ybqmx5moq6T/wAALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xAAUEAEAAAAAAAAAAAAAAAAA"
    "AAAA/9oACAEBAAA/AKoD/9k="
)
"""A grey picture of 16 by 16 px: the emulator makes pictures as PNG only, the vendor may send JPEG."""

PLAY: Final = """
Promise.all([...document.querySelectorAll('video, audio')].map(async player => {
    player.playbackRate = 8;
    const ended = new Promise((resolve, reject) => {
        player.onended = resolve;
        player.onerror = () => reject(new Error(player.src + ': ' + player.error.message));
    });
    await player.play();
    await ended;
    return [
        player.src, player.tagName, player.currentTime, player.duration,
        player.videoWidth || 0, player.webkitAudioDecodedByteCount,
    ];
}))
"""
"""Play all at once and eight times as fast; a file that cannot be decoded to its end is an error."""


class Played(NamedTuple):
    """One player of the page, after the end."""

    url: str
    element: str
    time: float
    duration: float
    width: int
    sound: int
    """Bytes of sound that were decoded."""


def requests(video_id: str) -> dict[str, TaskRequest[Any] | CallRequest[Any]]:
    """Return a request for each kind of file, by what it makes."""
    return {
        "wide": v1.TextToVideo(prompt=QUICK, duration=5, aspect_ratio="16:9"),
        "high": v1.TextToVideo(prompt=QUICK, duration=5, aspect_ratio="9:16"),
        "square": v1.TextToVideo(prompt=QUICK, duration=10, aspect_ratio="1:1"),
        "sounded": v1.TextToVideo(prompt=QUICK, model_name="kling-v2-6", mode="pro", sound=True),
        "scored": v1.VideoToAudio(video_id=video_id, sound_effect_prompt=QUICK),
        "sound": v1.TextToAudio(prompt=QUICK, duration=3.0),
        "speech": v1.TextToSpeech(text=QUICK, voice_id="girlfriend_1_speech02", voice_language="zh"),
        "pictures": v1.ImageGeneration(prompt=QUICK, n=2),
    }


async def test_every_kind_of_file_plays_to_its_end(tmp_path: Path) -> None:
    """Videos as long as asked for, MP3 and WAV that are heard, PNG and JPEG with a size."""
    async with (
        # ids of its own: files that other tests stored are known by their addresses, and ports come again
        emulator(slots={"video": 9, "image": 9}, seed=20261126) as emu,
        Client(
            base_url=emu.url, api_key=emu.api_key, polling=Polling(min_interval=0.1, max_interval=0.2)
        ) as client,
    ):
        first = await client.run(v1.TextToVideo(prompt=QUICK))
        results = {name: await client.run(request) for name, request in requests(first.videos[0].id).items()}
        files = {name: result.files() for name, result in results.items() if isinstance(result, Result)}
        assert {file.suffix for found in files.values() for file in found} == {".mp4", ".mp3", ".wav", ".png"}
        shown = joined(
            *(players((file.url, file.suffix, file.name) for file in found) for found in files.values())
        )
        jpegs = [tmp_path / "plain.jpg", tmp_path / "called.png"]  # whatever the vendor calls it
        for path in jpegs:
            path.write_bytes(JPEG)
        shown = joined(shown, stored_players(jpegs))
        (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{shown}", encoding="utf-8")
        async with opened_page((tmp_path / "page.html").as_uri(), tmp_path) as page:
            await page.until("[...document.images].every(i => i.complete)")
            sizes = await page.run("[...document.images].map(i => i.naturalWidth)")
            played = [Played(*row) for row in await page.run(PLAY)]
            await page.picture(tmp_path / "page.png")
            assert page.errors == []
    assert len(sizes) == 4 and min(sizes[:2]) >= 256 and sizes[2:] == [16, 16]
    assert len(played) == sum(len(found) for found in files.values()) - 2
    for one in played:
        assert one.time == pytest.approx(one.duration, abs=0.2) and one.duration > 1, one
        assert (one.width > 0) == (one.element == "VIDEO"), one
        silent = any(one.url == files[name][0].url for name in ("wide", "high", "square"))
        assert (one.sound > 0) == (not silent), one
    seconds = {one.url: one.duration for one in played}
    assert seconds[files["wide"][0].url] == pytest.approx(5, abs=0.3)
    assert seconds[files["square"][0].url] == pytest.approx(10, abs=0.3)
    widths = {one.url: one.width for one in played}
    assert widths[files["wide"][0].url] > widths[files["high"][0].url]
