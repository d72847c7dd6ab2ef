"""Captions of films: the words of a prompt in a small font, on a band below the scene."""

from __future__ import annotations

import textwrap
import unicodedata
from typing import Final, NamedTuple

__all__ = ["Caption", "band_rows", "caption_rows"]

_FONT: Final[dict[str, int]] = {
    " ": 0o00000, "A": 0o25755, "B": 0o65656, "C": 0o34443, "D": 0o65556, "E": 0o74647, "F": 0o74644,
    "G": 0o34553, "H": 0o55755, "I": 0o72227, "J": 0o11152, "K": 0o55655, "L": 0o44447, "M": 0o57755,
    "N": 0o65555, "O": 0o25552, "P": 0o65644, "Q": 0o25563, "R": 0o65655, "S": 0o34216, "T": 0o72222,
    "U": 0o55557, "V": 0o55552, "W": 0o55775, "X": 0o55255, "Y": 0o55222, "Z": 0o71247,
    "0": 0o75557, "1": 0o26227, "2": 0o61247, "3": 0o61216, "4": 0o55711, "5": 0o74616, "6": 0o34757,
    "7": 0o71222, "8": 0o75757, "9": 0o75716, ".": 0o00002, ",": 0o00024, ":": 0o02020, ";": 0o02024,
    "!": 0o22202, "?": 0o61202, "'": 0o22000, '"': 0o55000, "-": 0o00700, "+": 0o02720, "=": 0o07070,
    "/": 0o11244, "(": 0o12221, ")": 0o42224, "#": 0o57575, "%": 0o51245, "&": 0o25253, "*": 0o05250,
    "_": 0o00007,
}  # fmt: skip
"""Each letter's five rows from the top, a row's three blocks as one octal digit."""
_ADVANCE: Final = 4
"""Blocks from one letter to the next."""
_LEADING: Final = 7
"""Blocks from one line to the next."""
_TOP: Final = 1
"""Blocks above the first line, and at least as many below the last one where the picture is cropped."""
_LEFT: Final = 2
"""Blocks before the first letter."""
_LINES: Final = 2
_NARROW: Final = 30
"""Letters per line below which a caption has a line more."""


class Caption(NamedTuple):
    """The words written on a film."""

    text: str
    tail: str = ""
    """The end of the last line, dimmer than the rest."""


def band_rows(across: int) -> int:
    """Return the height in macroblocks of a caption that is ``across`` macroblocks wide."""
    return -(-(_TOP + _LEADING * _line_count(_letters(across))) // 4)


def _letters(across: int) -> int:
    return (4 * across - 2 * _LEFT) // _ADVANCE


def _line_count(letters: int) -> int:
    return _LINES if letters >= _NARROW else _LINES + 1


def _drawable(text: str) -> str:
    """Return the letters of a text that the font has; accents are left off."""
    plain = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).upper()
    return " ".join("".join(letter for letter in plain if letter in _FONT).split())


def caption_rows(caption: Caption, across: int, paper: int, ink: int, dim: int) -> list[bytes]:
    """Return a caption as rows of palette indices.

    Args:
        caption: Letters that the font lacks are left out; what finds no room is cut off.
        across: Width in macroblocks.
        paper: Index of the ground.
        ink: Index of the text.
        dim: Index of its tail.
    """
    letters = _letters(across)
    count, tail = _line_count(letters), _drawable(caption.tail)
    lines = textwrap.wrap(_drawable(caption.text), letters)[:count]
    rows = [bytearray([paper]) * (4 * across) for _ in range(4 * band_rows(across))]
    for number, line in enumerate(lines):
        room = letters - len(tail) - 1 if number == count - 1 else letters
        _write(rows, textwrap.wrap(line, room)[0], 0, number, ink)
    _write(rows, tail, letters - len(tail), count - 1, dim)
    return [bytes(row) for row in rows]


def _write(rows: list[bytearray], line: str, place: int, number: int, index: int) -> None:
    top = _TOP + number * _LEADING
    for offset, letter in enumerate(line, place):
        glyph, left = _FONT[letter], _LEFT + offset * _ADVANCE
        for y in range(5):
            bits = glyph >> (12 - 3 * y) & 7
            for x in range(3):
                if bits & (4 >> x):
                    rows[top + y][left + x] = index
