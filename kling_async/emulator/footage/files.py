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


def render_file(owner: MediaOwner, name: str) -> tuple[bytes, str]:
    """Return the bytes and the content type of one file; ``name`` must be one that an answer gave."""
    stem, _, suffix = name.rpartition(".")
    index, _, mark = stem.partition("-")  # "0-watermark.png" is "0.png" with a watermark on it
    seed = f"{owner.text} {owner.id} {index}"
    if suffix == "mp4":
        title = owner.text if isinstance(owner.text, str) else ""
        comment = f"{owner.id} {mark}".rstrip()
        return mp4(Film(owner.aspect, owner.seconds, seed, title, comment, owner.sound)), "video/mp4"
    if suffix == "mp3":
        return mp3(seed, owner.seconds), "audio/mpeg"
    if suffix == "wav":
        return wav(seed, owner.seconds), "audio/wav"
    if suffix in _SUBTITLES:
        return _SUBTITLES[suffix](owner.seconds), "text/plain; charset=utf-8"
    aspect = "1:1" if index.startswith("face") else owner.aspect
    return png(seed, aspect, marked=bool(mark)), "image/png"
