"""Pictures of films: another decoder finds exactly what was drawn."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from kling_async.emulator.footage.canvas import Palette, hsv
from kling_async.emulator.footage.captions import Caption
from kling_async.emulator.footage.h264 import Planes, configuration, encode_slices
from kling_async.emulator.footage.scenes import PALETTES, SCENES, caption_slices, scene_slices

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FFMPEG: Final = shutil.which("ffmpeg")
"""A decoder; None: this machine has none (on Debian: ``apt install ffmpeg``)."""

pytestmark = [pytest.mark.real, pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")]


def parameter_sets(width: int, height: int) -> list[bytes]:
    """Return the two NAL units that describe pictures of this size, out of an ``avcC`` box."""
    data, found = configuration(width, height), list[bytes]()
    assert data[4:8] == b"avcC"
    at = 14
    for _ in range(2):
        length = int.from_bytes(data[at : at + 2])
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length + 1
    return found


def decoded(pictures: Sequence[tuple[bytes, ...]], width: int, height: int, folder: Path) -> bytes:
    """Return the planes of pictures, each given as its slices, as ffmpeg decodes them without complaint."""
    units = parameter_sets(width, height) + [one[4:] for slices in pictures for one in slices]
    clip = folder / "clip.h264"
    clip.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in units))
    command = [str(FFMPEG), "-v", "error", "-i", str(clip), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert done.stderr == b""
    return done.stdout


def enlarged(picture: Planes) -> bytes:
    """Return the planes of a picture with the pixels of each block."""
    planes = (picture.luma, picture.blue, picture.red)
    return b"".join(bytes(value for value in row for _ in range(4)) * 4 for rows in planes for row in rows)


def scribbled(rng: random.Random, rows: list[bytearray]) -> list[bytes]:
    """Draw blocks and bars of random colours on a picture and return a copy."""
    for _ in range(rng.randrange(1, 40)):
        y, left, index = rng.randrange(len(rows)), rng.randrange(len(rows[0])), rng.randrange(256)
        right = min(len(rows[0]), left + rng.choice((1, 2, 9)))
        rows[y][left:right] = bytes([index]) * (right - left)
    return [bytes(row) for row in rows]


@pytest.mark.parametrize("seed", range(6))
def test_any_picture_is_decoded_exactly(seed: int, tmp_path: Path) -> None:
    """Noise and single changes in 256 colours come back to the last bit, in two slices, frame after frame."""
    rng = random.Random(seed)
    palette = Palette(
        [hsv(rng.random(), rng.random(), rng.choice((0.0, 1.0, rng.random()))) for _ in range(256)]
    )
    across, parts = rng.randrange(1, 9), (rng.randrange(1, 5), rng.randrange(1, 3))
    drawn, slices = list[list[Planes]](), list[tuple[bytes, ...]]()
    for number, down in enumerate(parts):
        few = 256 if seed % 2 else 3
        rows = [bytearray(rng.randrange(few) for _ in range(4 * across)) for _ in range(4 * down)]
        drawn.append([palette.planes(scribbled(rng, rows)) for _ in range(12)])
        drawn[-1].append(drawn[-1][-1])
        slices.append(encode_slices(drawn[-1], sum(parts[:number])))
    size = 16 * across, 16 * sum(parts)
    found = decoded(list(zip(*slices, strict=True)), *size, tmp_path)
    wanted = b""
    for upper, lower in zip(*drawn, strict=True):
        both = Planes(*(one + other for one, other in zip(upper, lower, strict=True)))
        wanted += enlarged(both)
    assert found == wanted


def test_every_scene_is_decoded_without_complaint(tmp_path: Path) -> None:
    """Each scene in some palette, with a caption below, gives its pictures; the last row may be cropped."""
    for number, scene in enumerate(SCENES):
        palette = number % PALETTES
        upper = scene_slices(scene, palette, 20, 9)
        lower = caption_slices(Caption("A caption", "#1"), palette, 20, 9)
        pairs = list(zip(upper, lower, strict=True))
        size = 318, 16 * (9 + 5) - 6
        planes = decoded(pairs, *size, tmp_path)
        assert len(planes) == len(pairs) * size[0] * size[1] * 3 // 2
