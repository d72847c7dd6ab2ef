"""Aspect ratios as text, such as ``16:9``, and the shape and length assumed for media nobody looks at."""

from __future__ import annotations

from typing import Final

__all__ = ["UNSEEN_SECONDS", "WIDE", "ratio"]

WIDE: Final = "16:9"
"""Aspect ratio of results when neither the request nor a picture in it tells one."""
UNSEEN_SECONDS: Final = 5.0
"""Length assumed for a video or sound given by URL, because the emulator never fetches URLs."""


def ratio(aspect: str) -> float:
    """Return the width divided by the height of an aspect ratio such as ``16:9``."""
    across, down = (float(part) for part in aspect.split(":"))
    return across / down
