"""The files of a result, rendered on demand from the description of their owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kling_async.emulator.footage.clips import Film, mp4
from kling_async.emulator.footage.pictures import png
from kling_async.emulator.footage.shapes import UNSEEN_SECONDS, WIDE
from kling_async.emulator.footage.subtitles import ass, srt
from kling_async.emulator.footage.tones import mp3, wav

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MediaOwner", "render_file"]

_SUBTITLES: Final[dict[str, Callable[[float], bytes]]] = {"srt": srt, "ass": ass}


@dataclass(frozen=True, slots=True)
class MediaOwner:
    """Whatever has files: a task, a video, a session, an element, a voice or a synchronous call.

    All its files follow from these fields, so that none has to be stored.
    """

    id: str
    since: float
    """Seconds since the emulator's start; the files can be downloaded for 30 days from then on."""
    seconds: float = UNSEEN_SECONDS
    aspect: str = WIDE
    text: object = None
    """Seed of films, pictures and tunes, in addition to the id: the prompt, or the spoken text."""
    sound: bool = False
    """Whether films have an audio track."""
    request: str = ""
    """What films follow from instead, if it is known: the request without its names and addresses."""
    grade: int = 0
    """0 for films in 720p and pictures in 1k, 1 for 1080p and 2k, 2 for 4k."""


def render_file(owner: MediaOwner, name: str) -> tuple[bytes, str]:
    """Return the bytes and the content type of one file; ``name`` must be one that an answer gave."""
    stem, _, suffix = name.rpartition(".")
    index, _, mark = stem.partition("-")  # "0-watermark.png" is "0.png" with a watermark on it
    seed = f"{owner.text} {owner.id} {index}"
    if suffix == "mp4":
        return mp4(_film(owner, index, mark)), "video/mp4"
    if suffix == "mp3":
        return mp3(seed, owner.seconds), "audio/mpeg"
    if suffix == "wav":
        return wav(seed, owner.seconds), "audio/wav"
    if suffix in _SUBTITLES:
        return _SUBTITLES[suffix](owner.seconds), "text/plain; charset=utf-8"
    aspect = "1:1" if index.startswith("face") else owner.aspect
    return png(seed, aspect, marked=bool(mark), grade=owner.grade), "image/png"


def _film(owner: MediaOwner, index: str, mark: str) -> Film:
    """Return a film whose scene follows from the request; its last digits tell equal requests apart."""
    return Film(
        aspect=owner.aspect,
        seconds=owner.seconds,
        seed=f"{owner.request or owner.id} {index}",
        title=owner.text if isinstance(owner.text, str) else "",
        comment=f"{owner.id} {mark}".rstrip(),
        tail="emulator" if mark else f"#{owner.id[-4:]}",
        sound=owner.sound,
        grade=owner.grade,
    )
