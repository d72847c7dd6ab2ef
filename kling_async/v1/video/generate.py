"""Video endpoints of the first generation: text to video.

Field names, words and bounds are the API's own (reference pages of 2026-03 and autumn 2026), so that its
documentation can be followed. A field left at None is not sent.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from kling_async.checks import Rule
from kling_async.v1.parts import CameraControl, Shot, Videos, WatermarkInfo
from kling_async.v1.rules import camera_moves_once, prompt_or_shots, shots_match, video_model
from kling_async.wire import TaskRequest

__all__ = ["DEFAULT_VIDEO_MODEL", "TextToVideo"]

DEFAULT_VIDEO_MODEL: Final = "kling-v3"
"""Sent where the caller names no model: the vendor's own default is retired."""


class TextToVideo(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A video from a text: ``POST /v1/videos/text2video``. Takes one video slot."""

    model_name: Annotated[
        str, Meta(description="kling-v3, kling-v2-6 or kling-v2-5-turbo (served on 2026-10-01)")
    ] = DEFAULT_VIDEO_MODEL
    multi_shot: (
        Annotated[
            bool,
            Meta(description="One video of several shots", extra={"default": False, "models": ("kling-v3",)}),
        ]
        | None
    ) = None
    shot_type: (
        Annotated[
            Literal["customize", "intelligence"],
            Meta(
                description="customize: multi_prompt names the shots; intelligence: the model cuts the prompt"
            ),
        ]
        | None
    ) = None
    multi_prompt: (
        Annotated[
            tuple[Shot, ...],
            Meta(min_length=1, max_length=6, description="The shots; their durations add up to duration"),
        ]
        | None
    ) = None
    prompt: (
        Annotated[
            str,
            Meta(max_length=2500, description="What to show; required unless shot_type is customize"),
        ]
        | None
    ) = None
    negative_prompt: (
        Annotated[
            str,
            Meta(
                max_length=2500, description="What to avoid; the vendor advises a sentence in prompt instead"
            ),
        ]
        | None
    ) = None
    sound: (
        Annotated[
            bool,
            Meta(
                description="With sound; kling-v2-6 needs mode pro",
                extra={"default": False, "wire": "on_off", "models": ("kling-v2-6", "kling-v3")},
            ),
        ]
        | None
    ) = None
    cfg_scale: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="Higher follows the prompt more closely", extra={"default": 0.5}),
        ]
        | None
    ) = None
    mode: (
        Annotated[
            Literal["std", "pro", "4k"],
            Meta(description="std 720p, pro 1080p, 4k (kling-v3 only)", extra={"default": "std"}),
        ]
        | None
    ) = None
    camera_control: (
        Annotated[CameraControl, Meta(description="Camera movement; granted to the retired kling-v1 only")]
        | None
    ) = None
    aspect_ratio: (
        Annotated[Literal["16:9", "9:16", "1:1"], Meta(description="Frame", extra={"default": "16:9"})] | None
    ) = None
    duration: (
        Annotated[
            int,
            Meta(
                ge=3,
                le=15,
                description="Length; 3 to 15 for kling-v3, 5 or 10 for all others",
                extra={"unit": "s", "default": 5, "wire": "text"},
            ),
        ]
        | None
    ) = None
    watermark_info: WatermarkInfo | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        prompt_or_shots,
        shots_match,
        camera_moves_once,
        video_model(
            "text_to_video",
            sound="sound",
            multi_shot="multi_shot",
            camera_control="camera_control",
            cfg_scale="cfg_scale",
        ),
    )
