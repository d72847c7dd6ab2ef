"""Audio endpoints of the first generation: speech, sounds from a text, sounds for a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged, DerivedVideos, seconds_of
from kling_async.v1.rules import exactly_one
from kling_async.v1.tts_voices import speed_is_rounded, voice_is_taken, voice_speaks
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
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
    """One produced sound, in two formats. Id and addresses expire 30 days after the task ended."""

    id: str = ""
    """Id of the sound in other calls (``audio_id``)."""
    url_mp3: str = ""
    """Address of the MP3."""
    url_wav: str = ""
    """Address of the WAV."""
    duration_mp3: str | float | None = None
    """Length in seconds as sent, mostly text; see ``seconds``."""
    duration_wav: str | float | None = None
    """Length in seconds as sent, mostly text."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration_mp3)

    def files(self, name: str) -> tuple[File, ...]:
        """Return the two files, with that name."""
        both = File(self.url_mp3, ".mp3", name), File(self.url_wav, ".wav", name)
        return tuple(file for file in both if file.url)


class Audios(Result, frozen=True, kw_only=True):
    """Result of an audio task; in practice one sound."""

    audios: tuple[Audio, ...] = ()
    """The sounds."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the sounds; none is watermarked."""
        found = () if watermarked else self.audios
        return tuple(file for at, audio in enumerate(found) for file in audio.files(str(at)))


class SoundedVideos(DerivedVideos, frozen=True, kw_only=True):
    """Result of `VideoToAudio`: the video with its new sound, and the sound alone."""

    audios: tuple[Audio, ...] = ()
    """The sounds alone."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos and of the sounds."""
        sounds = Audios(audios=self.audios).files(watermarked=watermarked)
        return (*DerivedVideos.files(self, watermarked=watermarked), *sounds)


class SpeechAudio(Discreet, frozen=True, kw_only=True):
    """One spoken text. Id and address expire after 30 days."""

    id: str = ""
    """Id of the sound in other calls (``audio_id``)."""
    url: str = ""
    """Address of the MP3."""
    duration: str | float | None = None
    """Length in seconds as sent, mostly text; see ``seconds``."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        return seconds_of(self.duration)


class SpeechAudios(Discreet, frozen=True, kw_only=True):
    """All sounds of an answer."""

    audios: tuple[SpeechAudio, ...] = ()
    """The sounds; in practice one."""


class Speech(Charged, frozen=True, kw_only=True):
    """A spoken text, in the form of a task that has ended. A failed one is raised, not returned."""

    task_id: str = ""
    """Id of the task, which has ended."""
    task_status: str = ""
    """``succeed``."""
    task_status_msg: str = ""
    """The vendor's reason, if the task failed."""
    task_result: SpeechAudios = SpeechAudios()
    """The sounds as the API nests them; see ``audios``."""
    created_at: int = 0
    """When the task was made, milliseconds since 1970."""
    updated_at: int = 0
    """When the task ended, milliseconds since 1970."""

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

    The vendor keeps no way to ask for the sound again: an answer that is lost is paid for.

    Args:
        text: What to say, at most 1000 characters.
        voice_id: One of `TTS_VOICES`; voices and presets of the library are not taken here.
        voice_language: A language that the voice has.
        voice_speed: Speed of the speech, 0.8 to 2, rounded to one decimal place. Default: 1.0.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "text_to_speech"

    text: Annotated[str, Meta(max_length=1000)]
    voice_id: str
    voice_language: Literal["zh", "en"]
    voice_speed: Annotated[float, Meta(ge=0.8, le=2, extra={"default": 1.0})] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def spoken_voice_and_speed(r: TextToSpeech) -> Iterator[Problem | Doubt]:
    """Check that a known voice has the language; warn of voices once refused and of a rounded speed."""
    yield from voice_is_taken(r.voice_id)
    yield from voice_speaks(r.voice_id, r.voice_language)
    yield from speed_is_rounded(r.voice_speed)


TextToSpeech.rules = (spoken_voice_and_speed,)


class TextToAudio(TaskRequest[Audios], frozen=True, kw_only=True, omit_defaults=True):
    """A sound from a text: ``POST /v1/audio/text-to-audio``. Takes one video slot, as far as known.

    Args:
        prompt: Text of the sound, at most 200 characters.
        duration: Length in seconds, 3 to 10, with at most one decimal place.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "text_to_audio"

    prompt: Annotated[str, Meta(max_length=200)]
    duration: Annotated[float, Meta(ge=3, le=10, extra={"unit": "s"})]
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def one_decimal_place(r: TextToAudio) -> Iterator[Problem | Doubt]:
    """Refuse a length finer than tenths of a second."""
    if round(r.duration, 1) != r.duration:
        yield Problem("duration", f"{r.duration:g} has more than one decimal place")


TextToAudio.rules = (one_decimal_place,)


class VideoToAudio(TaskRequest[SoundedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """A sound for a video: ``POST /v1/audio/video-to-audio``. Takes one video slot, as far as known.

    Exactly one of video_id and video_url is given.

    Args:
        video_id: Id of a video made here in the last 30 days, 3 to 20 seconds long.
        video_url: Address of a video of 3 to 20 seconds, at most 100 MB.
        sound_effect_prompt: Text of the sounds, at most 200 characters.
        bgm_prompt: Text of the background music, at most 200 characters.
        asmr_mode: True emphasises fine sounds. Default: False.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "video_to_audio"

    video_id: str | None = None
    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})] | None = None
    sound_effect_prompt: Annotated[str, Meta(max_length=200)] | None = None
    bgm_prompt: Annotated[str, Meta(max_length=200)] | None = None
    asmr_mode: Annotated[bool, Meta(extra={"default": False})] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)
