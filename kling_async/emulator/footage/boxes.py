"""Boxes of MP4 files (ISO 14496-12): finding those that are there, and making new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["box", "boxes", "field", "full_box"]

_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"})


def boxes(data: bytes | bytearray, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Yield the type of each box and the offset of its content, descending into containers."""
    while at < end:
        size, kind = field(data, at), bytes(data[at + 4 : at + 8])
        yield kind, at + 8
        if kind in _CONTAINERS:
            yield from boxes(data, at + 8, at + size)
        at += size


def field(data: bytes | bytearray, at: int) -> int:
    """Return the number in the four bytes at an offset."""
    return int.from_bytes(data[at : at + 4], "big")


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return a box with the given content."""
    content = b"".join(parts)
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """Return a box whose content begins with version 0 and flags."""
    return box(kind, flags.to_bytes(4, "big"), *parts)
