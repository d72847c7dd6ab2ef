"""Generations: where the tasks that a path makes are asked about.

The first generation of the API has a path for each task, ``/v1/videos/text2video/{id}``. The second one has
one query for all: ``/tasks``, and ``/solutions`` for the products below that path. It lists no product alone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["asked_at"]

_SOLUTIONS: Final = "/solutions/"
_FAMILIES: Final = ("/text-to-video/", "/image-to-video/", "/omni-video/", "/motion-control/")
"""Beginnings of the paths whose last segment is a model."""


def asked_at(path: str) -> str:
    """Return the path that is asked about tasks made at a path, by their ids; "" for the first generation."""
    whole = f"{path}/"
    if whole.startswith(_SOLUTIONS):
        return "/solutions"
    return "/tasks" if whole.startswith(_FAMILIES) else ""
