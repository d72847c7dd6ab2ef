"""The audio track of a film: a tune as MP3 frames (ISO 14496-14)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from kling_async.emulator.footage.boxes import box, full_box
from kling_async.emulator.footage.tones import FRAME_BYTES, FRAME_SAMPLES, FRAME_SECONDS, RATE, mp3
from kling_async.emulator.footage.tracks import SCALE, Track, numbers

__all__ = ["TRACK_ID", "Soundtrack", "soundtrack"]

TRACK_ID: Final = 2
"""Number of the audio track; the pictures are track 1."""

_MP3: Final = 0x6B
"""Object type of MPEG-1 audio."""
_BITS_PER_SECOND: Final = 32_000


class Soundtrack(NamedTuple):
    """A tune that lasts as long as a film, at most one MP3 frame less."""

    data: bytes
    track: Track


def soundtrack(seed: str, seconds: float) -> Soundtrack:
    """Return the tune that follows from ``seed``."""
    frames = max(1, int(seconds / FRAME_SECONDS))
    track = Track(
        track_id=TRACK_ID,
        kind=b"soun",
        duration=frames * FRAME_SAMPLES * SCALE // RATE,
        rate=RATE,
        sample_duration=FRAME_SAMPLES,
        samples=frames,
        entry=_sample_entry(),
        sizes=numbers([FRAME_BYTES, frames]),
    )
    return Soundtrack(mp3(seed, frames * FRAME_SECONDS), track)


def _sample_entry() -> bytes:
    rates = struct.pack(">2I", _BITS_PER_SECOND, _BITS_PER_SECOND)
    decoder = _descriptor(4, bytes((_MP3, 0x15)) + bytes(3) + rates)  # 0x15: a stream of audio
    stream = _descriptor(3, struct.pack(">HB", TRACK_ID, 0) + decoder + _descriptor(6, b"\x02"))
    entry = struct.pack(">6xH8x4HI", 1, 1, 16, 0, 0, RATE << 16)  # one channel, 16 bits
    return box(b"mp4a", entry, full_box(b"esds", stream))


def _descriptor(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content
