"""Move the jobs of a journal into a fleet: rows of ``kling journal export``, and a mark in the journal.

The journal is marked first, under its lock: from then on no batch goes on with its jobs. The entries are
those of the marked journal, not those of the rows, which a batch may have outrun: the rows bring the
requests. All of it can be repeated: a job that is in the fleet stays as it is there.
"""

from __future__ import annotations

import base64
import binascii
import json
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.batch.entry import JobState, unpack
from kling_async.batch.journal_files import Moved
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.catalog import request_from_dict
from kling_async.errors import JournalError, LineInvalid, Problem, RequestInvalid
from kling_async.fleet.intake import CHUNK
from kling_async.fleet.rows import new_row, with_contents
from kling_async.fleet.submit import Submitted
from kling_async.fleet.writing import batch_named, write_chunk
from kling_async.orchestrator.bodies import file_content
from kling_async.wire.checks import media_fields
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kling_async.batch.entry import Entry
    from kling_async.fleet.link import DatabaseLink
    from kling_async.fleet.rows import NewRow
    from kling_async.wire.media import Media

__all__ = [
    "EXPORTED",
    "Exported",
    "mark_moved",
    "need_mark",
    "need_requests",
    "read_exported",
    "submit_moved",
]

EXPORTED: Final = b'{"journal": "'
"""The first bytes of what ``kling journal export`` prints."""


class Exported(NamedTuple):
    """The jobs of one journal, as it was exported."""

    journal: str
    """The journal's own name, which becomes the id of the batch."""
    path: str
    """Of its file, on the machine that exported it."""
    host: str
    entries: dict[str, Entry]
    """Each job as it was then, by identity."""
    requests: dict[str, TaskRequest[Any]]
    """Requests by identity, where a jobs file was at hand."""

    @property
    def is_here(self) -> bool:
        """Whether the journal lies on this machine, by its name and path."""
        return self.host == socket.gethostname() and Path(self.path).is_file()


def read_exported(lines: Iterable[bytes], *, source: str, files: str | Path | None) -> Exported:
    """Read the rows of an export.

    Args:
        lines: JSON, a row each.
        source: The name of the input, for errors.
        files: The folder of files that requests may name; None: they name none.

    Raises:
        LineInvalid: A line is no such row, of another journal, or its request cannot be read.
    """
    found: Exported | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            entry = unpack(base64.b64decode(row["entry"], validate=True))
            facts = str(row["journal"]), str(row["path"]), str(row["host"])
        except (ValueError, KeyError, TypeError, binascii.Error, msgspec.DecodeError):
            text = "is no row of kling journal export, or of an older version's"
            raise LineInvalid(source, number, [Problem("line", text)]) from None
        found = found or Exported(*facts, entries={}, requests={})
        if facts != found[:3]:
            text = f"is of another journal than the first line, {found.path}; move one after the other"
            raise LineInvalid(source, number, [Problem("journal", text)])
        found.entries[entry.identity] = entry
        if row.get("request") is not None:
            found.requests[entry.identity] = _request(row["request"], number, source, files)
    if found is None:
        raise LineInvalid(source, 1, [Problem("line", "nothing was exported")])
    return found


def _request(data: object, number: int, source: str, files: str | Path | None) -> TaskRequest[Any]:
    try:
        request = request_from_dict(data, files=files)
    except RequestInvalid as error:
        problems = list(error.problems)
    else:
        assert isinstance(request, TaskRequest)  # noqa: S101 - only such are journaled
        files_of = [found for found in media_fields(request) if found[1].path is not None]
        contents: dict[Media, bytes] = {}
        problems = []
        for name, media, limits in files_of:
            content = file_content(media, limits, None)
            if isinstance(content, str):
                problems.append(Problem(name, content))
            else:
                contents[media] = content
        if not problems:
            found: TaskRequest[Any] = with_contents(request, contents)
            return found
    raise LineInvalid(source, number, problems)


def mark_moved(exported: Exported, place: str, batch: str) -> dict[str, Entry]:
    """Mark the journal on this machine as moved; return its entries, as they are now. Blocks.

    Raises:
        JournalError: A batch runs with it, or it is another journal than was exported.
    """
    store = Store(Path(exported.path), make=False, moved_too=True)
    try:
        if store.id != exported.journal:
            raise store.error("it is another journal than the one that was exported; export it again")
        store.mark_moved(Moved(time.time(), place, batch))
    finally:
        store.close()
    with JournalView(exported.path) as view:
        return {entry.identity: entry for entry in view.entries()}


async def submit_moved(
    link: DatabaseLink, exported: Exported, entries: dict[str, Entry], name: str, priority: int
) -> Submitted:
    """Write the jobs of a journal that is marked as moved.

    Args:
        link: A connection of its own.
        exported: Brings the requests.
        entries: Of all jobs, by identity.
        name: The batch's.
        priority: Jobs of higher priority go first.

    Raises:
        RequestInvalid: A job that was never sent has no request, or the name is another batch's.
    """
    need_requests(exported, entries)
    batch = await link.patient(partial(batch_named, name=name, batch=exported.journal))
    if batch.id != exported.journal:
        text = f"{name!r} is another batch; give --batch NAME"
        raise RequestInvalid("fleet", [Problem("batch", text)])
    new = known = 0
    for rows in _chunks(exported, entries, priority):
        written = await link.patient(partial(write_chunk, batch=batch.id, rows=rows))
        new, known = new + written, known + len(rows) - written
    return Submitted(batch=batch.id, name=batch.name, new=new, known=known)


def need_requests(exported: Exported, entries: Mapping[str, Entry]) -> None:
    """Check that each job whose create may have to be sent has its request.

    Raises:
        RequestInvalid: One has none.
    """
    unknown = [
        entry
        for entry in entries.values()
        if entry.state is JobState.PLANNED and entry.identity not in exported.requests
    ]
    if unknown:
        first = unknown[0].key or f"number {unknown[0].position}"
        text = f"{len(unknown)} jobs may have to be sent and have no request, the first is {first}"
        raise RequestInvalid("fleet", [Problem("request", f"{text}; export them with --jobs FILE")])


def _chunks(exported: Exported, entries: dict[str, Entry], priority: int) -> Iterator[list[NewRow]]:
    rows: list[NewRow] = []
    for identity, entry in entries.items():
        rows.append(new_row(entry, exported.requests.get(identity), priority))
        if len(rows) >= CHUNK:
            yield rows
            rows = []
    if rows:
        yield rows


def need_mark(exported: Exported) -> JournalError:
    """Return the error of a journal that lies elsewhere and was not said to be marked."""
    text = (
        f"journal {exported.path!r}: it is not on this machine ({exported.host!r} exported it), so that it"
        f" cannot be marked as moved from here. There, run kling journal move {exported.path}, export it"
        " again, and add --moved to this command"
    )
    return JournalError(text, path=exported.path)
