"""What the account has made, or was told to have, that later calls name: videos, sounds, faces, voices.

Videos and sounds die 30 days after they were made, marks of an edit after a day; elements and voices live
until they are deleted. An id that nobody made is refused, as the vendor does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_async.emulator.http.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.footage.files import Shelf

__all__ = [
    "KEPT",
    "UNSEEN_SECONDS",
    "Audio",
    "Clip",
    "Editing",
    "Element",
    "Face",
    "Faces",
    "Library",
    "OldElement",
    "Point",
    "Thing",
    "Voice",
]

KEPT: Final = 30 * 86400.0
"""Seconds for which what was made exists."""
EDITING_KEPT: Final = 86400.0
"""Seconds for which the marks of an edit exist."""
UNSEEN_SECONDS: Final = 5.0
"""Length of a video or sound that is only an address: nobody fetches it here."""
OWNER: Final = "1234567"
"""The account's number, in what it made."""

_FIRST_PRESET_ELEMENT: Final = 820_000_000_000_000_001
_FIRST_PRESET_VOICE: Final = 829_000_000_000_000_001
_PRESET_ELEMENTS: Final = 55
_PRESET_VOICES: Final = 20

Point = tuple[float, float]
"""Shares of a frame's width and height."""


@dataclass(slots=True, kw_only=True)
class Clip:
    """A video. As a default, one that may be extended, edited and lip-synced."""

    id: str
    seconds: float = UNSEEN_SECONDS
    endpoint: str = "text_to_video"
    """What made it; empty for one that was given by its address."""
    model: str = "kling-v1-6"
    mode: str = "std"
    sound: bool = False
    aspect: str = "16:9"
    made: float = 0.0
    """Seconds since the emulator's start."""
    url: str = ""
    """Where it is, if not here."""


@dataclass(slots=True, kw_only=True)
class Audio:
    """A sound that was spoken or made."""

    id: str
    seconds: float = UNSEEN_SECONDS
    made: float = 0.0


@dataclass(slots=True, kw_only=True)
class Face:
    """A face in a video, and from when to when (ms) it can be synced."""

    id: str
    start_ms: int
    end_ms: int


@dataclass(slots=True, kw_only=True)
class Faces:
    """The faces found in a video."""

    id: str
    """The session's."""
    clip: Clip = field(default_factory=lambda: Clip(id="0"))
    faces: list[Face] = field(default_factory=lambda: [Face(id="0", start_ms=0, end_ms=5000)])
    made: float = 0.0


@dataclass(slots=True, kw_only=True)
class Editing:
    """A video that is being marked for an edit: the points by frame."""

    id: str
    """The session's."""
    clip: Clip = field(default_factory=lambda: Clip(id="0"))
    marks: dict[int, list[Point]] = field(default_factory=dict[int, list[Point]])
    made: float = 0.0


@dataclass(slots=True, kw_only=True)
class Voice:
    """A voice, the account's own or the vendor's."""

    id: str
    name: str = "Voice"
    owned_by: str = OWNER
    task_id: str = ""
    made_ms: int = 0
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class Element:
    """An element, the account's own or the vendor's."""

    id: int
    name: str = "Element"
    description: str = ""
    kind: str = "image_refer"
    """Or ``video_refer``: a video character."""
    pictures: int = 1
    """Pictures beside the frontal one."""
    voice: Voice | None = None
    tags: list[str] = field(default_factory=list[str])
    owned_by: str = OWNER
    task_id: str = ""
    made_ms: int = 0
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class OldElement:
    """An element of the first service, which the advanced one does not know."""

    id: int
    body: dict[str, Any]
    owned_by: str = OWNER


Thing = Clip | Audio | Faces | Editing | Voice | Element
"""What an account can be told to have."""

_Mortal = TypeVar("_Mortal", Clip, Audio, Faces, Editing)


class Library:
    """All of it, by id."""

    def __init__(self, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.clips: dict[str, Clip] = {}
        self.audios: dict[str, Audio] = {}
        self.faces: dict[str, Faces] = {}
        self.editings: dict[str, Editing] = {}
        self.voices = {voice.id: voice for voice in _preset_voices()}
        self.elements = {element.id: element for element in _preset_elements()}
        self.old_elements: list[OldElement] = []
        self.shelves: dict[str, Shelf] = {}
        """The files of what was made at once and is not named later, by the id of the call."""
        self.bills: dict[str, tuple[int, dict[str, Any]]] = {}
        """By the cursor of a bill's next page, what that page begins with and what was asked."""

    def keep(self, thing: Thing) -> None:
        """Let later calls find it."""
        match thing:
            case Clip():
                self.clips[thing.id] = thing
            case Audio():
                self.audios[thing.id] = thing
            case Faces():
                self.faces[thing.id] = thing
                self.clips.setdefault(thing.clip.id, thing.clip)
            case Editing():
                self.editings[thing.id] = thing
            case Voice():
                self.voices[thing.id] = thing
            case Element():
                self.elements[thing.id] = thing

    def clip(self, video_id: str) -> Clip:
        """Return a video, or refuse."""
        return self._living(self.clips, video_id, "From video not found by id")

    def audio(self, audio_id: str) -> Audio:
        """Return a sound, or refuse."""
        return self._living(self.audios, audio_id, "Audio not found by id")

    def faces_of(self, session_id: str) -> Faces:
        """Return the faces of a session, or refuse."""
        return self._living(self.faces, session_id, "Session not found by id")

    def editing(self, session_id: str) -> Editing:
        """Return the marks of a session, or refuse."""
        return self._living(self.editings, session_id, "Session not found by id", EDITING_KEPT)

    def _living(self, known: Mapping[str, _Mortal], its_id: str, words: str, kept: float = KEPT) -> _Mortal:
        thing = known.get(its_id)
        if thing is None or self.now() > thing.made + kept:
            raise Refusal(1201, f"{words}: {its_id[:64]}")
        return thing

    def voice(self, voice_id: str) -> Voice:
        """Return a voice that was not deleted, or refuse."""
        voice = self.voices.get(voice_id)
        if voice is None or voice.deleted:
            raise Refusal(1201, "Voice id not found")
        return voice

    def element(self, element_id: int) -> Element:
        """Return an element that was not deleted, or refuse."""
        element = self.elements.get(element_id)
        if element is None or element.deleted:
            raise Refusal(1201, f"Element not found by id: {element_id}")
        return element


def _preset_voices() -> list[Voice]:
    return [
        Voice(id=str(_FIRST_PRESET_VOICE + i), name=f"Preset voice {i + 1}", owned_by="kling", task_id=str(i))
        for i in range(_PRESET_VOICES)
    ]


def _preset_elements() -> list[Element]:
    return [
        Element(
            id=_FIRST_PRESET_ELEMENT + i,
            name=f"Preset {i + 1}",
            description="One of the official library",
            tags=["o_102"],
            owned_by="kling",
            task_id=str(i),
        )
        for i in range(_PRESET_ELEMENTS)
    ]
