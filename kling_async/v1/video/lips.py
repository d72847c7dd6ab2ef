"""Video endpoints of the first generation: let a face in a video speak a sound.

`IdentifyFace` finds the faces of a video; one of them and a part of a sound make a `FaceChoice`; with it
`AdvancedLipSync` makes the video. `LipSync` is the older way, in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.errors import Problem, RequestInvalid
from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged, DerivedVideos, WatermarkInfo
from kling_async.v1.rules import exactly_one, is_set, parts
from kling_async.v1.tts_voices import speed_is_rounded, voice_speaks
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
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
"""The least of a sound that is kept, and that falls on a face."""
MOST_MS: Final = 60_000
"""Length of the longest sound and of the longest video."""

_MadeVideo = (
    Annotated[str, Meta(description="Of a video made here in the last 30 days, at most 60 s long")] | None
)
_VideoAddress = (
    Annotated[
        MediaInput,
        Meta(
            description="At most 100 MB, 2 to 60 s, 720p or 1080p, each side 512 to 2160 px",
            extra={"media": VIDEO},
        ),
    ]
    | None
)


class Face(Discreet, frozen=True, kw_only=True):
    """A face in a video, and from when to when (ms) it can speak."""

    face_id: str = ""
    face_image: str = ""
    """Address of a picture of it."""
    start_time: int = 0
    end_time: int = 0


class Faces(Charged, frozen=True, kw_only=True):
    """The faces of a video."""

    session_id: str = ""
    """`AdvancedLipSync` needs it."""
    face_data: tuple[Face, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the pictures of the faces, named by their ids; none is watermarked."""
        found = () if watermarked else self.face_data
        return tuple(File(face.face_image, ".png", face.face_id) for face in found if face.face_image)


class IdentifyFace(CallRequest[Faces], frozen=True, kw_only=True, omit_defaults=True):
    """Find the faces of a video: ``POST /v1/videos/identify-face``. Answered at once, takes no slot."""

    video_id: _MadeVideo = None
    video_url: _VideoAddress = None

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("video_id", "video_url"),)


_Volume = Annotated[float, Meta(ge=0, le=2, extra={"default": 1})] | None


class FaceChoice(Part, frozen=True, kw_only=True):
    """A face, and the part of a sound that it speaks; `of` makes one. Times are milliseconds."""

    face_id: Annotated[str, Meta(description="From IdentifyFace")]
    audio_id: (
        Annotated[
            str, Meta(description="Of a sound made by TextToSpeech in the last 30 days, 2 to 60 s long")
        ]
        | None
    ) = None
    sound_file: Annotated[MediaInput, Meta(description="2 to 60 s", extra={"media": AUDIO})] | None = None
    sound_start_time: Annotated[
        int, Meta(ge=0, description="Where the part begins, on the sound", extra={"unit": "ms"})
    ]
    sound_end_time: Annotated[
        int,
        Meta(
            description="Where it ends, not after the sound's end; at least 2000 ms after its beginning",
            extra={"unit": "ms"},
        ),
    ]
    sound_insert_time: Annotated[
        int,
        Meta(
            ge=0,
            description="Where it begins on the video; it must end there, and meet the face for 2000 ms",
            extra={"unit": "ms"},
        ),
    ]
    sound_volume: _Volume = None
    """0 to 2."""
    original_audio_volume: _Volume = None
    """0 to 2; of the sound that the video has already."""

    @classmethod
    def of(
        cls,
        face: Face,
        *,
        audio_id: str | None = None,
        sound_file: MediaInput | None = None,
        sound_start_time: int = 0,
        sound_end_time: int,
        sound_insert_time: int | None = None,
        sound_volume: float | None = None,
        original_audio_volume: float | None = None,
    ) -> FaceChoice:
        """Let a face speak a part of a sound, from its first moment on unless told otherwise.

        Raises:
            RequestInvalid: The part would not be on the face for 2000 ms.
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
        """How long the part is, ms."""
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
    """

    session_id: Annotated[str, Meta(description="From IdentifyFace")]
    face_choose: Annotated[tuple[FaceChoice, ...], Meta(min_length=1, max_length=1, description="One face")]
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]]


def cut_fits(r: AdvancedLipSync) -> Iterator[Problem | Doubt]:
    """At least two seconds of a sound are kept; sound and video have their greatest lengths."""
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
    """What a `LipSync` is made of."""

    video_id: _MadeVideo = None
    video_url: _VideoAddress = None
    mode: Annotated[
        Literal["text2video", "audio2video"], Meta(description="What is spoken: a text, or a sound")
    ]
    text: Annotated[str, Meta(max_length=120, description="Needed by text2video")] | None = None
    voice_id: Annotated[str, Meta(description="Needed by text2video; one of TTS_VOICES")] | None = None
    voice_language: (
        Annotated[
            Literal["zh", "en"],
            Meta(
                description="A language that the voice has; a page of the vendor asks for it with a text",
                extra={"default": "zh"},
            ),
        ]
        | None
    ) = None
    voice_speed: (
        Annotated[
            float, Meta(ge=0.8, le=2, description="Rounded to one decimal place", extra={"default": 1.0})
        ]
        | None
    ) = None
    audio_type: (
        Annotated[
            Literal["file", "url"],
            Meta(description="Needed by audio2video: whether audio_file or audio_url holds the sound"),
        ]
        | None
    ) = None
    audio_file: (
        Annotated[MediaInput, Meta(description="The sound", extra={"media": AUDIO._replace(url=False)})]
        | None
    ) = None
    audio_url: (
        Annotated[MediaInput, Meta(description="The sound", extra={"media": AUDIO._replace(base64=False)})]
        | None
    ) = None
    model_name: (
        Annotated[
            str,
            Meta(
                description="Not in the vendor's reference; kling-v1-5, kling-v1-6, kling-v2 and kling-v2-1 "
                "were still taken on 2026-10-01"
            ),
        ]
        | None
    ) = None


class LipSync(TaskRequest[DerivedVideos], frozen=True, kw_only=True, omit_defaults=True):
    """Let the face of a video speak, in one call: ``POST /v1/videos/lip-sync``. Takes one video slot.

    Legacy: the vendor's documentation has `IdentifyFace` and `AdvancedLipSync` instead since autumn 2025. It
    documents no external_task_id here, so a create whose answer was lost is not sent again.
    """

    input: LipSyncInput

    rules: ClassVar[tuple[Rule, ...]]


_OF_MODE: Final = {
    "text2video": ("text", "voice_id", "voice_language", "voice_speed"),
    "audio2video": ("audio_type", "audio_file", "audio_url"),
}


def text_or_sound(r: LipSync) -> Iterator[Problem | Doubt]:
    """A text needs a voice; a sound is a file or an address, as announced."""
    given = r.input
    if given.mode == "text2video":
        needed, other = ["text", "voice_id"], "audio2video"
    else:
        needed, other = ["audio_type"], "text2video"
        if given.audio_type in ("file", "url"):  # another word is told already
            needed.append(f"audio_{given.audio_type}")
    for name in needed:
        if not is_set(getattr(given, name)):
            yield Problem(f"input.{name}", f"is required when mode is {given.mode!r}")
    for name in _OF_MODE[other]:
        if is_set(getattr(given, name)):
            yield Doubt(f"input.{name}", f"belongs to mode {other!r}, not to {given.mode!r}")


def voice_and_speed(r: LipSync) -> Iterator[Problem | Doubt]:
    """A known voice must have the language; the vendor rounds the speed."""
    if r.input.mode == "text2video":
        yield from voice_speaks(r.input.voice_id, r.input.voice_language, "input.")
        yield from speed_is_rounded(r.input.voice_speed, "input.")


LipSync.rules = (exactly_one("video_id", "video_url", within="input"), text_or_sound, voice_and_speed)
