"""Sound results: a short tune that follows from a seed, as MP3 or WAV.

The MP3 is encoded here (MPEG-1, layer III, ISO 11172-3) in the simplest legal way: each frame sets a single
line of the spectrum, so that a note is one value and its sign. All frames have the same size, and none uses
bytes of the one before it.
"""

from __future__ import annotations

import math
import random
import struct
from array import array
from functools import lru_cache
from typing import Final

__all__ = ["FRAME_BYTES", "FRAME_SAMPLES", "FRAME_SECONDS", "RATE", "mp3", "wav"]

RATE: Final = 48_000
"""Samples of an MP3 per second."""
FRAME_SAMPLES: Final = 1152
FRAME_SECONDS: Final = FRAME_SAMPLES / RATE
"""Length of one MP3 frame: 24 ms."""

FRAME_BYTES: Final = 96  # 32 kbit/s
_HEADER: Final = bytes((0xFF, 0xFB, 0x14, 0xC0))  # MPEG-1, layer III, no CRC, 32 kbit/s, 48 kHz, mono
_SIDE_BITS: Final = 17 * 8
_GAIN: Final = 200  # 210 is full scale; four steps are a factor of two
_LINE_HZ: Final = RATE / 2 / 576
_NOTES: Final = (8, 9, 11, 12, 14, 16)
"""Lines of the spectrum to choose notes from; their middles are at 354 to 688 Hz."""
_NOTE_FRAMES: Final = 15
_WAV_RATE: Final = 16_000
_LOUD: Final = 9000
_FADE: Final = 400
"""Samples over which a note of the WAV fades in, and again fades out."""


def _tune(seed: str) -> list[int]:
    rng = random.Random(seed)  # noqa: S311 - a tune, not a secret
    return [rng.choice(_NOTES) for _ in range(8)]


@lru_cache(maxsize=16)
def mp3(seed: str, seconds: float) -> bytes:
    """Return an MP3 that plays for ``seconds``, exact to half a frame."""
    notes, frames = _tune(seed), max(1, round(seconds / FRAME_SECONDS))
    made = {(note, turn): _frame(note, turn) for note in set(notes) for turn in (0, 1)}
    return b"".join(made[notes[i // _NOTE_FRAMES % len(notes)], i % 2] for i in range(frames))


def _frame(line: int, turn: int) -> bytes:
    """Return one frame of two granules, each with the spectrum's ``line`` set.

    The phase of a steady tone midway between two lines advances by a quarter turn per granule. The signs of
    four granules in a row are therefore + - - +: ``turn`` 0 is the first half of them, 1 the second.
    """
    signs = ((0, 1), (1, 0))
    # Huffman table 1 codes pairs of lines: (0, 0) is 1, (1, 0) is 01, (0, 1) is 001; the sign bit follows.
    pairs, second = divmod(line, 2)
    data = [f"{'1' * pairs}{'001' if second else '01'}{sign}" for sign in signs[turn]]
    # Side information: main_data_begin (9 bits), private (5) and scfsi (4); then for each granule:
    # part2_3_length (12), big_values (9), global_gain (8), scalefac_compress (4), window switching (1),
    # three table numbers (5 each), two region counts (4 and 3) and three flags.
    side = "0" * 18
    for bits in data:
        side += f"{len(bits):012b}{pairs + 1:09b}{_GAIN:08b}0000" + "0" + "00001" * 3 + "0000" + "000" + "000"
    text = side.ljust(_SIDE_BITS, "0") + "".join(data)
    body = int(text.ljust((FRAME_BYTES - len(_HEADER)) * 8, "0"), 2)
    return _HEADER + body.to_bytes(FRAME_BYTES - len(_HEADER), "big")


@lru_cache(maxsize=16)
def wav(seed: str, seconds: float) -> bytes:
    """Return a 16-bit mono WAV that plays for ``seconds``."""
    samples, notes = round(seconds * _WAV_RATE), _tune(seed)
    length = round(_NOTE_FRAMES * FRAME_SECONDS * _WAV_RATE)
    played = {note: _note(note, length) for note in set(notes)}
    sound = array("h")
    while len(sound) < samples:
        sound.extend(played[notes[len(sound) // length % len(notes)]])
    data = struct.pack(f"<{samples}h", *sound[:samples])
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _WAV_RATE, _WAV_RATE * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVE"
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def _note(line: int, length: int) -> array[int]:
    turn = math.tau * (line + 0.5) * _LINE_HZ / _WAV_RATE
    return array(
        "h",
        (
            round(_LOUD * min(1.0, i / _FADE, (length - i) / _FADE) * math.sin(turn * i))
            for i in range(length)
        ),
    )
