"""Films and sounds in another program: ffmpeg finds their streams, and the sound can be heard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from kling_async.emulator.footage.files import MediaOwner, render_file

if TYPE_CHECKING:
    from pathlib import Path

FFMPEG: Final = shutil.which("ffmpeg")
"""None: this machine has none (on Debian: ``apt install ffmpeg``, which has ffprobe as well)."""

pytestmark = [pytest.mark.real, pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")]


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("0.mp4", {"h264": 15.0, "mp3": 15.0}),
        ("0.mp3", {"mp3": 15.0}),
        ("0.wav", {"pcm_s16le": 15.0}),
    ],
)
def test_other_programs_hear_the_sound(name: str, streams: dict[str, float], tmp_path: Path) -> None:
    """A file has the streams of its kind, as long as requested, and audible sound, also through a pipe."""
    owner = MediaOwner("7001", 0.0, 15.0, text="A violin", sound=True, grade=1)
    file = tmp_path / name
    file.write_bytes(render_file(owner, name)[0])
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(file)]
    probed = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert probed.stderr == b""
    found = {one["codec_name"]: float(one["duration"]) for one in json.loads(probed.stdout)["streams"]}
    assert found == {codec: pytest.approx(seconds, abs=0.03) for codec, seconds in streams.items()}
    command = [str(FFMPEG), "-nostats", "-i", "-", "-af", "volumedetect", "-f", "null", "-"]
    heard = subprocess.run(command, input=file.read_bytes(), capture_output=True, check=True, timeout=60)
    (mean,) = re.findall(rb"mean_volume: (-?[\d.]+) dB", heard.stderr)
    if name == "0.mp4":
        assert re.findall(rb"frame= *(\d+)", heard.stderr)[-1] == b"150"
    assert -40 < float(mean) < 0
