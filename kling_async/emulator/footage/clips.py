"""Video results: H.264 films of a scene and a caption, drawn when they are asked for.

A film repeats the few seconds of its scene until it is as long as requested. Header first, then pictures in
their order, then sound (ISO 14496-12), so that a film can be played while it comes through a pipe. The title
names the prompt; an audio track is added on request.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from kling_async.emulator.footage.boxes import box, full_box
from kling_async.emulator.footage.captions import Caption, band_rows
from kling_async.emulator.footage.h264 import MACROBLOCK, configuration
from kling_async.emulator.footage.scenes import FRAMES, PALETTES, caption_slices, scene_for, scene_slices
from kling_async.emulator.footage.shapes import ratio
from kling_async.emulator.footage.soundtracks import soundtrack
from kling_async.emulator.footage.tracks import SCALE, UNITY, Track, numbers

__all__ = ["Film", "film_size", "mp4"]

SHORT_SIDES: Final = (360, 432, 540)
"""px, by grade: of films in 720p, 1080p and 4k. Smaller than the vendor's, but in the same order."""
_RATIO_MAX: Final = 3.0
_TITLE_LENGTH: Final = 200
"""Characters."""
_FRAMES_PER_SECOND: Final = 10
_RATE: Final = 120_000
"""Units per second of the pictures' times."""


@dataclass(frozen=True, slots=True)
class Film:
    """The description from which a film follows."""

    aspect: str
    """Aspect ratio, such as ``16:9``; beyond 3:1 and 1:3 the film has these."""
    seconds: float
    seed: str = ""
    """Decides the scene, its colours, and the tune."""
    title: str = ""
    """Written on the film as well, as far as its letters are known; its words choose the scene."""
    comment: str = ""
    tail: str = ""
    """Written at the end of the caption."""
    sound: bool = False
    """Whether the film has an audio track."""
    grade: int = 0
    """Index of `SHORT_SIDES`."""


def film_size(aspect: str, grade: int = 0) -> tuple[int, int]:
    """Return the width and height of a film in px, both even."""
    wide, short = ratio(aspect), SHORT_SIDES[grade]
    long = round(short * min(_RATIO_MAX, max(wide, 1 / wide)) / 2) * 2
    return (long, short) if wide >= 1 else (short, long)


@lru_cache(maxsize=32)
def mp4(film: Film) -> bytes:
    """Return the MP4 of a film."""
    frames = _frames(film)
    count = max(1, round(film.seconds * _FRAMES_PER_SECOND))
    width, height = film_size(film.aspect, film.grade)
    repeats, rest = divmod(count, FRAMES)
    shown = frames * repeats + frames[:rest]
    pictures = Track(
        track_id=1,
        kind=b"vide",
        size=(width, height),
        duration=round(film.seconds * SCALE),
        rate=_RATE,
        sample_duration=round(film.seconds * _RATE / count),
        samples=count,
        entry=_sample_entry(width, height),
        sizes=numbers([0, count, *map(len, shown)]),
        sync=range(1, count + 1, FRAMES),
    )
    tune = soundtrack(film.seed, film.seconds) if film.sound else None
    data = b"".join(shown)
    tracks = [(pictures, 0)] + ([(tune.track, len(data))] if tune else [])
    start = len(_head(film, tracks, 0))
    return _head(film, tracks, start) + box(b"mdat", data, tune.data if tune else b"")


def _frames(film: Film) -> list[bytes]:
    """Return the pictures of a film until they repeat: the slices of the scene and of the caption."""
    width, height = film_size(film.aspect, film.grade)
    across, down = -(-width // MACROBLOCK), -(-height // MACROBLOCK)
    rng = random.Random(film.seed)  # noqa: S311 - a film, not a secret
    scene, palette = scene_for(film.title, rng), rng.randrange(PALETTES)
    band = band_rows(across)
    upper = scene_slices(scene, palette, across, down - band)
    lower = caption_slices(Caption(film.title, film.tail), palette, across, down - band)
    return [one + other for one, other in zip(upper, lower, strict=True)]


def _head(film: Film, tracks: list[tuple[Track, int]], start: int) -> bytes:
    """Return the file up to its media, which begin 8 bytes after ``start``."""
    length = round(film.seconds * SCALE)
    header = numbers([0, 0, SCALE, length, 0x10000]) + struct.pack(">H10x", 0x0100) + UNITY + bytes(24)
    moov = box(
        b"moov",
        full_box(b"mvhd", header, numbers([len(tracks) + 1])),
        *(track.box(start + 8 + offset) for track, offset in tracks),
        _tags(film),
    )
    return box(b"ftyp", b"isom", numbers([0x200]), b"isomiso2avc1mp41") + moov


def _sample_entry(width: int, height: int) -> bytes:
    entry = struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, 72 << 16, 72 << 16, 1, 24, -1)
    return box(b"avc1", entry, configuration(width, height))


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
