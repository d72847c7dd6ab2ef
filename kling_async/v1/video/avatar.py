"""Video endpoints of the first generation: make a person in a picture speak (avatar)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from kling_async.v1.parts import Videos, WatermarkInfo
from kling_async.v1.rules import exactly_one
from kling_async.wire.checks import Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import AUDIO, IMAGE
from kling_async.wire.requests import TaskRequest

__all__ = ["Avatar"]


class Avatar(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """Let a picture speak, for as long as the sound lasts: ``POST /v1/videos/avatar/image2video``.

    Takes one video slot. Exactly one of audio_id and sound_file is given.

    Args:
        image: Picture of who speaks.
        audio_id: Id of a sound made by `TextToSpeech` in the last 30 days, 2 to 300 seconds long.
        sound_file: The sound, 2 to 300 seconds long.
        prompt: Action, mood and camera work, at most 2500 characters.
        mode: ``std`` or ``pro``. Default: std.
        watermark_info: Asks for a watermarked copy beside the clean one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "avatar"

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    audio_id: str | None = None
    sound_file: Annotated[Media | str | bytes | Path, Meta(extra={"media": AUDIO})] | None = None
    prompt: Annotated[str, Meta(max_length=2500)] | None = None
    mode: Annotated[Literal["std", "pro"], Meta(extra={"default": "std"})] | None = None
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("audio_id", "sound_file"),)
