"""H.264 pictures of flat 4x4 blocks (ITU-T H.264, baseline profile), encoded exactly and in little time.

Every macroblock is predicted from the column to its left (or, in the first column, from the row above), and
the difference is coded by the direct currents of its blocks alone. With `QP` and even luma values the decoded
picture equals the drawn one, so nothing has to be decoded here. A picture consists of slices that depend on
no other slice, hence slices can be kept and combined.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.emulator.footage.boxes import box
from kling_async.emulator.footage.cavlc import bits_to_bytes, coefficients, signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BLOCK", "MACROBLOCK", "Planes", "configuration", "encode_slices"]

BLOCK: Final = 4
"""px; the side of a block, which has one luma value."""
MACROBLOCK: Final = 16
"""px; the side of a macroblock: 4x4 blocks, and 2x2 values of either colour."""
QP: Final = 10
"""Quantizer with which a luma coefficient of 1 is 1/8 in each of 16 blocks (8.5.10): even differences come
back from the halves of their transform. A coefficient of colour is 1/4 in each of 4 blocks (8.5.11)."""
_INITIAL: Final = 128
"""Prediction of the first macroblock of a slice."""
_VERTICAL, _HORIZONTAL, _DC = 0, 1, 2
_CHROMA_MODES: Final = {_DC: 0, _HORIZONTAL: 1, _VERTICAL: 2}
_ZIGZAG: Final = (0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15)
_IDR, _INTER = 5, 1
_LENGTH_BYTES: Final = 4
_INTRA_TYPES: Final = 5
"""The first type of macroblock in a predicted slice that is also one of an intra slice."""


class Planes(NamedTuple):
    """The values of a slice's picture."""

    indices: list[bytes]
    """Rows of blocks as numbers of their colours."""
    luma: list[bytes]
    blue: list[bytes]
    """Half as many rows, half as long."""
    red: list[bytes]


def encode_slices(frames: Sequence[Planes], first_row: int) -> tuple[bytes, ...]:
    """Return one slice for each frame, each with its length before it; the first needs no other picture.

    Args:
        frames: Pictures of the same size, at most 256, because their number has 8 bits.
        first_row: The row of macroblocks, from 0, where the slice begins in the picture.
    """
    first = first_row * (len(frames[0].luma[0]) // 4)
    return (
        _slice(_IDR, first, 0, _intra_bits(frames[0])),
        *(
            _slice(_INTER, first, number, _inter_bits(before, picture))
            for number, (before, picture) in enumerate(pairwise(frames), 1)
        ),
    )


def _slice(kind: int, first: int, number: int, macroblocks: str) -> bytes:
    """Return a slice as a NAL unit (7.3.3)."""
    # slice_type 7 (intra) or 5 (predicted): so are all other slices of the picture
    header = unsigned(first) + unsigned(7 if kind == _IDR else 5) + unsigned(0) + f"{number:08b}"
    if kind == _IDR:
        header += unsigned(0) + "00"  # idr_pic_id, no_output_of_prior_pics_flag, long_term_reference_flag
    else:
        header += "000"  # as many references as usual, in the usual order; no marking of references
    header += signed(0) + unsigned(1)  # slice_qp_delta; no deblocking
    unit = bytes([0x60 | kind]) + bits_to_bytes(header + macroblocks)
    return len(unit).to_bytes(_LENGTH_BYTES) + unit


def _intra_bits(picture: Planes) -> str:
    return "".join(
        _macroblock(*_difference(picture, column, row), 0)
        for row in range(len(picture.luma) // 4)
        for column in range(len(picture.luma[0]) // 4)
    )


def _inter_bits(before: Planes, picture: Planes) -> str:
    """Return the macroblocks that differ from the picture before, and how many to skip between them."""
    if picture is before:
        return unsigned(len(picture.luma) * len(picture.luma[0]) // 16)
    bits, skipped = list[str](), 0
    for row in range(len(picture.luma) // 4):
        for column, changed in enumerate(_changes(before, picture, row)):
            if changed:
                bits.append(unsigned(skipped) + _macroblock(*_difference(picture, column, row), _INTRA_TYPES))
                skipped = 0
            else:
                skipped += 1
    return "".join(bits) + (unsigned(skipped) if skipped else "")


def _changes(before: Planes, picture: Planes, row: int) -> tuple[int, ...]:
    """Return a number for each macroblock of a row: 0 if nothing has changed."""
    rows, across = slice(4 * row, 4 * row + 4), len(picture.luma[0]) // 4
    changed = 0
    for then, now in zip(before.indices[rows], picture.indices[rows], strict=True):
        changed |= int.from_bytes(then) ^ int.from_bytes(now)
    return struct.unpack(f">{across}I", changed.to_bytes(4 * across))


def _difference(
    picture: Planes, column: int, row: int
) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return how a macroblock is predicted, and its differences: luma, blue and red."""
    mode = _HORIZONTAL if column else _VERTICAL if row else _DC
    return (
        mode,
        _plane_difference(picture.luma, 4, column, row),
        _plane_difference(picture.blue, 2, column, row),
        _plane_difference(picture.red, 2, column, row),
    )


def _plane_difference(rows: Sequence[bytes], size: int, column: int, row: int) -> tuple[int, ...]:
    top, left = size * row, size * column
    if column:
        return tuple(
            [value - line[left - 1] for line in rows[top : top + size] for value in line[left : left + size]]
        )
    above = rows[top - 1][:size] if row else bytes([_INITIAL]) * size
    return tuple([value - above[x] for line in rows[top : top + size] for x, value in enumerate(line[:size])])


@lru_cache(maxsize=1 << 14)
def _macroblock(
    mode: int, luma: tuple[int, ...], blue: tuple[int, ...], red: tuple[int, ...], offset: int
) -> str:
    """Return the bits of an Intra 16x16 macroblock without alternating currents (7.3.5).

    Args:
        mode: How it is predicted.
        luma: Differences of its 16 blocks.
        blue: Differences of four blocks.
        red: The same of the other colour.
        offset: How many types come before those of an intra slice: `_INTRA_TYPES` in a predicted one.
    """
    coloured = any(blue) or any(red)
    bits = unsigned(offset + 1 + mode + 4 * coloured) + unsigned(_CHROMA_MODES[mode]) + signed(0)
    levels = _transform(luma)
    bits += coefficients([levels[place] for place in _ZIGZAG])
    if coloured:
        bits += coefficients(_small_transform(blue), chroma=True)
        bits += coefficients(_small_transform(red), chroma=True)
    return bits


def _transform(values: tuple[int, ...]) -> list[int]:
    """Return half the Hadamard transform of 4x4 values (8.5.10)."""
    if values.count(values[0]) == len(values):
        return [8 * values[0], *[0] * 15]
    rows = [_butterfly(*values[at : at + 4]) for at in (0, 4, 8, 12)]
    columns = [_butterfly(*column) for column in zip(*rows, strict=True)]
    return [column[y] // 2 for y in range(4) for column in columns]


def _butterfly(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    return a + b + c + d, a + b - c - d, a - b - c + d, a - b + c - d


def _small_transform(values: tuple[int, ...]) -> list[int]:
    a, b, c, d = values
    return [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]


def configuration(width: int, height: int) -> bytes:
    """Return the ``avcC`` box of pictures of this size in px, both even (ISO 14496-15)."""
    across, down = -(-width // MACROBLOCK), -(-height // MACROBLOCK)
    right, bottom = (across * MACROBLOCK - width) // 2, (down * MACROBLOCK - height) // 2
    # profile 66 (baseline, constrained), level 4.0
    profile = bytes([66, 0xC0, 40])
    sequence = unsigned(0) + unsigned(4) + unsigned(2)  # frame numbers of 8 bits; shown in coded order
    sequence += unsigned(1) + "0" + unsigned(across - 1) + unsigned(down - 1)
    sequence += "111" + "".join(map(unsigned, (0, right, 0, bottom))) + "0"
    # one slice group, one reference picture, no weights; slices say how they are deblocked
    pictures = unsigned(0) * 2 + "00" + unsigned(0) * 3 + "000" + signed(QP - 26) + signed(0) * 2 + "100"
    sets = [b"\x67" + profile + bits_to_bytes(sequence), b"\x68" + bits_to_bytes(pictures)]
    first, second = (len(one).to_bytes(2) + one for one in sets)
    return box(b"avcC", b"\x01" + profile + b"\xff\xe1" + first + b"\x01" + second)
