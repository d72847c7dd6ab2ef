"""Video endpoints of the first generation: a picture of somebody who speaks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from kling_async.v1.parts import Videos, WatermarkInfo
from kling_async.v1.rules import exactly_one
from kling_async.wire.checks import Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import AUDIO, IMAGE
from kling_async.wire.requests import TaskRequest

__all__ = ["Avatar"]


class Avatar(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """Let a picture speak, for as long as the sound lasts: ``POST /v1/videos/avatar/image2video``.

    Takes one video slot.
    """

    image: Annotated[MediaInput, Meta(description="Who speaks", extra={"media": IMAGE})]
    audio_id: (
        Annotated[
            str, Meta(description="Of a sound made by TextToSpeech in the last 30 days, 2 to 300 s long")
        ]
        | None
    ) = None
    sound_file: Annotated[MediaInput, Meta(description="2 to 300 s", extra={"media": AUDIO})] | None = None
    prompt: Annotated[str, Meta(max_length=2500, description="Action, mood, camera work")] | None = None
    mode: (
        Annotated[Literal["std", "pro"], Meta(description="std or pro", extra={"default": "std"})] | None
    ) = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("audio_id", "sound_file"),)
