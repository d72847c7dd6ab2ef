"""A canvas of palette indices, on which discs, bars and triangles are drawn by whole rows."""

from __future__ import annotations

import colorsys
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from kling_async.emulator.footage.h264 import Planes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Canvas", "Colour", "Palette", "blend", "hsv"]

Colour = tuple[float, float, float]
"""Red, green and blue, each from 0 to 1."""

_LUMA: Final = (0.299, 0.587, 0.114)
"""Shares of red, green and blue (ITU-R BT.601, which players assume for small pictures)."""


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour; hues beyond 0 to 1 go round the circle."""
    return colorsys.hsv_to_rgb(hue % 1, saturation, value)


def blend(one: Colour, two: Colour, share: float) -> Colour:
    """Return the colour at ``share`` of the way from one to another."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, two, strict=True))
    return red, green, blue


class Palette:
    """At most 256 colours, as the tables that turn indices into luma and colour differences."""

    def __init__(self, colours: Sequence[Colour]) -> None:
        luma, blue, red = bytearray(256), bytearray(256), bytearray(256)
        for index, colour in enumerate(colours):
            grey = sum(share * part for share, part in zip(_LUMA, colour, strict=True))
            # even, as the encoder demands
            luma[index] = round((16 + 219 * grey) / 2) * 2
            blue[index] = round(128 + 224 * (colour[2] - grey) / 1.772)
            red[index] = round(128 + 224 * (colour[0] - grey) / 1.402)
        self._tables = bytes(luma), bytes(blue), bytes(red)

    def planes(self, rows: Sequence[bytes | bytearray]) -> Planes:
        """Return a picture of indices as luma and colour.

        A colour stands for 2x2 blocks: that of the highest index, because what is drawn last has it.
        """
        luma, blue, red = self._tables
        indices = [bytes(row) for row in rows]
        leading = [_highest(*pair) for pair in zip(indices[::2], indices[1::2], strict=True)]
        return Planes(
            indices,
            [row.translate(luma) for row in indices],
            [row.translate(blue) for row in leading],
            [row.translate(red) for row in leading],
        )


@lru_cache(maxsize=1024)
def _highest(upper: bytes, lower: bytes) -> bytes:
    return bytes(map(max, upper[::2], upper[1::2], lower[::2], lower[1::2]))


class Canvas:
    """Rows of palette indices; whatever is drawn beyond the edges is cut off.

    Args:
        rows: Copied; the picture to draw on.
    """

    def __init__(self, rows: Sequence[bytes | bytearray]) -> None:
        self.rows = [bytearray(row) for row in rows]
        self.width, self.height = len(self.rows[0]), len(self.rows)

    def bar(self, left: float, top: float, right: float, bottom: float, index: int) -> None:
        """Fill a rectangle."""
        for y in range(max(0, round(top)), min(self.height, round(bottom))):
            self._span(y, left, right, index)

    def disc(self, x: float, y: float, radius: float, index: int) -> None:
        """Fill a circle around a point."""
        for row in range(max(0, math.ceil(y - radius)), min(self.height, math.floor(y + radius) + 1)):
            half = math.sqrt(max(0.0, radius**2 - (row - y) ** 2))
            self._span(row, x - half, x + half, index)

    def ring(self, x: float, y: float, radius: float, thickness: float, index: int) -> None:
        """Draw a circle around a point."""
        inner = max(0.0, radius - thickness)
        for row in range(max(0, math.ceil(y - radius)), min(self.height, math.floor(y + radius) + 1)):
            half = math.sqrt(max(0.0, radius**2 - (row - y) ** 2))
            hole = math.sqrt(max(0.0, inner**2 - (row - y) ** 2))
            self._span(row, x - half, x - hole, index)
            self._span(row, x + hole, x + half, index)

    def triangle(self, x: float, top: float, bottom: float, half: float, index: int) -> None:
        """Fill a triangle that has its tip at ``top`` and is ``half`` wide on either side at ``bottom``."""
        first, last = sorted((top, bottom))
        for y in range(max(0, round(first)), min(self.height, round(last))):
            share = (y - top) / (bottom - top) * half
            self._span(y, x - share, x + share, index)

    def _span(self, y: int, left: float, right: float, index: int) -> None:
        start, end = max(0, round(left)), min(self.width, round(right))
        if start < end:
            self.rows[y][start:end] = bytes([index]) * (end - start)
