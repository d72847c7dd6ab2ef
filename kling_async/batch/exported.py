"""Read what ``kling journal export`` prints: the jobs of a journal, each with its entry and its request.

The rows are read twice, so that all are checked before the first one is used, in memory that does not grow
with their number.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec

from kling_async.batch.counter import SpillMap
from kling_async.batch.entry import JobState, unpack
from kling_async.batch.journal_files import Moved
from kling_async.batch.lines import WHOLE_LINE
from kling_async.catalog import request_from_dict
from kling_async.errors import LineInvalid, Problem, RequestInvalid
from kling_async.orchestrator.bodies import embed_files
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from kling_async.batch.entry import Entry

__all__ = ["EXPORT_START", "EXPORT_VERSION", "Exported", "ExportedJob", "StoredLines", "read_exported"]

EXPORT_START: Final = b'{"journal": "'
"""The first bytes of an export."""
EXPORT_VERSION: Final = 1
"""Stands in each row: the version of its fields that programs read."""


class ExportedJob(NamedTuple):
    """A row."""

    entry: Entry
    """The job's, when it was exported."""
    request: TaskRequest[Any] | None
    """Files as bytes; None: it is not at hand."""


class StoredLines:
    """The lines of a file, from its beginning each time.

    Args:
        file: Read, never written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(self._file)


class _Row(NamedTuple):
    """A line, before its request is looked at."""

    number: int
    journal: str
    path: str
    host: str
    moved: Moved | None
    entry: Entry
    request: object
    last: bool

    @property
    def about_journal(self) -> tuple[object, ...]:
        """The facts that all rows of an export have in common."""
        return self[1:5]


class Exported:
    """The jobs of one journal, as it was exported; made by `read_exported`. To be closed.

    Args:
        rows: Returns all rows, from the first one.
        first: The first row.
        request: Returns the request of a row.
    """

    def __init__(
        self,
        rows: Callable[[], Iterator[_Row]],
        first: _Row,
        request: Callable[[_Row], TaskRequest[Any] | None],
    ) -> None:
        self._rows = rows
        self._request = request
        self._known = SpillMap()
        self.journal = first.journal
        """The journal's own name, which becomes the id of the batch."""
        self.path = first.path
        """Of its file, on the machine that exported it."""
        self.host = first.host
        """The name of that machine."""
        self.moved = first.moved
        """Where the jobs had moved to when they were exported; None: a batch may have gone on with them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the rows. Harmless to repeat."""
        self._known.close()

    @property
    def is_here(self) -> bool:
        """Whether the journal lies on this machine, by its name and path."""
        return self.host == socket.gethostname() and Path(self.path).is_file()

    def jobs(self) -> Iterator[ExportedJob]:
        """Yield the jobs, in the order of the rows.

        Raises:
            LineInvalid: A file of a request has changed since the rows were checked.
        """
        for row in self._rows():
            yield ExportedJob(row.entry, self._request(row))

    def has_request(self, identity: str) -> bool | None:
        """Tell whether a job came with its request; None: the job did not come."""
        name = bytes.fromhex(identity)
        self._known.load([name])
        found = self._known.get(name)
        if self._known.full:
            self._known.spill()
        return None if found is None else bool(found)

    def note(self, identity: str, *, request: bool) -> None:
        """Note that a job came, with its request or without."""
        self._known.put(bytes.fromhex(identity), int(request))
        if self._known.full:
            self._known.spill()


def read_exported(
    lines: Iterable[bytes],
    *,
    source: str = "-",
    files: str | Path | None = None,
    check: Callable[[Entry], Sequence[Problem]] = lambda _: (),
) -> Exported:
    """Check the rows of an export; blocks.

    Args:
        lines: JSON, a row each; iterable more than once: a list, or `StoredLines`.
        source: The name of the input, for errors.
        files: The folder of files that requests may name; None: they name none.
        check: Returns what else is wrong with a job.

    Raises:
        LineInvalid: A line is no such row, of another journal, its request is missing or cannot be read, or
            lines are missing at the end.
    """

    def rows() -> Iterator[_Row]:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _row(number, line, source)

    def request(row: _Row) -> TaskRequest[Any] | None:
        return _request(row, source, files)

    first = last = next(rows(), None)
    if first is None or last is None:
        raise LineInvalid(source, 1, [Problem(WHOLE_LINE, "nothing was exported")])
    exported = Exported(rows, first, request)
    with contextlib.ExitStack() as on_error:
        on_error.callback(exported.close)
        for last in rows():
            found = request(last)
            problems = [*_strange(last, first), *_missing(last.entry, found), *check(last.entry)]
            if problems:
                raise LineInvalid(source, last.number, problems, key=last.entry.key)
            exported.note(last.entry.identity, request=found is not None)
        if not last.last:
            text = "more lines must follow: the export was cut short, and jobs would be lost; export it again"
            raise LineInvalid(source, last.number, [Problem(WHOLE_LINE, text)])
        on_error.pop_all()
    return exported


def _row(number: int, line: bytes, source: str) -> _Row:
    """Read a line, but for its request.

    Raises:
        LineInvalid: It is no row of an export, or of a newer version's.
    """
    try:
        row = json.loads(line)
        version = int(row["version"])
        entry = unpack(base64.b64decode(row["entry"], validate=True))
        bytes.fromhex(entry.identity)
        moved = None if row["moved"] is None else Moved(**row["moved"])
        about = str(row["journal"]), str(row["path"]), str(row["host"])
        found = _Row(number, *about, moved, entry, row["request"], row["last"] is True)
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.DecodeError):
        text = "is no row of kling journal export, or of an older version's; export the journal again"
    else:
        if version <= EXPORT_VERSION:
            return found
        text = f"was exported by a newer version of this package (rows {version}); upgrade to read it"
    raise LineInvalid(source, number, [Problem(WHOLE_LINE, text)])


def _strange(row: _Row, first: _Row) -> list[Problem]:
    """Return what is wrong with a row that is not of the first one's export."""
    if row.about_journal == first.about_journal:
        return []
    text = f"is of another journal than the first line, {first.path}, or of another export of it"
    return [Problem("journal", f"{text}; move one after the other")]


def _missing(entry: Entry, request: object) -> list[Problem]:
    """Return what is wrong with a job without a request: its create may have to be sent."""
    if request is not None or entry.state is not JobState.PLANNED:
        return []
    text = "is missing, and the job may have to be sent; export it with --jobs FILE"
    return [Problem("request", f"{text}, and --with-files if it has files")]


def _request(row: _Row, source: str, files: str | Path | None) -> TaskRequest[Any] | None:
    """Return the request of a row, with the contents of its files.

    Raises:
        LineInvalid: It cannot be read.
    """
    if row.request is None:
        return None
    try:
        request = request_from_dict(row.request, files=files)
        if isinstance(request, TaskRequest):
            found: TaskRequest[Any] = embed_files(request)
            return found
        problems = [Problem("endpoint", f"{request.endpoint_name!r} makes no task")]
    except RequestInvalid as error:
        problems = list(error.problems)
    raise LineInvalid(source, row.number, problems, key=row.entry.key)
