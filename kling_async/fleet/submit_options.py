"""Options of a submit: what a batch may be called, and which priorities there are. Pure."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from kling_async.errors import Problem, RequestInvalid

__all__ = ["PRIORITIES", "batch_name_of", "need_batch_name", "need_priority", "usable_batch_name"]

PRIORITIES: Final = range(-(1 << 15), 1 << 15)
_NAME_MAX: Final = 64
_OTHER: Final = re.compile(r"[^A-Za-z0-9._-]+")
"""Characters that no name of a batch has."""


def need_batch_name(name: object) -> None:
    """Check the name of a batch.

    Raises:
        RequestInvalid: It is wrong.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_MAX or _OTHER.search(name):
        text = f"must be 1 to {_NAME_MAX} letters, digits, dots, dashes or underscores, not {name!r:.80}"
        raise RequestInvalid("fleet", [Problem("batch", text)])


def batch_name_of(file: str) -> str:
    """Return the default name of a batch whose jobs lie in a file."""
    return usable_batch_name(PurePath(file).stem)


def usable_batch_name(text: str) -> str:
    """Turn a text into a name that a batch may have."""
    return _OTHER.sub("-", text)[:_NAME_MAX] or "jobs"


def need_priority(priority: object) -> None:
    """Check a priority.

    Raises:
        RequestInvalid: It is wrong.
    """
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
        text = f"must be a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}, not {priority!r:.40}"
        raise RequestInvalid("fleet", [Problem("priority", text)])
