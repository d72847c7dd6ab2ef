"""Picture results: a PNG of a landscape whose colours and hills follow from a seed.

Each pixel is one byte, an index into the palette, and each row is made by a few bulk operations on bytes:
pure Python then needs only milliseconds for a picture.
"""

from __future__ import annotations

import colorsys
import math
import random
import struct
import zlib
from typing import Final

__all__ = ["LONG_SIDE", "png", "size_for"]

LONG_SIDE: Final = 512
"""px, of a picture in 1k."""
_LEAST_SIDE: Final = 96
"""px; less would not hold the watermark."""

_HILLS: Final = 4
_SKY_SHADES: Final = 96
_MIST_SHADES: Final = 36
_SUN: Final = 255
_SUN_MARK: Final = 9
"""Value of a pixel before shading: 0 is sky, 1 to 4 are hills, 9 is the sun, 10 the watermark."""
_MARK: Final = 10

Colour = tuple[float, float, float]


def size_for(aspect_ratio: str, grade: int = 0) -> tuple[int, int]:
    """Return the width and height in px of a picture with an aspect ratio such as ``16:9``.

    Args:
        aspect_ratio: Width to height.
        grade: 0 for a picture in 1k, 1 for 2k, 2 for 4k: smaller than the vendor's, but in the same order.
    """
    across, down = (int(part) for part in aspect_ratio.split(":"))
    long = LONG_SIDE + LONG_SIDE // 2 * grade
    short = max(_LEAST_SIDE, round(long * min(across, down) / max(across, down)))
    return (long, short) if across >= down else (short, long)


def png(seed: str, aspect_ratio: str, *, marked: bool = False, grade: int = 0) -> bytes:
    """Return the PNG that follows from ``seed``; ``marked`` draws a white bar on it as a watermark."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    width, height = size_for(aspect_ratio, grade)
    palette = _palette(rng)
    rows = bytearray()
    for row in _shaded(_shapes(rng, width, height, marked=marked), height):
        rows += b"\0" + row  # filter type 0: bytes unchanged
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette(rng: random.Random) -> bytes:
    """Return the palette: sky from top to horizon, each hill from ridge to mist, white, sun."""
    hue = rng.random()
    high = colorsys.hsv_to_rgb(hue, 0.75, 0.38)
    low = colorsys.hsv_to_rgb((hue + rng.uniform(0.25, 0.45)) % 1, 0.45, 1.0)
    near = colorsys.hsv_to_rgb((hue + 0.05) % 1, 0.7, 0.13)
    colours = _blend(high, low, _SKY_SHADES)
    for hill in range(_HILLS):
        ridge = _mix(low, near, 0.35 + 0.65 * hill / (_HILLS - 1))
        colours += _blend(ridge, _mix(ridge, low, 0.35), _MIST_SHADES)
    colours += [(1.0, 1.0, 1.0)] * (_SUN - len(colours))
    colours.append(_mix(low, (1.0, 1.0, 0.9), 0.75))
    return bytes(round(255 * part) for colour in colours for part in colour)


def _mix(one: Colour, two: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, two, strict=True))
    return red, green, blue


def _blend(one: Colour, two: Colour, steps: int) -> list[Colour]:
    return [_mix(one, two, step / (steps - 1)) for step in range(steps)]


def _shapes(rng: random.Random, width: int, height: int, *, marked: bool) -> list[bytearray]:
    """Return the rows of a picture before shading, one byte per pixel: see `_SUN_MARK`."""
    rises = _rises(rng, width, height)
    sun_x, sun_y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.45)
    radius = min(width, height) * rng.uniform(0.08, 0.14)
    ground = bytearray(width)
    rows: list[bytearray] = []
    for y in range(height):
        for x, hill in rises.get(y, ()):
            ground[x] = max(ground[x], hill)
        row = ground.copy()
        half = math.sqrt(max(0.0, radius**2 - (y - sun_y) ** 2))
        left, right = max(0, round(sun_x - half)), max(0, round(sun_x + half))
        row[left:right] = row[left:right].replace(b"\0", bytes([_SUN_MARK]))
        if marked and height - 24 <= y < height - 14:
            row[width - 84 : width - 14] = bytes([_MARK]) * 70
        rows.append(row)
    return rows


def _rises(rng: random.Random, width: int, height: int) -> dict[int, list[tuple[int, int]]]:
    """Return, by row, the columns whose hill starts in that row, each with the number of the hill."""
    rises: dict[int, list[tuple[int, int]]] = {}
    for hill in range(1, _HILLS + 1):
        base, swing = height * (0.36 + 0.13 * hill), height * rng.uniform(0.05, 0.1)
        first, second = rng.uniform(0, math.tau), rng.uniform(0, math.tau)
        wide, narrow = rng.uniform(0.6, 1.4), rng.uniform(2.0, 4.0)
        for x in range(width):
            turn = math.tau * x / width
            top = base + swing * (math.sin(turn * wide + first) + 0.4 * math.sin(turn * narrow + second))
            rises.setdefault(max(0, round(top)), []).append((x, hill))
    return rises


def _shaded(rows: list[bytearray], height: int) -> list[bytes]:
    """Turn pixel values into palette indices: the sky pales downwards, the hills fade into mist."""
    shaded: list[bytes] = []
    for y, row in enumerate(rows):
        table = bytearray(256)
        table[0] = min(_SKY_SHADES - 1, y * _SKY_SHADES * 4 // (height * 3))
        for hill in range(1, _HILLS + 1):
            ridge = height * (0.3 + 0.13 * hill)
            depth = (y - ridge) / (height * 0.3) * _MIST_SHADES
            shade = min(_MIST_SHADES - 1, max(0, round(depth)))
            table[hill] = _SKY_SHADES + (hill - 1) * _MIST_SHADES + shade
        table[_SUN_MARK], table[_MARK] = _SUN, _SUN - 1
        shaded.append(bytes(row).translate(bytes(table)))
    return shaded
