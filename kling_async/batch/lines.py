"""Read UTF-8 line by line, in bounded memory: each line with its number, or with what is wrong with it."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from kling_async.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LINE_MAX", "WHOLE_LINE", "Line", "LineObject", "LineSource", "lines_of", "unread"]

WHOLE_LINE: Final = "the line"
"""Field of a `Problem` that concerns a line as a whole."""

LINE_MAX: Final = 64 * 2**20
"""Most bytes of a line (characters of a stream of text): room for the images of one request in Base64."""
_SKIPPED: Final = 2**20
"""Bytes that are read at once to find the end of a line that is too long."""
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENCODING: Final = "in Excel: save as 'CSV UTF-8 (comma delimited)'"


class LineSource(Protocol):
    """A stream of text or bytes: an open file, standard input."""

    def readline(self, size: int = -1, /) -> str | bytes:
        """Return the next line with its end, or the part of it that the size allows; empty at the end."""
        ...


class Line(NamedTuple):
    """One line of a text."""

    number: int
    """From 1."""
    text: str
    """The line, with its end."""
    problem: str = ""
    """Why it cannot be read; empty if it can be."""
    last: bool = False
    """Whether nothing that follows can be read either."""


class LineObject(NamedTuple):
    """The value that a line describes, or why there is none."""

    number: int
    data: object
    problems: tuple[Problem, ...] = ()
    headers: Mapping[str, str] = {}
    """CSV: the header of each field, by the path under which errors name it."""
    last: bool = False
    """Whether nothing that follows can be read either."""


def unread(line: Line) -> LineObject:
    """Return the object of a line that cannot be read."""
    return LineObject(line.number, None, (Problem(WHOLE_LINE, line.problem),), last=line.last)


def lines_of(source: LineSource, most: int = LINE_MAX) -> Iterator[Line]:
    """Yield the lines of a stream as it gives them. A byte order mark at its beginning is dropped.

    Args:
        source: The stream.
        most: Bound of a line, see `LINE_MAX`.
    """
    number = 0
    while True:
        number += 1
        try:
            raw = source.readline(most + 1)
        except UnicodeDecodeError as error:  # a stream of text that decodes by itself
            yield Line(number, "", f"is no {error.encoding} ({error.reason}); save it as UTF-8", last=True)
            return
        if not raw:
            return
        too_long = len(raw) > most and not _ends(raw)
        while too_long and (rest := source.readline(_SKIPPED)):
            if _ends(rest):
                break
        if too_long:
            yield Line(number, "", f"is longer than {most / 2**20:g} MiB; give files by name or address")
            continue
        line = _decoded(number, raw)
        yield line
        if line.last:
            return


def _ends(raw: str | bytes) -> bool:
    return raw.endswith("\n") if isinstance(raw, str) else raw.endswith(b"\n")


def _decoded(number: int, raw: str | bytes) -> Line:
    if isinstance(raw, str):
        return Line(number, raw.removeprefix("\ufeff") if number == 1 else raw)
    if number == 1:
        if raw.startswith(_UTF16):
            return Line(number, "", f"is UTF-16; the file must be UTF-8 ({_ENCODING})", last=True)
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return Line(number, raw.decode())
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 (byte {error.start + 1}); save the file as UTF-8 ({_ENCODING})"
        return Line(number, "", text)
