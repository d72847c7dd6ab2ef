"""Video results: short H.264 clips shipped with the package, with their timing rewritten.

Only the times in the tables change (ISO 14496-12: mvhd, tkhd, elst, mdhd, stts). The pictures stay the same,
so a longer clip plays more slowly. No clip has an audio track, even when a request turns sound on.
"""

from __future__ import annotations

import struct
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from kling_async.emulator.footage.shapes import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mp4"]

_FILES: Final = {"16:9": "clip-16x9.mp4", "9:16": "clip-9x16.mp4", "1:1": "clip-1x1.mp4"}
_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})


def mp4(aspect_ratio: str, seconds: float) -> bytes:
    """Return an MP4 that plays for ``seconds``, in the shipped shape nearest to ``aspect_ratio``."""
    data = bytearray(_clip(_FILES[nearest(aspect_ratio, _FILES)]))
    at = dict(_boxes(data, 0, len(data)))
    scale = _field(data, at[b"mvhd"] + 12)
    for box, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"elst", 8)):
        struct.pack_into(">I", data, at[box] + offset, round(seconds * scale))
    # The shipped clips have a single stts entry, because all their frames last equally long.
    frames, media_scale = _field(data, at[b"stts"] + 8), _field(data, at[b"mdhd"] + 12)
    each = round(seconds * media_scale / frames)
    struct.pack_into(">I", data, at[b"stts"] + 12, each)
    struct.pack_into(">I", data, at[b"mdhd"] + 16, each * frames)
    return bytes(data)


@cache
def _clip(name: str) -> bytes:
    return resources.files("kling_async.emulator.footage").joinpath(name).read_bytes()


def _field(data: bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _boxes(data: bytearray, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Yield the type of each box and the offset of its content, descending into containers."""
    while at < end:
        size, kind = _field(data, at), bytes(data[at + 4 : at + 8])
        yield kind, at + 8
        if kind in _CONTAINERS:
            yield from _boxes(data, at + 8, at + size)
        at += size
