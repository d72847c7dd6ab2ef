"""How long tasks take and what they cost."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random

    from kling_async.emulator.reference import Endpoint

__all__ = ["typical_seconds", "units_of", "weight_of", "with_spread"]

MODEL_PACE: Final = {"kling-v2-5-turbo": 0.7, "kling-v2-6": 1.5}
"""Against kling-v3."""
MODE_PACE: Final = {"std": 1.0, "pro": 2.5, "4k": 5.0}
SOUND_PACE: Final = 1.3
SPREAD: Final = 0.2
"""Sigma of the logarithm."""


def typical_seconds(family: str, body: dict[str, Any]) -> float:
    """Return a task's median duration in seconds.

    Measured in 2026: an image of kling-v3 24 s; silent clips of 3 to 5 s 30 to 90 s; pro clips minutes.
    """
    if family == "image":
        return 24.0 + 2.0 * (int(body.get("n", 1)) - 1)
    seconds = 25.0 + 7.0 * float(body.get("duration", "5"))
    seconds *= MODEL_PACE.get(body.get("model_name", ""), 1.0) * MODE_PACE.get(body.get("mode", "std"), 1.0)
    return seconds * SOUND_PACE if body.get("sound") == "on" else seconds


def with_spread(seconds: float, rng: random.Random) -> float:
    """Return a duration drawn around its median, at most half or one and a half of it away."""
    return seconds * min(max(math.exp(rng.gauss(0.0, SPREAD)), 0.5), 1.5)


def weight_of(endpoint: Endpoint, body: dict[str, Any]) -> int:
    """Return the slots a task takes: as many as images it makes, else one."""
    return int(body.get("n", 1)) if endpoint.weight == "n" else 1


def units_of(endpoint: Endpoint, body: dict[str, Any]) -> Decimal:
    """Return a task's price in units by the first row that fits; 0 if none does."""
    for price in endpoint.prices:
        if price["model"] == body.get("model_name") and all(
            _holds(body.get(name), words) for name, words in price["when"].items()
        ):
            return Decimal(str(price["units"])) * _count(price["per"], body)
    return Decimal(0)


def _holds(value: object, words: list[Any]) -> bool:
    if words in ([True], [False]):
        return (value is not None) is words[0]
    return value in words


def _count(per: str, body: dict[str, Any]) -> Decimal:
    if per == "second":
        return Decimal(str(body.get("duration", "5")))
    return Decimal(int(body.get("n", 1)) if per == "image" else 1)
