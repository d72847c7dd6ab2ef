"""The size of a picture, read from the header of its file."""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["image_size"]

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
# frames C0 to CF hold the size, but for DHT, JPG and DAC
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in px by the header of a PNG or JPEG, None if it is neither or has none."""
    width = height = 0
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    elif data.startswith(_JPEG):
        width, height = _jpeg_size(data)
    return (width, height) if width and height else None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments up to the first frame header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # stands alone
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
