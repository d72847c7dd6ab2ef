"""The files of what was made, by the id of what they belong to: a task, a video, a session, an element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kling_async.emulator.footage.clips import mp4
from kling_async.emulator.footage.pictures import png
from kling_async.emulator.footage.shapes import WIDE
from kling_async.emulator.footage.tones import mp3, wav
from kling_async.emulator.state.library import UNSEEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Task

__all__ = ["Shelf", "file_of", "shelf_of"]


@dataclass(frozen=True, slots=True)
class Shelf:
    """What has files. They all follow from this."""

    id: str
    since: float
    """Seconds since the emulator's start; the files die 30 days later."""
    seconds: float = UNSEEN_SECONDS
    aspect: str = WIDE
    text: object = None
    """What pictures and tunes follow from, beside the id."""


def shelf_of(its_id: str, tasks: Mapping[str, Task], library: Library) -> Shelf | None:
    """Return what has the files of an id; what lives until it is deleted keeps them as long."""
    if its_id in tasks:
        task = tasks[its_id]
        return Shelf(its_id, task.ends, task.seconds, task.aspect, task.body.get("prompt"))
    if its_id in library.clips:
        clip = library.clips[its_id]
        return Shelf(its_id, clip.made, clip.seconds, clip.aspect)
    session = library.faces.get(its_id) or library.editings.get(its_id)
    if session is not None:
        return Shelf(its_id, session.made, session.clip.seconds, session.clip.aspect)
    if its_id in library.shelves:
        return library.shelves[its_id]
    lives = its_id in library.voices or (its_id.isdecimal() and int(its_id) in library.elements)
    return Shelf(its_id, math.inf, aspect="1:1") if lives else None


def file_of(shelf: Shelf, name: str) -> tuple[bytes, str]:
    """Return a file and its type; its name is one that an answer gave."""
    stem, _, suffix = name.rpartition(".")
    if suffix == "mp4":
        return mp4(shelf.aspect, shelf.seconds), "video/mp4"
    index, _, mark = stem.partition("-")
    seed = f"{shelf.text} {shelf.id} {index}"
    if suffix == "mp3":
        return mp3(seed, shelf.seconds), "audio/mpeg"
    if suffix == "wav":
        return wav(seed, shelf.seconds), "audio/wav"
    aspect = "1:1" if index.startswith("face") else shelf.aspect
    return png(seed, aspect, marked=bool(mark)), "image/png"
