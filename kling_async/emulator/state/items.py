"""Items of the account's library: the results that later calls may name, and those that a test adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from kling_async.emulator.footage.shapes import UNSEEN_SECONDS, WIDE

__all__ = [
    "OWNER",
    "Audio",
    "Clip",
    "Editing",
    "Element",
    "Face",
    "Faces",
    "LibraryItem",
    "OldElement",
    "Point",
    "TaskSource",
    "Voice",
]

OWNER: Final = "1234567"
"""The account's number, shown as ``owned_by`` of what the account made."""

Point = tuple[float, float]
"""Coordinates as shares of a frame's width and height."""


@dataclass(slots=True, kw_only=True)
class Clip:
    """A video. The defaults describe one that may be extended, edited and lip-synced."""

    id: str
    seconds: float = UNSEEN_SECONDS
    endpoint: str = "text_to_video"
    """Endpoint that made the video; empty for one given by URL."""
    model: str = "kling-v1-6"
    mode: str = "std"
    sound: bool = False
    aspect: str = WIDE
    made: float = 0.0
    """When the video was made, in seconds since the emulator's start."""
    url: str = ""
    """Address of a video given by URL; empty for one that the emulator serves."""


@dataclass(slots=True, kw_only=True)
class Audio:
    """A sound: spoken from a text, or made by a task."""

    id: str
    seconds: float = UNSEEN_SECONDS
    made: float = 0.0
    """When the sound was made, in seconds since the emulator's start."""


@dataclass(slots=True, kw_only=True)
class Face:
    """A face in a video, with the interval in ms in which it can be lip-synced."""

    id: str
    start_ms: int
    end_ms: int


@dataclass(slots=True, kw_only=True)
class Faces:
    """The faces found in a video: a session of lip sync."""

    id: str
    """Id of the session."""
    clip: Clip = field(default_factory=lambda: Clip(id="0"))
    faces: list[Face] = field(default_factory=lambda: [Face(id="0", start_ms=0, end_ms=5000)])
    made: float = 0.0
    """When the faces were found, in seconds since the emulator's start."""


@dataclass(slots=True, kw_only=True)
class Editing:
    """A video with marked points: a session of video editing."""

    id: str
    """Id of the session."""
    clip: Clip = field(default_factory=lambda: Clip(id="0"))
    marks: dict[int, list[Point]] = field(default_factory=dict[int, list[Point]])
    """Marked points by the index of their frame."""
    made: float = 0.0
    """When the session began, in seconds since the emulator's start."""


@dataclass(slots=True, kw_only=True)
class Voice:
    """A voice, made by the account or preset by the vendor."""

    id: str
    name: str = "Voice"
    owned_by: str = OWNER
    task_id: str = ""
    made_ms: int = 0
    """When the voice was made, in ms of wall time."""
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class Element:
    """An element, made by the account or preset by the vendor."""

    id: int
    name: str = "Element"
    description: str = ""
    kind: str = "image_refer"
    """``image_refer`` (made from images) or ``video_refer`` (a character made from a video)."""
    pictures: int = 1
    """Number of images besides the frontal one."""
    voice: Voice | None = None
    tags: list[str] = field(default_factory=list[str])
    owned_by: str = OWNER
    task_id: str = ""
    made_ms: int = 0
    """When the element was made, in ms of wall time."""
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class OldElement:
    """An element of the vendor's first element service, whose ids the newer endpoints do not know."""

    id: int
    body: dict[str, Any]
    owned_by: str = OWNER


LibraryItem = Clip | Audio | Faces | Editing | Voice | Element
"""Items that can be added to the library of an account."""


@dataclass(frozen=True, slots=True)
class TaskSource:
    """The library items and files that a task works on."""

    clip: Clip | None = None
    seconds: float | None = None
    """Length of the result, where it depends on the source."""
    editing: Editing | None = None
    voice: Voice | None = None
    unreachable: str | None = None
    """Address of an input file that cannot be fetched, for which the task will fail."""
