"""Contention: tell the parts of a client that submits wait for the slots of a pool."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ContentionListener"]


class ContentionListener(Protocol):
    """A part of the client that acts on submits waiting for the slots of a pool."""

    def on_contention(self, pool: str, contended: bool) -> None:
        """Note that submits began to wait for slots of this pool, or that none does any more."""
