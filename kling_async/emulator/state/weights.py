"""Slots that a task takes, and images that it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random

    from kling_async.emulator.judging.reference import ReferenceEndpoint

__all__ = ["count_of", "weight_of"]

SERIES_LEAST: Final = 2
SERIES_MOST: Final = 9
"""Images of a series of open length, and the slots that such a series takes."""


def weight_of(endpoint: ReferenceEndpoint, body: dict[str, Any]) -> int:
    """Return the slots of a task: one per image that it may make, 1 for others, 0 outside all pools."""
    if endpoint.pool == "none":
        return 0
    if endpoint.weight == "series" and body.get("result_type") == "series":
        amount = body["series_amount"]
        return SERIES_MOST if amount == "auto" else int(amount)
    return int(body.get("n", 1)) if endpoint.weight in ("n", "series") else int(endpoint.weight)


def count_of(endpoint: ReferenceEndpoint, body: dict[str, Any], rng: random.Random) -> int:
    """Return the images that a task makes; a series of open length makes fewer than it takes slots."""
    if body.get("series_amount") == "auto" and body.get("result_type") == "series":
        return rng.randint(SERIES_LEAST, SERIES_MOST - 1)
    return weight_of(endpoint, body) if endpoint.weight in ("n", "series") else 1
