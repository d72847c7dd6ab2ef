"""Video endpoints of the first generation: text to video.

Field names, words and bounds are the API's own (reference pages of 2026-03 and autumn 2026), so that its
documentation can be followed. A field left at None is not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from kling_async.checks import Doubt, Rule
from kling_async.errors import Problem
from kling_async.v1 import capabilities
from kling_async.wire import Discreet, File, Result, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_VIDEO_MODEL",
    "CameraConfig",
    "CameraControl",
    "Shot",
    "TextToVideo",
    "Video",
    "Videos",
    "WatermarkInfo",
]

DEFAULT_VIDEO_MODEL: Final = "kling-v3"
"""Sent where the caller names no model: the vendor's own default is retired."""


class WatermarkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a watermarked copy is made beside the clean one."""

    enabled: (
        Annotated[bool, Meta(description="True also gives watermark_url", extra={"default": False})] | None
    ) = None


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One shot of a video of several shots."""

    index: Annotated[int, Meta(ge=1, le=6, description="Number of the shot, from 1 without gaps")]
    prompt: Annotated[str, Meta(max_length=512, description="What this shot shows")]
    duration: Annotated[int, Meta(ge=1, description="Length", extra={"unit": "s", "wire": "text"})]


_Movement = Annotated[float, Meta(ge=-10, le=10, extra={"default": 0})] | None


class CameraConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A simple camera movement: exactly one of the six is not 0."""

    horizontal: _Movement = None
    """Shift: negative left, positive right."""
    vertical: _Movement = None
    """Shift: negative down, positive up."""
    pan: _Movement = None
    """Turn about the vertical axis: negative left, positive right."""
    tilt: _Movement = None
    """Turn about the horizontal axis: negative down, positive up."""
    roll: _Movement = None
    """Negative counter-clockwise, positive clockwise."""
    zoom: _Movement = None
    """Negative narrows the field of view, positive widens it."""


class CameraControl(msgspec.Struct, frozen=True, kw_only=True):
    """A camera movement. Left out, the model chooses."""

    type: Annotated[
        Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"],
        Meta(description="simple takes one movement from config; the others take no config"),
    ]
    config: CameraConfig | None = None


class Video(Discreet, frozen=True, kw_only=True):
    """One produced video. Addresses die 30 days after the task ended."""

    id: str = ""
    """Names the video in other calls (``video_id``); not the task's id."""
    url: str = ""
    watermark_url: str | None = None
    duration: str | float | None = None
    """As sent, text such as ``"5.041"``; see ``seconds``."""

    @property
    def seconds(self) -> float | None:
        """Length in seconds, if the vendor gave a number."""
        try:
            return float(self.duration) if self.duration is not None else None
        except ValueError:
            return None


class Videos(Result, frozen=True, kw_only=True):
    """Result of a video task; in practice one video."""

    videos: tuple[Video, ...] = ()

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the videos."""
        urls = (v.watermark_url if watermarked else v.url for v in self.videos)
        return tuple(File(url, ".mp4", str(i)) for i, url in enumerate(urls) if url)


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

    rules: ClassVar[tuple[Rule, ...]]


_NONE_SET: Final = (None, "")


def prompt_or_shots(r: TextToVideo) -> Iterator[Problem | Doubt]:
    """A prompt is needed unless the shots are given one by one."""
    customized = r.multi_shot and r.shot_type == "customize"
    if not customized and not (r.prompt or "").strip():
        yield Problem("prompt", "must not be empty")
    if customized and r.prompt not in _NONE_SET:
        yield Doubt("prompt", "is ignored by the vendor when shot_type is 'customize'")


def shots_match(r: TextToVideo) -> Iterator[Problem | Doubt]:
    """Several shots need a type; given one by one they count from 1 and add up to the duration."""
    if not r.multi_shot:
        for name in ("shot_type", "multi_prompt"):
            if getattr(r, name) not in (*_NONE_SET, ()):
                yield Doubt(name, "is ignored by the vendor unless multi_shot is True")
        return
    if not r.shot_type:
        yield Problem("shot_type", "is required with multi_shot; 'customize' or 'intelligence'")
    elif r.shot_type == "customize" and not r.multi_prompt:
        yield Problem("multi_prompt", "is required when shot_type is 'customize'")
    elif r.shot_type == "intelligence" and r.multi_prompt:
        yield Doubt("multi_prompt", "is ignored by the vendor when shot_type is 'intelligence'")
    elif r.shot_type == "customize":
        yield from _shots_add_up(r.multi_prompt or (), r.duration or 5)


def _shots_add_up(shots: tuple[Shot, ...], duration: int) -> Iterator[Problem]:
    total = sum(shot.duration for shot in shots)
    if total != duration:
        yield Problem("multi_prompt", f"the shots last {total} s together; duration is {duration} s")
    indexes = [shot.index for shot in shots]
    if indexes != list(range(1, len(shots) + 1)):
        yield Problem("multi_prompt", f"indexes are {indexes}; they must count from 1 without gaps")


def camera_moves_once(r: TextToVideo) -> Iterator[Problem | Doubt]:
    """A simple movement is exactly one; the composed ones take no config."""
    camera = r.camera_control
    if camera is None:
        return
    if camera.type != "simple":
        if camera.config is not None:
            yield Problem("camera_control.config", f"must be left out when type is {camera.type!r}")
        return
    moves = [] if camera.config is None else [v for v in msgspec.structs.astuple(camera.config) if v]
    if len(moves) != 1:
        yield Problem("camera_control.config", f"exactly one movement must not be 0; {len(moves)} are not")


def model_can(r: TextToVideo) -> Iterator[Problem | Doubt]:
    """The model must offer what is asked for, by the vendor's capability map."""
    mode = r.mode or "std"
    known = [row for row in capabilities.VIDEO if row.model == r.model_name]
    if r.model_name in capabilities.RETIRED_VIDEO:
        yield Doubt("model_name", f"{r.model_name!r} was announced to end on 2026-09-15")
    elif not r.model_name.strip():
        yield Problem("model_name", "must not be empty")
    elif not known:
        yield Doubt("model_name", f"{r.model_name!r} is not known here; the vendor will judge it")
    if not known:
        return
    rows = [row for row in known if mode in row.modes]
    if not rows:
        offered = sorted({m for row in known for m in row.modes})
        yield Problem("mode", f"{r.model_name} offers {', '.join(offered)}, not {mode}")
        return
    seconds = r.duration or 5
    fitting = [row for row in rows if seconds in row.durations]
    if not fitting:
        offered_s = ", ".join(map(str, sorted({s for row in rows for s in row.durations})))
        yield Problem("duration", f"{r.model_name} offers {offered_s} s, not {seconds}")
        return
    for name, wanted in _features(r):
        if wanted and getattr(fitting[0], name) is False:
            text = f"{r.model_name} in mode {mode} at {seconds} s has no {name}"
            yield Problem(name, text) if fitting[0].sure else Doubt(name, text)


def _features(r: TextToVideo) -> tuple[tuple[str, Any], ...]:
    return (
        ("sound", r.sound),
        ("multi_shot", r.multi_shot),
        ("camera_control", r.camera_control),
        ("cfg_scale", r.cfg_scale is not None),
    )


TextToVideo.rules = (prompt_or_shots, shots_match, camera_moves_once, model_can)
