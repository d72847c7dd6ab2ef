"""Video endpoints of the first generation: let a face in a video speak a sound.

`IdentifyFace` finds the faces of a video; one of them and a part of a sound make a `FaceChoice`; with it
`AdvancedLipSync` makes the video. `LipSync` is the older way, in one call.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem, RequestInvalid
from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged, DerivedVideos, WatermarkInfo
from kling_async.v1.rules import exactly_one, is_set, parts
from kling_async.v1.tts_voices import speed_is_rounded, voice_speaks
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import AUDIO, VIDEO
from kling_async.wire.requests import CallRequest, File, Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AdvancedLipSync",
    "Face",
    "FaceChoice",
    "Faces",
    "IdentifyFace",
    "LipSync",
    "LipSyncInput",
]

LEAST_MS: Final = 2000
"""Shortest part of a sound, and shortest time that it meets the face."""
MOST_MS: Final = 60_000
"""Length of the longest sound and of the longest video."""


class Face(Discreet, frozen=True, kw_only=True):
    """A face in a video, and the time in which it can speak."""

    face_id: str = ""
    """Id of the face within its session."""
    face_image: str = ""
    """Address of a picture of the face."""
    start_time: int = 0
    """When the face can begin to speak, in milliseconds of the video."""
    end_time: int = 0
    """When the face must have ended, in milliseconds of the video."""


class Faces(Charged, frozen=True, kw_only=True):
    """The faces of a video."""

    session_id: str = ""
    """Id of the session; `AdvancedLipSync` needs it."""
    face_data: tuple[Face, ...] = ()
    """The faces; empty if none was found."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the pictures of the faces, named by their ids; none is watermarked."""
        found = () if watermarked else self.face_data
        return tuple(File(face.face_image, ".png", face.face_id) for face in found if face.face_image)


class IdentifyFace(CallRequest[Faces], frozen=True, kw_only=True, omit_defaults=True):
    """Find the faces of a video: ``POST /v1/videos/identify-face``. Answered at once, takes no slot.

    Exactly one of the two is given.

    Args:
        video_id: Id of a video made here in the last 30 days, at most 60 seconds long.
        video_url: Address of a video of 2 to 60 seconds, 720p or 1080p, each side 512 to 2160 pixels, at most
            100 MB.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "identify_face"

    video_id: str | None = None
    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})] | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)


_VOLUME: Final = Meta(ge=0, le=2, extra={"default": 1})
_TIME: Final = Meta(ge=0, extra={"unit": "ms"})


class FaceChoice(Part, frozen=True, kw_only=True):
    """A face, and the part of a sound that it speaks; `of` makes one.

    Exactly one of audio_id and sound_file is given.

    Args:
        face_id: Id of the face, from `IdentifyFace`.
        audio_id: Id of a sound made by `TextToSpeech` in the last 30 days, 2 to 60 seconds long.
        sound_file: The sound, 2 to 60 seconds long.
        sound_start_time: Start of the part within the sound, in milliseconds from 0.
        sound_end_time: End of the part within the sound, in milliseconds: at least 2000 ms after its start,
            and not after the end of the sound.
        sound_insert_time: Start of the part within the video, in milliseconds from 0. The part must end
            within the video and meet the face for at least 2000 ms.
        sound_volume: Volume of the part, 0 to 2. Default: 1.
        original_audio_volume: Volume of the sound that the video already has, 0 to 2. Default: 1.
    """

    face_id: str
    audio_id: str | None = None
    sound_file: Annotated[Media | str | bytes | Path, Meta(extra={"media": AUDIO})] | None = None
    sound_start_time: Annotated[int, _TIME]
    sound_end_time: Annotated[int, Meta(extra={"unit": "ms"})]
    sound_insert_time: Annotated[int, _TIME]
    sound_volume: Annotated[float, _VOLUME] | None = None
    original_audio_volume: Annotated[float, _VOLUME] | None = None

    @classmethod
    def of(
        cls,
        face: Face,
        *,
        audio_id: str | None = None,
        sound_file: Media | str | bytes | Path | None = None,
        sound_start_time: int = 0,
        sound_end_time: int,
        sound_insert_time: int | None = None,
        sound_volume: float | None = None,
        original_audio_volume: float | None = None,
    ) -> FaceChoice:
        """Let a face speak a part of a sound; by default from the face's first moment on.

        Raises:
            RequestInvalid: The part would meet the face for less than 2000 ms.
        """
        choice = cls(
            face_id=face.face_id,
            audio_id=audio_id,
            sound_file=sound_file,
            sound_start_time=sound_start_time,
            sound_end_time=sound_end_time,
            sound_insert_time=face.start_time if sound_insert_time is None else sound_insert_time,
            sound_volume=sound_volume,
            original_audio_volume=original_audio_volume,
        )
        if problems := list(_not_on_the_face(choice, face)):
            raise RequestInvalid(cls.__name__, problems)
        return choice

    @property
    def cut(self) -> int:
        """Length of the part in milliseconds."""
        return self.sound_end_time - self.sound_start_time


def _not_on_the_face(choice: FaceChoice, face: Face) -> Iterator[Problem]:
    start = max(choice.sound_insert_time, face.start_time)
    end = min(choice.sound_insert_time + choice.cut, face.end_time)
    if face.end_time and end - start < LEAST_MS:  # where the answer tells when it is seen
        seen = f"it can speak from {face.start_time} to {face.end_time} ms"
        text = f"the sound is on the face for {max(0, end - start)} ms, at least {LEAST_MS} ms; {seen}"
        yield Problem("sound_insert_time", text)


class AdvancedLipSync(TaskRequest[DerivedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """Let a face of a video speak: ``POST /v1/videos/advanced-lip-sync``. Takes one video slot.

    For a text, make its sound by `TextToSpeech` first.

    Args:
        session_id: Id of the session, from `IdentifyFace`.
        face_choose: 1 face and what it speaks.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "advanced_lip_sync"

    session_id: str
    face_choose: Annotated[tuple[FaceChoice, ...], Meta(min_length=1, max_length=1)]
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def cut_fits(r: AdvancedLipSync) -> Iterator[Problem | Doubt]:
    """Require a part of at least 2 s that ends within the longest sound and the longest video."""
    for prefix, choice in parts(r, "face_choose"):
        end = choice.sound_insert_time + choice.cut
        if choice.cut < LEAST_MS:
            yield Problem(f"{prefix}sound_end_time", f"keeps {choice.cut} ms; at least {LEAST_MS} ms")
        elif choice.sound_end_time > MOST_MS:
            yield Problem(f"{prefix}sound_end_time", f"is after the end: sounds have at most {MOST_MS} ms")
        elif end > MOST_MS:
            text = f"the sound would end at {end} ms; videos have at most {MOST_MS} ms"
            yield Problem(f"{prefix}sound_insert_time", text)


AdvancedLipSync.rules = (exactly_one("audio_id", "sound_file", within="face_choose"), cut_fits)


class LipSyncInput(Part, frozen=True, kw_only=True):
    """Input of a `LipSync`: a video, and a text or a sound.

    Exactly one of video_id and video_url is given.

    Args:
        video_id: Id of a video made here in the last 30 days, at most 60 seconds long.
        video_url: Address of a video of 2 to 60 seconds, 720p or 1080p, each side 512 to 2160 pixels, at most
            100 MB.
        mode: ``text2video`` speaks a text, ``audio2video`` a sound.
        text: What to say, at most 120 characters. Required for ``text2video``.
        voice_id: One of `TTS_VOICES`. Required for ``text2video``.
        voice_language: A language that the voice has; one page of the vendor requires it with a text.
            Default: zh.
        voice_speed: Speed of the speech, 0.8 to 2, rounded to one decimal place. Default: 1.0.
        audio_type: Whether audio_file or audio_url holds the sound. Required for ``audio2video``.
        audio_file: The sound, for audio_type ``file``.
        audio_url: Address of the sound, for audio_type ``url``.
        model_name: Best left out: the vendor's reference has no such field. kling-v1-5, kling-v1-6, kling-v2
            and kling-v2-1 were still accepted on 2026-10-01.
    """

    video_id: str | None = None
    video_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": VIDEO})] | None = None
    mode: Literal["text2video", "audio2video"]
    text: Annotated[str, Meta(max_length=120)] | None = None
    voice_id: str | None = None
    voice_language: Annotated[Literal["zh", "en"], Meta(extra={"default": "zh"})] | None = None
    voice_speed: Annotated[float, Meta(ge=0.8, le=2, extra={"default": 1.0})] | None = None
    audio_type: Literal["file", "url"] | None = None
    audio_file: (
        Annotated[Media | str | bytes | Path, Meta(extra={"media": AUDIO._replace(url=False)})] | None
    ) = None
    audio_url: (
        Annotated[Media | str | bytes | Path, Meta(extra={"media": AUDIO._replace(base64=False)})] | None
    ) = None
    model_name: str | None = None


class LipSync(TaskRequest[DerivedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """Let the face of a video speak, in one call: ``POST /v1/videos/lip-sync``. Takes one video slot.

    Legacy: since autumn 2025 the vendor documents `IdentifyFace` and `AdvancedLipSync` instead. It documents
    no external_task_id here, so a create whose answer was lost is not sent again.

    Args:
        input: The video, and what is spoken.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "lip_sync"

    input: LipSyncInput
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


_OF_MODE: Final = {
    "text2video": ("text", "voice_id", "voice_language", "voice_speed"),
    "audio2video": ("audio_type", "audio_file", "audio_url"),
}


def text_or_sound(r: LipSync) -> Iterator[Problem | Doubt]:
    """Require a voice with a text, and the sound that audio_type names; warn of fields of the other mode."""
    given = r.input
    if given.mode == "text2video":
        needed, other = ["text", "voice_id"], "audio2video"
    else:
        needed, other = ["audio_type"], "text2video"
        if given.audio_type in ("file", "url"):  # the check of the field itself reports another word
            needed.append(f"audio_{given.audio_type}")
    for name in needed:
        if not is_set(getattr(given, name)):
            yield Problem(f"input.{name}", f"is required when mode is {given.mode!r}")
    for name in _OF_MODE[other]:
        if is_set(getattr(given, name)):
            yield Doubt(f"input.{name}", f"belongs to mode {other!r}, not to {given.mode!r}")


def lip_sync_voice_and_speed(r: LipSync) -> Iterator[Problem | Doubt]:
    """Check that a known voice has the language; warn of a speed that the vendor rounds."""
    if r.input.mode == "text2video":
        yield from voice_speaks(r.input.voice_id, r.input.voice_language, "input.")
        yield from speed_is_rounded(r.input.voice_speed, "input.")


LipSync.rules = (
    exactly_one("video_id", "video_url", within="input"),
    text_or_sound,
    lip_sync_voice_and_speed,
)
