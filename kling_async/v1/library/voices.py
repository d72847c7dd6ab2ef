"""Voices of the first generation: those cloned from a recording, and the vendor's presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.records import VOICES_PAGE_SIZE_MAX
from kling_async.v1.library.shared import Voice
from kling_async.v1.parts import PAGE_NUMBER, PAGED, Deleted
from kling_async.v1.rules import is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import RECORDING
from kling_async.wire.requests import CallRequest, File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CustomVoice", "DeleteVoice", "PresetVoices", "Voice", "VoicePage", "VoiceTask", "Voices"]


class Voices(Result, frozen=True, kw_only=True):
    """Result of a custom voice: one voice."""

    voices: tuple[Voice, ...] = ()
    """The voice."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the samples; none is watermarked."""
        found = () if watermarked else self.voices
        return tuple(
            File(voice.trial_url, ".mp3", str(i)) for i, voice in enumerate(found) if voice.trial_url
        )


class CustomVoice(TaskRequest[Voices], frozen=True, kw_only=True, omit_defaults=True):
    """A voice cloned from a recording: ``POST /v1/general/custom-voices``.

    Takes one video slot as far as known. The recording holds one clear human voice for 5 to 30 seconds.

    Args:
        voice_name: Name of the voice, at most 20 characters.
        voice_url: Address of a sound or video: MP3, WAV, MP4 or MOV.
        video_id: Instead of voice_url: id of a video of kling-v2-6 with sound, of an avatar or of a lip sync,
            at most 30 days old.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_voices"

    voice_name: Annotated[str, Meta(max_length=20)]
    voice_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": RECORDING})] | None = None
    video_id: str | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def voice_has_one_source(r: CustomVoice) -> Iterator[Problem | Doubt]:
    """Require voice_url or video_id; warn of both."""
    given = is_set(r.voice_url) + is_set(r.video_id)
    if not given:
        yield Problem("voice_url", "give voice_url or video_id; neither is given")
    elif given == 2:
        yield Doubt("video_id", "is given beside voice_url; the vendor's pages show one of them alone")


CustomVoice.rules = (voice_has_one_source,)


class VoiceTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task by which the vendor made some of its preset voices."""

    task_id: str = ""
    """Id of the task."""
    task_status: str = ""
    """``succeed``."""
    task_result: Voices = msgspec.field(default_factory=Voices)
    """The voices."""
    created_at: int = 0
    """When the task was made, milliseconds since 1970."""
    updated_at: int = 0
    """When the task last changed, milliseconds since 1970."""


class VoicePage(Result, frozen=True, kw_only=True):
    """One page of the vendor's voices; one shorter than asked for is the last."""

    tasks: tuple[VoiceTask, ...] = ()
    """The tasks as the API nests them; see ``voices``."""

    @property
    def voices(self) -> tuple[Voice, ...]:
        """All voices of the page."""
        return tuple(voice for task in self.tasks for voice in task.task_result.voices)


class PresetVoices(CallRequest[VoicePage], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """List the vendor's own voices, ready to use: ``GET /v1/general/presets-voices``. Free.

    Your own: ``client.list(v1.CustomVoice)``.

    Args:
        page: Number of the page, 1 to 1000. Default: 1.
        page_size: Entries of a page, 1 to 1000. Default: 30.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_voices.presets"

    page: Annotated[int, PAGE_NUMBER] | None = None
    page_size: Annotated[int, Meta(ge=1, le=VOICES_PAGE_SIZE_MAX, extra={"default": 30})] | None = None
    extra: dict[str, Any] = {}


class DeleteVoice(CallRequest[Deleted], frozen=True, kw_only=True, omit_defaults=True):
    """Delete a voice of your own: ``POST /v1/general/delete-voices``.

    Args:
        voice_id: Id of the voice (not of the task that made it).
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_voices.delete"

    voice_id: str
    extra: dict[str, Any] = {}
