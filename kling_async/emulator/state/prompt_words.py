"""Words in the texts of a request that steer the emulator, such as ``emulator:fail``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["PROMPT_WORDS", "asks_to_fail", "asks_to_refuse", "requested_seconds"]

PROMPT_WORDS: Final = {
    "emulator:refuse": "the create is refused with code 1301",
    "emulator:fail": "the task ends as failed",
    "emulator:seconds=N": "the task takes N seconds, whatever the speed",
}
"""Steering words, each with its effect. They work in a prompt and in any other text of a request."""

_SECONDS: Final = re.compile(r"emulator:seconds=(\d+(?:\.\d+)?)")


def asks_to_refuse(body: object) -> bool:
    """Tell whether a text of the body asks for a refusal by the content check."""
    return "emulator:refuse" in _texts(body)


def asks_to_fail(body: object) -> bool:
    """Tell whether a text of the body asks that the task ends as failed."""
    return "emulator:fail" in _texts(body)


def requested_seconds(body: object) -> float | None:
    """Return the duration in seconds that a text of the body asks for, None if no text does."""
    found = _SECONDS.search(_texts(body))
    return None if found is None else float(found[1])


def _texts(value: object) -> str:
    """Return all texts of a JSON value, one per line."""
    if isinstance(value, dict):
        fields: dict[str, object] = value
        return "\n".join(_texts(field) for field in fields.values())
    if isinstance(value, list):
        items: list[object] = value
        return "\n".join(_texts(item) for item in items)
    return value if isinstance(value, str) else ""
