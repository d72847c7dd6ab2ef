"""Output of a command: results on stdout, as tables or JSON lines; messages on stderr."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TextIO

from kling_async.cli.messages import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Column", "Output", "cell_width", "fitted", "has_rich", "plain_table"]

_GAP: Final = "  "
_NARROWEST: Final = 8
"""Columns of a terminal that a cut cell keeps."""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    """Whether its cells end at one line, as numbers do."""
    wide: bool = False
    """Whether it is cut where the terminal is too narrow, as the others are not."""
    wrap: bool = False
    """Whether it goes on in the next line there (with ``rich``)."""


class Output:
    """The output of one command: results and messages.

    Args:
        json_lines: Whether results are printed as JSON, an object a line.
        stdout: Takes the results; None for that of the process.
        stderr: Takes the messages; None for that of the process.
    """

    def __init__(
        self, *, json_lines: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.json_lines = json_lines
        self.stdout = sys.stdout if stdout is None else stdout
        self.stderr = sys.stderr if stderr is None else stderr
        for stream in (self.stdout, self.stderr):
            if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
                reconfigure(errors="backslashreplace")  # a terminal without UTF-8 must not end the command

    def say(self, text: str) -> None:
        """Print a message for people: on stderr, so that it never mixes with results."""
        print(printable(text), file=self.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.say(f"kling: warning: {text}")

    def line(self, text: str = "") -> None:
        """Print a line of the result."""
        print(printable(text), file=self.stdout, flush=True)

    def record(self, value: Mapping[str, Any]) -> None:
        """Print an object as a line of JSON."""
        print(json.dumps(value, ensure_ascii=False), file=self.stdout, flush=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """Print a table: by ``rich`` on a terminal, where it is installed; else as aligned text."""
        cells = [[printable(cell) for cell in row] for row in rows]
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else None
        if width is not None and has_rich():
            _print_rich(columns, fitted(columns, cells, width), self.stdout, width)
        else:
            print(plain_table(columns, cells, width), file=self.stdout, flush=True)


def has_rich() -> bool:
    """Tell whether ``rich`` is installed (the extra ``cli``)."""
    return importlib.util.find_spec("rich") is not None


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]], stdout: TextIO, width: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(column.title, justify=justify, no_wrap=not column.wrap, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    # given both, for a dumb terminal it takes 80 columns otherwise
    Console(file=stdout, width=width, height=100, no_color="NO_COLOR" in os.environ, highlight=False).print(
        table
    )


def plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return a table as aligned text.

    Args:
        columns: The columns.
        rows: The cells of each row.
        width: Characters of a line; wide columns are cut to keep it. None: nothing is cut.

    >>> print(plain_table([Column("pool"), Column("limit", right=True)], [["video", "5"]]))
    pool   limit
    video      5
    """
    cells = rows if width is None else fitted(columns, rows, width)
    lines = [[column.title for column in columns], *cells]
    widths = [max(cell_width(line[at]) for line in lines) for at in range(len(columns))]
    return "\n".join(
        _GAP.join(
            _aligned(cell, widths[at], right=columns[at].right) for at, cell in enumerate(line)
        ).rstrip()
        for line in lines
    )


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Return rows whose wide cells are cut so that a line keeps a width; ids and numbers stay whole."""
    titles = [column.title for column in columns]
    widths = [max(cell_width(line[at]) for line in (titles, *rows)) for at in range(len(columns))]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    # the last column gives way first: what tells rows apart stands before it
    for at in reversed(range(len(columns))):
        if columns[at].wide and over > 0:
            least = max(cell_width(titles[at]), _NARROWEST)
            cut = min(over, max(0, widths[at] - least))
            widths[at] -= cut
            over -= cut
    return [[_cut(cell, widths[at]) for at, cell in enumerate(row)] for row in rows]


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: East Asian characters and emoji take two."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or char in "\u200d\ufe0f":  # joined to the character before
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _aligned(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_width(text))
    return blanks + text if right else text + blanks


def _cut(text: str, width: int) -> str:
    if cell_width(text) <= width:
        return text
    while text and cell_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
