"""Formats of sound files, told by their first bytes, and the lengths of WAV and MP3 files."""

from __future__ import annotations

from typing import Final

__all__ = ["is_sound", "sound_seconds"]

_MP3_KBPS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""Bit rates of MPEG-1, layer III, by the index in a frame header (ISO 11172-3, 2.4.2.3)."""
_MP3_RATES: Final = (44100, 48000, 32000)
_MP3_SAMPLES: Final = 1152


def is_sound(data: bytes) -> bool:
    """Tell whether a file begins as an MP3, WAV, M4A or AAC file does."""
    if _is_wav(data) or data.startswith(b"ID3") or data[4:8] == b"ftyp":
        return True
    if len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    layer = data[1] >> 1 & 3  # 0 is ADTS, the framing of AAC, whose sync word has 12 bits
    return layer == 1 or (layer == 0 and data[1] & 0xF0 == 0xF0)


def sound_seconds(data: bytes) -> float | None:
    """Return the length in seconds of a WAV or MP3 file, None where only a decoder could tell it."""
    return (_wav_seconds(data) if _is_wav(data) else _mp3_seconds(data)) or None


def _is_wav(data: bytes) -> bool:
    return data.startswith(b"RIFF") and data[8:12] == b"WAVE"


def _wav_seconds(data: bytes) -> float:
    """Return the length of a WAV: the bytes of its data chunk divided by the bytes per second."""
    at, rate = 12, 0
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"fmt ":
            rate = int.from_bytes(data[at + 16 : at + 20], "little")
        elif kind == b"data":
            return min(size, len(data) - at - 8) / rate if rate else 0.0
        at += 8 + size + size % 2
    return 0.0


def _mp3_seconds(data: bytes) -> float:
    """Return the length of an MP3: the sum of its frames after an ID3 tag, 0 if there is no frame."""
    at, seconds = 0, 0.0
    if data.startswith(b"ID3") and len(data) >= 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    while (frame := _mp3_frame(data[at : at + 4])) is not None:
        size, rate = frame
        at += size
        seconds += _MP3_SAMPLES / rate
    return seconds


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """Return the size in bytes and the sample rate of an MP3 frame (MPEG-1, layer III), None for others."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xFE != 0xFA:
        return None
    bits, speed = header[2] >> 4, header[2] >> 2 & 3
    if bits in (0, 15) or speed == 3:
        return None
    rate = _MP3_RATES[speed]
    return 144_000 * _MP3_KBPS[bits] // rate + (header[2] >> 1 & 1), rate
