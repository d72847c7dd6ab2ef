"""Prices of tasks and calls in units, by the vendor's price table."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import ReferenceEndpoint

__all__ = ["units_of", "uses_voices"]


def units_of(
    endpoint: ReferenceEndpoint, body: dict[str, Any], seconds: float = 5.0, count: int = 1
) -> Decimal:
    """Return the price in units by the first row that matches, 0 if none does.

    Args:
        endpoint: The endpoint, with its price table.
        body: The fields, with their defaults.
        seconds: Length of the result; rows per second count whole seconds.
        count: Images of the result.
    """
    for price in endpoint.prices:
        if price["model"] in (None, body.get("model_name")) and all(
            _matches(body.get(name), words) for name, words in price["when"].items()
        ):
            return Decimal(str(price["units"])) * _quantity(price["per"], seconds, count)
    return Decimal(0)


def uses_voices(body: dict[str, Any]) -> bool:
    """Tell whether the voices of a body are charged: the vendor charges only those that a prompt names."""
    prompts = [body.get("prompt"), *(shot.get("prompt") for shot in body.get("multi_prompt") or ())]
    named = any(re.search("<<<voice_[0-9]+>>>", prompt or "") for prompt in prompts)
    return named and bool(body.get("voice_list"))


def _matches(value: object, words: list[Any]) -> bool:
    if words in ([True], [False]):
        return bool(value) is words[0]
    return value in words


def _quantity(per: str, seconds: float, count: int) -> int:
    match per:
        case "second":
            return round(seconds)
        case "started 5 s":
            return max(1, math.ceil(seconds / 5))
        case "image":
            return count
        case _:
            return 1
