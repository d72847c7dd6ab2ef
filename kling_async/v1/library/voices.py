"""Voices of the first generation: cloned from a recording, and the vendor's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.parts import PAGED, Deleted, PageNumber
from kling_async.v1.rules import is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import RECORDING
from kling_async.wire.requests import CallRequest, File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CustomVoice", "DeleteVoice", "PresetVoices", "Voice", "VoicePage", "VoiceTask", "Voices"]


class Voice(Discreet, frozen=True, kw_only=True):
    """One voice."""

    voice_id: str = ""
    """Names it in other requests."""
    voice_name: str = ""
    trial_url: str = ""
    """A sample to listen to."""
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""


class Voices(Result, frozen=True, kw_only=True):
    """Result of a custom voice: one voice."""

    voices: tuple[Voice, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the samples; none is watermarked."""
        found = () if watermarked else self.voices
        return tuple(
            File(voice.trial_url, ".mp3", str(i)) for i, voice in enumerate(found) if voice.trial_url
        )


class CustomVoice(TaskRequest[Voices], frozen=True, kw_only=True, omit_defaults=True):
    """A voice cloned from a recording: ``POST /v1/general/custom-voices``.

    Takes one video slot as far as known. The recording holds one clear human voice, 5 to 30 s of it.
    """

    voice_name: Annotated[str, Meta(max_length=20, description="What to call it")]
    voice_url: (
        Annotated[
            MediaInput,
            Meta(description="Address of a sound or video: MP3, WAV, MP4, MOV", extra={"media": RECORDING}),
        ]
        | None
    ) = None
    video_id: (
        Annotated[
            str,
            Meta(
                description="Instead: a result's video id, of kling-v2-6 with sound, avatar or lip sync, "
                "up to 30 days old"
            ),
        ]
        | None
    ) = None

    rules: ClassVar[tuple[Rule, ...]]


def voice_has_one_source(r: CustomVoice) -> Iterator[Problem | Doubt]:
    """The voice comes from a recording or from a video made before."""
    given = is_set(r.voice_url) + is_set(r.video_id)
    if not given:
        yield Problem("voice_url", "give voice_url or video_id; neither is given")
    elif given == 2:
        yield Doubt("video_id", "is given beside voice_url; the vendor's pages show one of them alone")


CustomVoice.rules = (voice_has_one_source,)


class VoiceTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of the vendor's that made some of its voices. Times are milliseconds since 1970."""

    task_id: str = ""
    task_status: str = ""
    task_result: Voices = msgspec.field(default_factory=Voices)
    created_at: int = 0
    updated_at: int = 0


class VoicePage(Result, frozen=True, kw_only=True):
    """One page of the vendor's voices; one shorter than asked for is the last."""

    tasks: tuple[VoiceTask, ...] = ()

    @property
    def voices(self) -> tuple[Voice, ...]:
        """All voices of the page."""
        return tuple(voice for task in self.tasks for voice in task.task_result.voices)


class PresetVoices(CallRequest[VoicePage], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """The vendor's own voices, ready to use: ``GET /v1/general/presets-voices``. Free.

    Your own: ``client.list(v1.CustomVoice)``.
    """

    page: PageNumber | None = None
    page_size: (
        Annotated[int, Meta(ge=1, le=1000, description="Entries of a page", extra={"default": 30})] | None
    ) = None


class DeleteVoice(CallRequest[Deleted], frozen=True, kw_only=True, omit_defaults=True):
    """Delete a voice of your own: ``POST /v1/general/delete-voices``."""

    voice_id: Annotated[str, Meta(description="The voice's id, not that of the task that made it")]
