"""Video results: short H.264 clips shipped with the package, cut anew for each film.

A shipped clip consists of a few groups of pictures, each of which can be decoded alone. A film has them in an
order that follows from its seed, at a speed that makes it as long as requested (ISO 14496-12: mvhd, tkhd,
elst, mdhd and stts tell times). The title names the prompt; an audio track is added on request.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from kling_async.emulator.footage.boxes import box, boxes, field, full_box
from kling_async.emulator.footage.shapes import nearest
from kling_async.emulator.footage.soundtracks import TRACK_ID, soundtrack

__all__ = ["Film", "mp4"]

_FILES: Final = {"16:9": "clip-16x9.mp4", "9:16": "clip-9x16.mp4", "1:1": "clip-1x1.mp4"}
_TITLE_LENGTH: Final = 200
"""Characters."""


@dataclass(frozen=True, slots=True)
class Film:
    """The description from which a film follows."""

    aspect: str
    """Aspect ratio, such as ``16:9``; the film has the nearest shipped one."""
    seconds: float
    seed: str = ""
    """Decides the order of the scenes, and the tune."""
    title: str = ""
    comment: str = ""
    sound: bool = False
    """Whether the film has an audio track."""


def mp4(film: Film) -> bytes:
    """Return the MP4 of a film."""
    data = bytearray(_clip(_FILES[nearest(film.aspect, _FILES)]))
    at = dict(boxes(data, 0, len(data)))
    scale = field(data, at[b"mvhd"] + 12)
    _retime(data, at, film.seconds)
    _reorder(data, at, film.seed)
    return _with_boxes(data, at, film, scale)


def _retime(data: bytearray, at: dict[bytes, int], seconds: float) -> None:
    """Make the pictures last for ``seconds``."""
    scale = field(data, at[b"mvhd"] + 12)
    for kind, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"elst", 8)):
        _put(data, at[kind] + offset, round(seconds * scale))
    # The shipped clips have a single stts entry, because all their frames last equally long.
    frames, media_scale = field(data, at[b"stts"] + 8), field(data, at[b"mdhd"] + 12)
    each = round(seconds * media_scale / frames)
    _put(data, at[b"stts"] + 12, each)
    _put(data, at[b"mdhd"] + 16, each * frames)


def _reorder(data: bytearray, at: dict[bytes, int], seed: str) -> None:
    """Put the groups of pictures into the order that follows from ``seed``."""
    frames = field(data, at[b"stsz"] + 8)
    sizes = [field(data, at[b"stsz"] + 12 + 4 * i) for i in range(frames)]
    firsts = [field(data, at[b"stss"] + 8 + 4 * i) - 1 for i in range(field(data, at[b"stss"] + 4))]
    groups = [slice(first, last) for first, last in zip(firsts, [*firsts[1:], frames], strict=True)]
    random.Random(seed).shuffle(groups)  # noqa: S311 - a film, not a secret
    pictures, start = b"", at[b"mdat"]
    sync, reordered = list[int](), list[int]()
    for group in groups:
        begin = start + sum(sizes[: group.start])
        pictures += data[begin : begin + sum(sizes[group])]
        sync.append(len(reordered) + 1)
        reordered += sizes[group]
    data[start : start + len(pictures)] = pictures
    for kind, offset, numbers in ((b"stsz", 12, reordered), (b"stss", 8, sync)):
        for i, number in enumerate(numbers):
            _put(data, at[kind] + offset + 4 * i, number)


def _with_boxes(data: bytearray, at: dict[bytes, int], film: Film, scale: int) -> bytes:
    """Return the file with title and sound, whose boxes stand at the end of ``moov``, before the pictures."""
    moov = at[b"moov"] - 8
    end = moov + field(data, moov)
    tags = _tags(film)
    tune = soundtrack(film.seed, film.seconds) if film.sound else None
    track_length = 0 if tune is None else len(tune.track(0, scale))
    grown = track_length + len(tags)
    _put(data, moov, field(data, moov) + grown)
    _put(data, at[b"stco"] + 8, field(data, at[b"stco"] + 8) + grown)
    if tune is None:
        return bytes(data[:end] + tags + data[end:])
    _put(data, at[b"mvhd"] + 96, TRACK_ID + 1)  # the number of the next track
    track = tune.track(len(data) + grown + 8, scale)
    return bytes(data[:end] + track + tags + data[end:] + box(b"mdat", tune.data))


def _tags(film: Film) -> bytes:
    """Return the ``udta`` box with title and comment, in the form that players read."""
    texts = {b"\xa9nam": film.title[:_TITLE_LENGTH], b"\xa9cmt": film.comment}
    items = [
        box(name, box(b"data", struct.pack(">2I", 1, 0), text.encode("utf-8", "replace")))
        for name, text in texts.items()
        if text
    ]
    handler = full_box(b"hdlr", struct.pack(">I4s4s9x", 0, b"mdir", b"appl"))
    return box(b"udta", full_box(b"meta", handler, box(b"ilst", *items))) if items else b""


def _put(data: bytearray, at: int, number: int) -> None:
    struct.pack_into(">I", data, at, number)


@cache
def _clip(name: str) -> bytes:
    return resources.files("kling_async.emulator.footage").joinpath(name).read_bytes()
