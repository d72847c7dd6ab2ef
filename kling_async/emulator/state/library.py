"""The account's library: finds the earlier results that a request names, and refuses unknown ids.

As at the vendor, videos and sounds expire 30 days after they were made, and the marks of an edit after one
day. Elements and voices live until they are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import (
    Audio,
    Clip,
    Editing,
    Element,
    Faces,
    LibraryItem,
    OldElement,
    Voice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.footage.files import MediaOwner

__all__ = ["RESULT_LIFETIME", "Library"]

RESULT_LIFETIME: Final = 30 * 86400.0
"""Seconds after which results and their files expire."""
EDITING_LIFETIME: Final = 86400.0
"""Seconds after which the marks of an edit expire."""

_FIRST_PRESET_ELEMENT: Final = 820_000_000_000_000_001
_FIRST_PRESET_VOICE: Final = 829_000_000_000_000_001
_PRESET_ELEMENTS: Final = 55
_PRESET_VOICES: Final = 20

_Expiring = TypeVar("_Expiring", Clip, Audio, Faces, Editing)


class Library:
    """All items by id, with the vendor's preset elements and voices.

    Args:
        now: Returns the seconds since the emulator's start.
        new_id: Returns a new id.
    """

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
        self.call_media: dict[str, MediaOwner] = {}
        """Owners of files that a synchronous call made and that no later call names, by their id."""
        self.bill_cursors: dict[str, tuple[int, dict[str, Any]]] = {}
        """By the cursor of a bill's next page: the index of its first entry, and the original request."""

    def add(self, item: LibraryItem) -> None:
        """Add an item, so that later calls find it."""
        match item:
            case Clip():
                self.clips[item.id] = item
            case Audio():
                self.audios[item.id] = item
            case Faces():
                self.faces[item.id] = item
                self.clips.setdefault(item.clip.id, item.clip)
            case Editing():
                self.editings[item.id] = item
            case Voice():
                self.voices[item.id] = item
            case Element():
                self.elements[item.id] = item

    def clip(self, video_id: str) -> Clip:
        """Return a video, or refuse an unknown or expired one."""
        return self._unexpired(self.clips, video_id, "From video not found by id")

    def audio(self, audio_id: str) -> Audio:
        """Return a sound, or refuse an unknown or expired one."""
        return self._unexpired(self.audios, audio_id, "Audio not found by id")

    def faces_of(self, session_id: str) -> Faces:
        """Return the faces of a session, or refuse an unknown or expired session."""
        return self._unexpired(self.faces, session_id, "Session not found by id")

    def editing(self, session_id: str) -> Editing:
        """Return the editing session, or refuse an unknown or expired one."""
        return self._unexpired(self.editings, session_id, "Session not found by id", EDITING_LIFETIME)

    def _unexpired(
        self,
        known: Mapping[str, _Expiring],
        item_id: str,
        refusal: str,
        lifetime: float = RESULT_LIFETIME,
    ) -> _Expiring:
        item = known.get(item_id)
        if item is None or self.now() > item.made + lifetime:
            raise Refusal(1201, f"{refusal}: {item_id[:64]}")
        return item

    def voice(self, voice_id: str) -> Voice:
        """Return a voice, or refuse an unknown or deleted one."""
        voice = self.voices.get(voice_id)
        if voice is None or voice.deleted:
            raise Refusal(1201, "Voice id not found")
        return voice

    def element(self, element_id: int) -> Element:
        """Return an element, or refuse an unknown or deleted one."""
        element = self.elements.get(element_id)
        if element is None or element.deleted:
            raise Refusal(1201, f"Element id not found: {element_id}")
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
