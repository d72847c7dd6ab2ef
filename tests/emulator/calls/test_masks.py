"""Masks: both forms of a mask show the same object."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from kling_async.emulator.calls.masks import mask_of


def unpacked(text: str) -> list[int]:
    """Decode run lengths in COCO's encoding."""
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[at]) - 48
            value |= (bits & 31) << shift
            at, shift, more = at + 1, shift + 5, bool(bits & 32)
            if not more and bits & 16:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


@pytest.mark.parametrize("points", [[(0.5, 0.5)], [(0.01, 0.99)], [(0.99, 0.01)], [(0.2, 0.3), (0.7, 0.4)]])
def test_run_lengths_and_picture_agree(points: list[tuple[float, float]]) -> None:
    """Decoded column by column, the runs equal the pixels; the points are inside, with y from the bottom."""
    width, height = 64, 36
    mask = mask_of(points, width, height)
    picture = Image.open(io.BytesIO(base64.b64decode(mask["png_mask"]["base64"])))
    assert picture.size == (width, height) and mask["rle_mask"]["size"] == [height, width]
    columns = [picture.getpixel((x, y)) for x in range(width) for y in range(height)]
    runs = unpacked(mask["rle_mask"]["counts"])
    assert min(runs[1:]) >= 0 and sum(runs) == width * height
    assert [255 * (i % 2) for i, run in enumerate(runs) for _ in range(run)] == columns
    for x, y in points:
        assert picture.getpixel((int(x * width), int((1 - y) * height))) == 255
