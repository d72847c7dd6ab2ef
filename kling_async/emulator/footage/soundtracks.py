"""The audio track of a film: a tune as MP3 frames, in the boxes of a track (ISO 14496-12 and 14496-14)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from kling_async.emulator.footage.boxes import box, full_box
from kling_async.emulator.footage.tones import FRAME_BYTES, FRAME_SAMPLES, FRAME_SECONDS, RATE, mp3

__all__ = ["TRACK_ID", "Soundtrack", "soundtrack"]

TRACK_ID: Final = 2
"""Number of the audio track; the pictures are track 1."""

_UNITY: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
"""Transformation matrix that changes nothing."""
_MP3: Final = 0x6B
"""Object type of MPEG-1 audio."""
_BITS_PER_SECOND: Final = 32_000
_UNDETERMINED: Final = 0x55C4
"""Language code ``und``."""


class Soundtrack(NamedTuple):
    """A tune that lasts as long as a film, at most one MP3 frame less."""

    data: bytes
    frames: int

    def track(self, offset: int, scale: int) -> bytes:
        """Return the ``trak`` box.

        Args:
            offset: Where the file has the first byte of `data`.
            scale: Units per second of the film's header.
        """
        samples = self.frames * FRAME_SAMPLES
        header = struct.pack(">5I", 0, 0, TRACK_ID, 0, samples * scale // RATE)
        header += struct.pack(">2I4h", 0, 0, 0, 0, 0x0100, 0) + _UNITY + bytes(8)
        media = struct.pack(">4I2H", 0, 0, RATE, samples, _UNDETERMINED, 0)
        handler = struct.pack(">I4s12x", 0, b"soun") + b"SoundHandler\0"
        reference = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
        return box(
            b"trak",
            full_box(b"tkhd", header, flags=3),
            box(
                b"mdia",
                full_box(b"mdhd", media),
                full_box(b"hdlr", handler),
                box(
                    b"minf",
                    full_box(b"smhd", bytes(4)),
                    box(b"dinf", reference),
                    self._samples(offset),
                ),
            ),
        )

    def _samples(self, offset: int) -> bytes:
        """Return the ``stbl`` box: all frames are equally long, and follow each other in one chunk."""
        one = struct.pack(">I", 1)
        return box(
            b"stbl",
            full_box(b"stsd", one, _sample_entry()),
            full_box(b"stts", one, struct.pack(">2I", self.frames, FRAME_SAMPLES)),
            full_box(b"stsc", one, struct.pack(">3I", 1, self.frames, 1)),
            full_box(b"stsz", struct.pack(">2I", FRAME_BYTES, self.frames)),
            full_box(b"stco", one, struct.pack(">I", offset)),
        )


def soundtrack(seed: str, seconds: float) -> Soundtrack:
    """Return the tune that follows from ``seed``."""
    frames = max(1, int(seconds / FRAME_SECONDS))
    return Soundtrack(mp3(seed, frames * FRAME_SECONDS), frames)


def _sample_entry() -> bytes:
    rates = struct.pack(">2I", _BITS_PER_SECOND, _BITS_PER_SECOND)
    decoder = _descriptor(4, bytes((_MP3, 0x15)) + bytes(3) + rates)  # 0x15: a stream of audio
    stream = _descriptor(3, struct.pack(">HB", TRACK_ID, 0) + decoder + _descriptor(6, b"\x02"))
    entry = struct.pack(">6xH8x4HI", 1, 1, 16, 0, 0, RATE << 16)  # one channel, 16 bits
    return box(b"mp4a", entry, full_box(b"esds", stream))


def _descriptor(tag: int, content: bytes) -> bytes:
    return bytes((tag, len(content))) + content
