"""Read CSV as people and spreadsheets write it: the object of each row, or what is wrong with the row."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final

from kling_async.batch.cells import column, row_object
from kling_async.batch.lines import LINE_MAX, WHOLE_LINE, LineObject, lines_of
from kling_async.catalog import TASKS, request_type
from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.construction import hint
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kling_async.batch.cells import CsvColumn
    from kling_async.batch.lines import Line, LineSource

__all__ = ["csv_objects"]

_DELIMITERS: Final = ",;\t|"
_WORDS: Final = {
    "unexpected end of data": "a quotation mark that begins here is never closed",
    "new-line character seen": "has line ends of old Macs (CR alone); save the file as CSV UTF-8",
    "expected after": 'has a quotation mark within a cell; a quoted cell writes it twice: ""',
}
"""Words for errors of the module csv, by a part of its own."""


class _CsvLines:
    """Passes lines to the module csv, and bounds a row over several lines."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._kept: Line | None = None
        self._size = 0
        self.number = 0
        """Of the latest line."""
        self.broken: Line | None = None
        """The line that cannot be read, of the row that has an error."""

    def peek(self) -> str:
        """Return the first line without taking it; empty where there is none."""
        self._kept = next(self._lines, None)
        return "" if self._kept is None else self._kept.text

    def begin_row(self) -> int:
        """Note that the next line begins a row; return its number."""
        self._size, self.broken = 0, None
        return self.number + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._kept = self._kept or next(self._lines), None
        self._size += len(line.text)
        if self._size > LINE_MAX:
            words = f"a quotation mark that begins here is not closed within {LINE_MAX // 2**20} MiB"
            line = line._replace(number=self.number, problem=words, last=True)
        self.number = line.number
        if line.problem:
            self.broken = line
            raise csv.Error(line.problem)
        return line.text


def csv_objects(source: LineSource, endpoint: str | None) -> Iterator[LineObject]:
    """Yield the objects of rows; empty rows are passed over.

    Args:
        source: The stream.
        endpoint: Name of the endpoint of rows that name none.
    """
    rows = _rows(_CsvLines(lines_of(source)))
    head = next(rows, None)
    if isinstance(head, LineObject):
        yield head._replace(last=True)
    elif head is not None:
        number, names = head
        columns = [column(name) for name in names]
        if problems := _header_problems(columns, endpoint):
            yield LineObject(number, None, tuple(problems), last=True)
            return
        for row in rows:
            yield row if isinstance(row, LineObject) else _object(columns, *row, endpoint)


def _rows(lines: _CsvLines) -> Iterator[tuple[int, list[str]] | LineObject]:
    """Yield the first line's number and the cells of each row that has any; or the row's error."""
    if csv.field_size_limit() < LINE_MAX:
        csv.field_size_limit(LINE_MAX)  # of the whole process; its default is too small for Base64
    first = lines.peek()
    delimiter = max(_DELIMITERS, key=first.count)  # headers hold none of these
    if first[:4].lower() == "sep=" and first[4:].strip("\r\n"):  # Excel's own word for it
        delimiter = first[4]
        next(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            broken = lines.broken
            unclosed = broken is not None and "begins here" in broken.problem
            where = number if broken is None or unclosed else broken.number
            problem = Problem(WHOLE_LINE, _words(str(error)))
            yield LineObject(where, None, (problem,), last=broken is not None and broken.last)
            continue
        if any(map(str.strip, cells)):
            yield number, cells


def _words(text: str) -> str:
    return next((words for part, words in _WORDS.items() if part in text), text)


def _header_problems(columns: list[CsvColumn], endpoint: str | None) -> list[Problem]:
    """Return what is wrong with the headers: in each row it would be wrong again."""
    known = ["endpoint", "key", *_field_names(None if _named(columns, "endpoint") else endpoint)]
    problems: list[Problem] = []
    seen: set[tuple[str, ...]] = set()
    for at in columns:
        if not at.path:
            continue
        if at.path in seen:
            problems.append(Problem(at.header, "this header comes twice"))
        elif at.path[0] not in known:
            problems.append(Problem(at.header, f"no such field{hint(at.path[0], known)}"))
        seen.add(at.path)
    return problems


def _named(columns: list[CsvColumn], name: str) -> bool:
    return any(at.path == (name,) for at in columns)


def _field_names(endpoint: str | None) -> list[str]:
    """Return the names of the fields of an endpoint's requests, or of those of all endpoints."""
    kind = _kind(endpoint)
    kinds = [row.request for row in TASKS] if kind is None else [kind]
    return list(dict.fromkeys(name for kind in kinds for name in kind.__struct_fields__))


def _kind(endpoint: str | None) -> type[TaskRequest[Any]] | None:
    """Return the type of an endpoint's requests; None for one that does not exist, or makes no tasks."""
    try:
        found = None if endpoint is None else request_type(endpoint)
    except RequestInvalid:
        return None
    return found if found is not None and issubclass(found, TaskRequest) else None


def _object(columns: list[CsvColumn], number: int, cells: list[str], endpoint: str | None) -> LineObject:
    """Return the object of a row."""
    named = {at.path: text for at, text in zip(columns, cells, strict=False) if at.path}
    own = {name: text for name in ("endpoint", "key") if (text := named.pop((name,), "").strip())}
    made = row_object(
        _kind(own.get("endpoint", endpoint)), ((at, named[at.path]) for at in columns if at.path in named)
    )
    problems = [Problem(*problem) for problem in made.problems]
    for at, text in enumerate(cells):
        if text.strip() and (at >= len(columns) or not columns[at].path):
            problems.append(Problem(f"column {at + 1}", f"{text!r:.40} has no header"))
    return LineObject(number, {**own, **made.data}, tuple(problems), made.headers)
