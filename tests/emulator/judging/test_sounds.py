"""Generated sounds are valid files; sounds in requests are recognised and measured."""

from __future__ import annotations

import io
import math
import struct
import wave

import pytest

from kling_async.emulator.footage.tones import FRAME_SECONDS, mp3, wav
from kling_async.emulator.judging.sounds import is_sound, sound_seconds

FRAME = b"\xff\xfb\x14\xc0"


def bits(frame: bytes, at: int, count: int) -> int:
    """Return some bits of a frame as a number."""
    return int.from_bytes(frame, "big") >> (len(frame) * 8 - at - count) & (1 << count) - 1


@pytest.mark.parametrize("seconds", [0.5, 1.4, 3.0, 10.0, 20.0])
def test_an_mp3_is_a_row_of_whole_frames(seconds: float) -> None:
    """Each frame of an MP3 has a header and fits its size; all frames together last as long as requested."""
    data = mp3("seed", seconds)
    assert len(data) % 96 == 0
    frames = [data[at : at + 96] for at in range(0, len(data), 96)]
    assert all(frame.startswith(FRAME) for frame in frames)
    assert abs(len(frames) * FRAME_SECONDS - seconds) <= FRAME_SECONDS / 2
    assert sound_seconds(data) == pytest.approx(len(frames) * FRAME_SECONDS)
    for frame in frames:  # the bits of both granules are counted right, and fit the frame
        first, second = bits(frame, 32 + 18, 12), bits(frame, 32 + 18 + 59, 12)
        start = 32 + 17 * 8
        assert 0 < first == second and start + first + second <= 96 * 8
        assert bits(frame, start + first + second, 96 * 8 - start - first - second) == 0
        # Huffman table 1: pairs of zeros, then one pair that is not zero, then its sign
        pairs = bits(frame, 32 + 18 + 12, 9)
        code = f"{bits(frame, start, first):0{first}b}"
        assert code.startswith("1" * (pairs - 1)) and code[pairs - 1 : -1] in ("01", "001")


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0])
def test_a_wav_is_read_by_the_standard_library(seconds: float) -> None:
    """The wave module reads a WAV: length and format are right, samples are audible and not clipped."""
    with wave.open(io.BytesIO(wav("seed", seconds))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        assert file.getnframes() == round(seconds * 16000)
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    assert 5000 < max(samples) <= 9000 and sum(map(abs, samples)) / len(samples) > 1000
    assert sound_seconds(wav("seed", seconds)) == pytest.approx(seconds)


def test_tunes_differ_and_repeat_with_their_seed() -> None:
    """Equal seeds give equal bytes, different seeds give different bytes."""
    for make in (mp3, wav):
        assert len({make(f"seed {i}", 5.0) for i in range(5)}) == 5
        assert make.__wrapped__("seed", 5.0) == make("seed", 5.0)


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (b"ID3\x04", True),
        (FRAME, True),
        (b"\xff\xf3\x40", True),
        (b"RIFF\0\0\0\0WAVE", True),
        (b"\0\0\0\x20ftypM4A ", True),
        (b"\xff\xf1\x50", True),
        (b"\xff\xf9\x50", True),
        (b"", False),
        (b"\xff", False),
        (b"\xff\xe1\x50", False),
        (b"\xff\xfd\x50", False),
        (b"RIFF\0\0\0\0AVI ", False),
        (b"OggS", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"\xff\xd8\xff\xe0", False),
    ],
)
def test_sounds_are_told_by_their_first_bytes(data: bytes, good: bool) -> None:
    """The four accepted formats are recognised; Ogg, MPEG layer II and pictures are not."""
    assert is_sound(data) is good


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3\x04",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEdata\x10\0\0\0" + bytes(16),
        b"\xff\xfb\xf4\xc0",
        b"\xff\xfb\x1c\xc0",
        b"\0\0\0\x20ftypM4A ",
        b"\xff\xf1\x50\x80",
    ],
)
def test_lengths_that_the_file_does_not_tell(data: bytes) -> None:
    """Headers without sound, broken headers, and formats that need a decoder have no length."""
    assert sound_seconds(data) is None


def test_tags_and_chunks_before_the_sound_are_skipped() -> None:
    """A tag before MP3 frames, an odd chunk before WAV data, and trailing junk do not matter."""
    tag = b"ID3\x04\0\0" + bytes((0, 0, 1, 2)) + bytes(130)
    assert sound_seconds(tag + mp3("seed", 3.0) + b"junk") == pytest.approx(3.0)
    whole = wav("seed", 3.0)
    padded = whole[:12] + b"LIST\x03\0\0\0abc\0" + whole[12:] + b"junk"
    seconds = sound_seconds(padded)
    assert seconds is not None and math.isclose(seconds, 3.0)
