"""Audio endpoints of the first generation: speech, sounds from a text, sounds for a video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged, DerivedVideos, seconds_of
from kling_async.v1.rules import exactly_one
from kling_async.v1.tts_voices import speed_is_rounded, voice_is_taken, voice_speaks
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import VIDEO
from kling_async.wire.requests import CallRequest, File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Audio",
    "Audios",
    "SoundedVideos",
    "Speech",
    "SpeechAudio",
    "SpeechAudios",
    "TextToAudio",
    "TextToSpeech",
    "VideoToAudio",
]


class Audio(Discreet, frozen=True, kw_only=True):
    """One produced sound, in two formats. Id and addresses die 30 days after the task ended."""

    id: str = ""
    url_mp3: str = ""
    url_wav: str = ""
    duration_mp3: str | float | None = None
    """Seconds, as text; see ``seconds``."""
    duration_wav: str | float | None = None

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration_mp3)

    def files(self, name: str) -> tuple[File, ...]:
        """Return its files, of that name."""
        both = File(self.url_mp3, ".mp3", name), File(self.url_wav, ".wav", name)
        return tuple(file for file in both if file.url)


class Audios(Result, frozen=True, kw_only=True):
    """Result of an audio task; in practice one sound."""

    audios: tuple[Audio, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the sounds; none is watermarked."""
        found = () if watermarked else self.audios
        return tuple(file for at, audio in enumerate(found) for file in audio.files(str(at)))


class SoundedVideos(DerivedVideos, frozen=True, kw_only=True):
    """A video with its new sound, and that sound alone."""

    audios: tuple[Audio, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos and of the sounds."""
        sounds = Audios(audios=self.audios).files(watermarked=watermarked)
        return (*DerivedVideos.files(self, watermarked=watermarked), *sounds)


class SpeechAudio(Discreet, frozen=True, kw_only=True):
    """One spoken text. Id and address die after 30 days."""

    id: str = ""
    """Names the sound in other calls (``audio_id``)."""
    url: str = ""
    duration: str | float | None = None
    """Seconds, as text; see ``seconds``."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration)


class SpeechAudios(Discreet, frozen=True, kw_only=True):
    """All sounds of an answer."""

    audios: tuple[SpeechAudio, ...] = ()


class Speech(Charged, frozen=True, kw_only=True):
    """A spoken text, in the form of a task that has ended. One that failed is raised, not returned."""

    task_id: str = ""
    task_status: str = ""
    task_status_msg: str = ""
    task_result: SpeechAudios = SpeechAudios()
    created_at: int = 0
    """Milliseconds since 1970, as ``updated_at``."""
    updated_at: int = 0

    @property
    def audios(self) -> tuple[SpeechAudio, ...]:
        """The sounds; in practice one."""
        return self.task_result.audios

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the sounds; none is watermarked."""
        found = () if watermarked else self.audios
        return tuple(File(audio.url, ".mp3", str(at)) for at, audio in enumerate(found) if audio.url)

    def refusal(self) -> tuple[int | None, str] | None:
        """Return the reason, if the text was not spoken; there is no code."""
        failed = self.task_status == "failed"
        return (None, self.task_status_msg or "the text was not spoken") if failed else None


class TextToSpeech(CallRequest[Speech], frozen=True, kw_only=True, omit_defaults=True):
    """Speak a text: ``POST /v1/audio/tts``. Answered at once, takes no slot.

    It cannot be asked for again: an answer that is lost is paid for.
    """

    text: Annotated[str, Meta(max_length=1000, description="What to say")]
    voice_id: Annotated[str, Meta(description="One of TTS_VOICES; not a voice of the library or its presets")]
    voice_language: Annotated[Literal["zh", "en"], Meta(description="A language that the voice has")]
    voice_speed: (
        Annotated[
            float, Meta(ge=0.8, le=2, description="Rounded to one decimal place", extra={"default": 1.0})
        ]
        | None
    ) = None

    rules: ClassVar[tuple[Rule, ...]]


def voice_and_speed(r: TextToSpeech) -> Iterator[Problem | Doubt]:
    """A known voice must have the language; the vendor refused some voices, and rounds the speed."""
    yield from voice_is_taken(r.voice_id)
    yield from voice_speaks(r.voice_id, r.voice_language)
    yield from speed_is_rounded(r.voice_speed)


TextToSpeech.rules = (voice_and_speed,)


class TextToAudio(TaskRequest[Audios], frozen=True, kw_only=True, omit_defaults=True):
    """A sound from a text: ``POST /v1/audio/text-to-audio``. Takes one video slot, as far as known."""

    prompt: Annotated[str, Meta(max_length=200, description="What to hear")]
    duration: Annotated[
        float, Meta(ge=3, le=10, description="Length, to one decimal place", extra={"unit": "s"})
    ]

    rules: ClassVar[tuple[Rule, ...]]


def one_decimal_place(r: TextToAudio) -> Iterator[Problem | Doubt]:
    """The vendor takes tenths of a second."""
    if round(r.duration, 1) != r.duration:
        yield Problem("duration", f"{r.duration:g} has more than one decimal place")


TextToAudio.rules = (one_decimal_place,)


class VideoToAudio(TaskRequest[SoundedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """A sound for a video: ``POST /v1/audio/video-to-audio``. Takes one video slot, as far as known."""

    video_id: (
        Annotated[str, Meta(description="Of a video made here in the last 30 days, 3 to 20 s long")] | None
    ) = None
    video_url: (
        Annotated[MediaInput, Meta(description="At most 100 MB, 3 to 20 s", extra={"media": VIDEO})] | None
    ) = None
    sound_effect_prompt: Annotated[str, Meta(max_length=200, description="Sounds to hear")] | None = None
    bgm_prompt: Annotated[str, Meta(max_length=200, description="Music to hear")] | None = None
    asmr_mode: (
        Annotated[bool, Meta(description="True emphasises fine sounds", extra={"default": False})] | None
    ) = None

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)
