"""How long tasks take and what they cost."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random

    from kling_async.emulator.judging.reference import Endpoint

__all__ = ["count_of", "typical_seconds", "units_of", "uses_voices", "weight_of", "with_spread"]

MODEL_PACE: Final = {"kling-v2-5-turbo": 0.7, "kling-v2-6": 1.5}
"""Against kling-v3."""
MODE_PACE: Final = {"std": 1.0, "pro": 2.5, "4k": 5.0}
SOUND_PACE: Final = 1.3
SPREAD: Final = 0.2
"""Sigma of the logarithm."""
SERIES_LEAST: Final = 2
SERIES_MOST: Final = 9
"""Images of a series; one of any length may take so many slots."""


TYPICAL: Final[dict[str, float]] = {
    "multi_image_to_video": 120.0,
    "motion_control": 120.0,
    "multi_elements": 120.0,
    "video_extend": 90.0,
    "advanced_lip_sync": 60.0,
    "lip_sync": 60.0,
    "video_effects": 90.0,
    "image_expand": 15.0,
    "virtual_try_on": 12.0,
    "custom_elements": 5.0,
    "custom_voices": 9.0,
    "text_to_audio": 20.0,
    "video_to_audio": 30.0,
}
"""Seconds of tasks that have one pace; elements and voices were measured, the others are guesses."""


def typical_seconds(endpoint: Endpoint, body: dict[str, Any], seconds: float, count: int) -> float:
    """Return the median duration in seconds of a task that makes so many images or seconds of video.

    Measured in 2026: an image of kling-v3 24 s; silent clips of 3 to 5 s 30 to 90 s; pro clips minutes.
    """
    if endpoint.name in TYPICAL:
        return TYPICAL[endpoint.name]
    if endpoint.pool == "image":
        return 24.0 + 2.0 * (count - 1)
    pace = MODEL_PACE.get(body.get("model_name", ""), 1.0) * MODE_PACE.get(body.get("mode", "std"), 1.0)
    if body.get("sound") == "on":
        pace *= SOUND_PACE
    return (25.0 + 7.0 * seconds) * pace


def with_spread(seconds: float, rng: random.Random) -> float:
    """Return a duration drawn around its median, at most half or one and a half of it away."""
    return seconds * min(max(math.exp(rng.gauss(0.0, SPREAD)), 0.5), 1.5)


def weight_of(endpoint: Endpoint, body: dict[str, Any]) -> int:
    """Return the slots a task takes: as many as images it may make, else one; none without a pool."""
    if endpoint.pool == "none":
        return 0
    if endpoint.weight == "series" and body.get("result_type") == "series":
        amount = body["series_amount"]
        return SERIES_MOST if amount == "auto" else int(amount)
    return int(body.get("n", 1)) if endpoint.weight in ("n", "series") else int(endpoint.weight)


def count_of(endpoint: Endpoint, body: dict[str, Any], rng: random.Random) -> int:
    """Return how many images a task will make; of a series of any length, fewer than it took slots."""
    if body.get("series_amount") == "auto" and body.get("result_type") == "series":
        return rng.randint(SERIES_LEAST, SERIES_MOST - 1)
    return weight_of(endpoint, body) if endpoint.weight in ("n", "series") else 1


def units_of(endpoint: Endpoint, body: dict[str, Any], seconds: float = 5.0, count: int = 1) -> Decimal:
    """Return a price in units by the first row that fits; 0 if none does. Seconds count as whole ones."""
    for price in endpoint.prices:
        if price["model"] in (None, body.get("model_name")) and all(
            _holds(body.get(name), words) for name, words in price["when"].items()
        ):
            return Decimal(str(price["units"])) * _count(price["per"], seconds, count)
    return Decimal(0)


def uses_voices(body: dict[str, Any]) -> bool:
    """Tell whether the voices of a body are paid: only those that its prompt, or that of a shot, names."""
    prompts = [body.get("prompt"), *(shot.get("prompt") for shot in body.get("multi_prompt") or ())]
    named = any(re.search("<<<voice_[0-9]+>>>", prompt or "") for prompt in prompts)
    return named and bool(body.get("voice_list"))


def _holds(value: object, words: list[Any]) -> bool:
    if words in ([True], [False]):
        return bool(value) is words[0]
    return value in words


def _count(per: str, seconds: float, count: int) -> int:
    match per:
        case "second":
            return round(seconds)
        case "started 5 s":
            return max(1, math.ceil(seconds / 5))
        case "image":
            return count
        case _:
            return 1
