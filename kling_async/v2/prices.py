"""Prices of videos of the second generation, in units a second, by the vendor's table of 2026-09-20."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.wire.checks import to_wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.wire.requests import TaskRequest

__all__ = ["PRICES", "VideoCost", "VideoPrice", "video_price"]


class VideoPrice(NamedTuple):
    """The price of a model; a condition that is None does not matter."""

    endpoints: tuple[str, ...]
    model: str
    units: Mapping[str, float]
    """Units a second by resolution."""
    sound: bool | None = None
    """Whether sound is made with the picture."""
    voice: bool | None = None
    """Whether a prompt names a voice."""
    video: bool | None = None
    """Whether the request has a feature or base video."""


class VideoCost(NamedTuple):
    """Price of a request: units a second, and how many seconds, as far as both are known."""

    rate: float | None
    seconds: float | None
    most: float | None
    """Most seconds that the result can have."""
    why: str
    """The terms in words."""


_CLIPS: Final = ("v2.text_to_video", "v2.image_to_video")
_OMNI: Final = ("v2.omni_video",)
_MOTION: Final = ("v2.motion_control",)


def _units(hd: float, full_hd: float, uhd: float | None = None) -> dict[str, float]:
    units = {"720p": hd, "1080p": full_hd}
    return units if uhd is None else {**units, "4k": uhd}


PRICES: Final = (
    VideoPrice(_CLIPS, "kling-3.0-turbo", _units(0.8, 1.0)),
    VideoPrice(_CLIPS, "kling-3.0", _units(0.6, 0.8, 3.0), sound=False),
    VideoPrice(_CLIPS, "kling-3.0", _units(0.9, 1.2, 3.0), sound=True),
    VideoPrice(_CLIPS, "kling-2.6", _units(0.3, 0.5), sound=False),
    VideoPrice(_CLIPS, "kling-2.6", {"1080p": 1.0}, sound=True, voice=False),
    VideoPrice(_CLIPS, "kling-2.6", {"1080p": 1.2}, sound=True, voice=True),
    VideoPrice(_CLIPS, "kling-2.5-turbo", _units(0.3, 0.5)),
    VideoPrice(_OMNI, "kling-3.0-omni", _units(0.6, 0.8, 3.0), sound=False, video=False),
    VideoPrice(_OMNI, "kling-3.0-omni", _units(0.8, 1.0, 3.0), sound=True, video=False),
    VideoPrice(_OMNI, "kling-3.0-omni", _units(0.9, 1.2, 3.0), video=True),
    VideoPrice(_OMNI, "kling-o1", _units(0.6, 0.8), video=False),
    VideoPrice(_OMNI, "kling-o1", _units(0.9, 1.2), video=True),
    VideoPrice(_MOTION, "kling-3.0", _units(0.9, 1.2)),
    VideoPrice(_MOTION, "kling-2.6", _units(0.5, 0.8)),
)
"""The rows of the price table that are about the second generation."""


class _Sent:
    """A request as the vendor reads it, ``extra`` included."""

    def __init__(self, request: TaskRequest[Any]) -> None:
        body = to_wire(request, lambda _: "")
        self.model = str(getattr(request, "model_name", ""))
        settings = body.get("settings")
        self.settings: dict[str, Any] = settings if isinstance(settings, dict) else {}
        contents = body.get("contents")
        entries = contents if isinstance(contents, list) else []
        self.entries: list[dict[str, Any]] = [entry for entry in entries if isinstance(entry, dict)]
        self.prompt = str(body.get("prompt") or "".join(str(e.get("text", "")) for e in self.of("prompt")))

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry.get("type") in kinds]

    @property
    def resolution(self) -> Any:
        return self.settings.get("resolution", "720p")

    @property
    def sound(self) -> bool:
        return bool(self.settings.get("audio", "off") == "native")

    @property
    def video(self) -> bool:
        return bool(self.of("feature_video", "base_video"))

    @property
    def voice(self) -> bool:
        """Whether the prompt names a voice: one that it does not name is not used."""
        names = [re.escape(str(entry.get("id", ""))) for entry in self.of("voice")]
        return any(re.search(rf"@{name}(?![A-Za-z0-9_])", self.prompt) for name in names if name)


def video_price(name: str, request: TaskRequest[Any]) -> VideoCost:
    """Return what a request of the second generation costs, as far as the table tells.

    Args:
        name: Name of the catalog row.
        request: The request.
    """
    sent = _Sent(request)
    rows = (row for row in PRICES if name in row.endpoints and row.model == sent.model)
    row = next((row for row in rows if _fits(row, sent)), None)
    words = " ".join(
        [name, sent.model, str(sent.resolution)[:20], *(["with sound"] if sent.sound else [])]
        if sent.model
        else [name]
    )
    rate = row.units.get(sent.resolution) if row and isinstance(sent.resolution, str) else None
    if rate is None:
        return VideoCost(None, None, None, f"no price of {words} is known")
    seconds, most, what = _length(name, sent)
    return VideoCost(rate, seconds, most, f"{words}: {rate:g} a second x {what}")


def _fits(row: VideoPrice, sent: _Sent) -> bool:
    facts = ("sound", "voice", "video")
    return all(getattr(row, fact) in (None, getattr(sent, fact)) for fact in facts)


def _length(name: str, sent: _Sent) -> tuple[float | None, float | None, str]:
    """Return the seconds of the result, the most it can have, and both in words."""
    if name in _MOTION:
        most = 10 if sent.settings.get("character_orientation") == "image" else 30
        return None, most, f"the length of the video, at most {most} s"
    duration = sent.settings.get("duration")
    if sent.video and (duration is None or sent.of("base_video")):
        # an edited video keeps its length; what an absent duration means beside a feature video is not known
        most_s = 10 if sent.model == "kling-o1" else 15.5
        return None, most_s, f"the length of the video, at most {most_s:g} s"
    if duration is None:
        duration = 5
    if isinstance(duration, str) and duration.isdecimal():  # the wire takes both
        duration = int(duration)
    if isinstance(duration, bool) or not isinstance(duration, int | float) or duration <= 0:
        return None, None, "a duration that is not understood"
    return duration, duration, f"{duration:g} s"
