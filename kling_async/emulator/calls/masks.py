"""Masks of marked objects, in the API's two forms: run lengths (COCO's RLE) and a PNG.

The emulator examines no picture: the object found at some points is the rectangle around them.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.emulator.state.items import Point

__all__ = ["mask_of"]

HALF: Final = 0.1
"""Margin of the rectangle around the points, as a share of the frame."""


def mask_of(points: list[Point], width: int, height: int) -> dict[str, Any]:
    """Return the entry of ``rle_mask_list`` for the object at ``points``, whose y counts from the bottom."""
    left, right = _span([x for x, _ in points], width)
    top, bottom = _span([1 - y for _, y in points], height)
    png = _picture(left, right, top, bottom, width, height)
    return {
        "object_id": 0,
        "rle_mask": {
            "size": [height, width],
            "counts": _packed(_runs(left, right, top, bottom, width, height)),
        },
        "png_mask": {"size": [height, width], "base64": base64.b64encode(png).decode()},
    }


def _span(shares: list[float], size: int) -> tuple[int, int]:
    low, high = max(0.0, min(shares) - HALF), min(1.0, max(shares) + HALF)
    return round(low * size), round(high * size)


def _runs(left: int, right: int, top: int, bottom: int, width: int, height: int) -> list[int]:
    """Return the lengths of the alternating runs of 0 and 1, column by column, starting with 0."""
    runs = [left * height + top]
    for _ in range(left, right):
        runs += [bottom - top, height - bottom + top]
    runs[-1] = runs[-1] - top + (width - right) * height
    return runs


def _packed(runs: list[int]) -> str:
    """Encode run lengths as COCO does.

    Each character holds five bits of a number and a flag for more to come. From the fourth run on, the number
    is the difference to the run before the last.
    """
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits if done else bits | 32))
            if done:
                break
    return text


def _picture(left: int, right: int, top: int, bottom: int, width: int, height: int) -> bytes:
    """Return a greyscale PNG that is white inside the rectangle."""
    empty = b"\0" * (width + 1)  # filter type 0, then the pixels
    marked = b"\0" * (left + 1) + b"\xff" * (right - left) + b"\0" * (width - right)
    rows = empty * top + marked * (bottom - top) + empty * (height - bottom)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunks(((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    )


def _chunks(chunks: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    for kind, data in chunks:
        yield struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
