"""Boxes, of which MP4 files consist (ISO 14496-12)."""

from __future__ import annotations

__all__ = ["box", "full_box"]


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box with the given content."""
    content = b"".join(parts)
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """Return a box whose content begins with version 0 and flags."""
    return box(kind, flags.to_bytes(4, "big"), *parts)
