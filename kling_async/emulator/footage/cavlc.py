"""Codes of variable length for H.264 (ITU-T H.264, 9.1 and 9.2), as texts of ``0`` and ``1``.

Only what flat 4x4 blocks need: Exp-Golomb numbers, and blocks of coefficients whose neighbours have none.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bits_to_bytes", "coefficients", "signed", "unsigned"]

Table = tuple[tuple[tuple[int, int], ...], ...]
"""Rows of codes, each a length in bits and a number."""


def _rows(*texts: str) -> Table:
    """Read rows of codes written as ``length:number``."""
    pairs = [[entry.split(":") for entry in text.split()] for text in texts]
    return tuple(tuple((int(length), int(number)) for length, number in row) for row in pairs)


# Tables 9-5 (columns 0 <= nC < 2, and nC = -1), 9-7 to 9-10. A row of the first two is one count of
# coefficients, its entries are 0 to 3 trailing ones; a row of the others is one count of coefficients (or
# zeros left), its entries are 0, 1, 2 ... zeros.
_TOKENS: Final = _rows(
    "1:1",
    "6:5 2:1",
    "8:7 6:4 3:1",
    "9:7 8:6 7:5 5:3",
    "10:7 9:6 8:5 6:3",
    "11:7 10:6 9:5 7:4",
    "13:15 11:6 10:5 8:4",
    "13:11 13:14 11:5 9:4",
    "13:8 13:10 13:13 10:4",
    "14:15 14:14 13:9 11:4",
    "14:11 14:10 14:13 13:12",
    "15:15 15:14 14:9 14:12",
    "15:11 15:10 15:13 14:8",
    "16:15 15:1 15:9 15:12",
    "16:11 16:14 16:13 15:8",
    "16:7 16:10 16:9 16:12",
    "16:4 16:6 16:5 16:8",
)
_CHROMA_TOKENS: Final = _rows("2:1", "6:7 1:1", "6:4 6:6 3:1", "6:3 7:3 7:2 6:5", "6:2 8:3 8:2 7:0")
_ZEROS: Final = _rows(
    "1:1 3:3 3:2 4:3 4:2 5:3 5:2 6:3 6:2 7:3 7:2 8:3 8:2 9:3 9:2 9:1",
    "3:7 3:6 3:5 3:4 3:3 4:5 4:4 4:3 4:2 5:3 5:2 6:3 6:2 6:1 6:0",
    "4:5 3:7 3:6 3:5 4:4 4:3 3:4 3:3 4:2 5:3 5:2 6:1 5:1 6:0",
    "5:3 3:7 4:5 4:4 3:6 3:5 3:4 4:3 3:3 4:2 5:2 5:1 5:0",
    "4:5 4:4 4:3 3:7 3:6 3:5 3:4 3:3 4:2 5:1 4:1 5:0",
    "6:1 5:1 3:7 3:6 3:5 3:4 3:3 3:2 4:1 3:1 6:0",
    "6:1 5:1 3:5 3:4 3:3 2:3 3:2 4:1 3:1 6:0",
    "6:1 4:1 5:1 3:3 2:3 2:2 3:2 3:1 6:0",
    "6:1 6:0 4:1 2:3 2:2 3:1 2:1 5:1",
    "5:1 5:0 3:1 2:3 2:2 2:1 4:1",
    "4:0 4:1 3:1 3:2 1:1 3:3",
    "4:0 4:1 2:1 1:1 3:1",
    "3:0 3:1 1:1 2:1",
    "2:0 2:1 1:1",
    "1:0 1:1",
)
_CHROMA_ZEROS: Final = _rows("1:1 2:1 3:1 3:0", "1:1 2:1 2:0", "1:1 1:0")
_RUNS: Final = _rows(
    "1:1 1:0",
    "1:1 2:1 2:0",
    "2:3 2:2 2:1 2:0",
    "2:3 2:2 2:1 3:1 3:0",
    "2:3 2:2 3:3 3:2 3:1 3:0",
    "2:3 3:0 3:1 3:3 3:2 3:5 3:4",
    "3:7 3:6 3:5 3:4 3:3 3:2 3:1 4:1 5:1 6:1 7:1 8:1 9:1 10:1 11:1",
)
_FORBIDDEN: Final = re.compile(rb"\0\0(?=[\0-\3])")
"""Bytes between which a 3 must stand."""
_TRAILING_MAX: Final = 3
_ESCAPE: Final = 15
"""Longest prefix of a level; 12 bits follow it."""


def _code(entry: tuple[int, int]) -> str:
    length, number = entry
    return f"{number:0{length}b}"


@cache
def unsigned(number: int) -> str:
    """Return the Exp-Golomb code of a number, ``ue(v)``."""
    text = f"{number + 1:b}"
    return "0" * (len(text) - 1) + text


def signed(number: int) -> str:
    """Return the Exp-Golomb code of a number that may be negative, ``se(v)``."""
    return unsigned(2 * number - 1 if number > 0 else -2 * number)


def bits_to_bytes(bits: str) -> bytes:
    """Return the payload of a NAL unit: the bits with their stop bit, and emulation prevention (7.4.1)."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return _FORBIDDEN.sub(b"\0\0\3", int(bits, 2).to_bytes(len(bits) // 8))


def coefficients(levels: Sequence[int], *, chroma: bool = False) -> str:
    """Return the code of a block's coefficients, the lowest frequency first.

    Args:
        levels: The 16 coefficients of a block, or the 4 of a block of ``chroma``.
        chroma: Whether the block has the direct currents of one colour.
    """
    places = [place for place, level in enumerate(levels) if level]
    total = len(places)
    tokens = _CHROMA_TOKENS if chroma else _TOKENS
    if not total:
        return _code(tokens[0][0])
    highest_first = [levels[place] for place in reversed(places)]
    ones = 0
    while ones < min(total, _TRAILING_MAX) and abs(highest_first[ones]) == 1:
        ones += 1
    text = _code(tokens[total][ones])
    text += "".join("1" if level < 0 else "0" for level in highest_first[:ones])
    text += _levels(highest_first[ones:], total, ones)
    zeros = places[-1] + 1 - total
    if total < len(levels):
        text += _code((_CHROMA_ZEROS if chroma else _ZEROS)[total - 1][zeros])
    for after, before in zip(reversed(places), reversed(places[:-1]), strict=False):
        if zeros <= 0:
            break
        run = after - before - 1
        text += _code(_RUNS[min(zeros, len(_RUNS)) - 1][run])
        zeros -= run
    return text


def _levels(levels: Sequence[int], total: int, ones: int) -> str:
    """Return the codes of the levels that are no trailing ones, the highest frequency first (9.2.2.1)."""
    size, codes = int(total > 10 and ones < _TRAILING_MAX), list[str]()
    # the first of them cannot be 1 or -1, unless there are three trailing ones, so that its code is less by 2
    less = 2 if ones < _TRAILING_MAX else 0
    for level in levels:
        codes.append(_level(2 * abs(level) - 2 + (level < 0) - less, size))
        less, size = 0, size or 1
        if abs(level) > (3 << (size - 1)) and size < 6:
            size += 1
    return "".join(codes)


@cache
def _level(code: int, size: int) -> str:
    """Return the code of a level whose suffix has ``size`` bits."""
    if size == 0 and 14 <= code < 30:
        return f"{1:015b}{code - 14:04b}"
    if code < (_ESCAPE << size if size else _ESCAPE - 1):
        return "0" * (code >> size) + "1" + (f"{code & ((1 << size) - 1):0{size}b}" if size else "")
    return f"{1:0{_ESCAPE + 1}b}{code - (_ESCAPE << size if size else 30):012b}"
