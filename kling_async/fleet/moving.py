"""Move the jobs of a journal into a fleet: rows of ``kling journal export``, and a mark in the journal.

Under the journal's lock all that can be refused is refused, then the journal is marked: from then on no batch
goes on with its jobs. The entries are those of the marked journal, not those of the rows, which a batch may
have outrun: the rows bring the requests, and jobs that the journal does not know yet. All of it can be
repeated: a job that is in the fleet stays as it is there.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.batch.entry import JobState, unpack
from kling_async.batch.exported import read_exported
from kling_async.batch.journal_files import ELSEWHERE, Moved
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.errors import JournalError, Problem, RequestInvalid
from kling_async.fleet.intake import Chunk
from kling_async.fleet.rows import new_row, wrong_texts
from kling_async.fleet.submit import Submitted
from kling_async.fleet.submit_options import batch_name_of, usable_batch_name
from kling_async.fleet.writing import batch_named, write_chunk

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from psycopg import AsyncConnection

    from kling_async.batch.entry import Entry
    from kling_async.batch.exported import Exported
    from kling_async.fleet.link import DatabaseLink
    from kling_async.fleet.rows import NewRow
    from kling_async.fleet.writing import BatchRow
    from kling_async.wire.requests import TaskRequest

__all__ = [
    "batch_name",
    "mark_moved",
    "need_here",
    "need_moved",
    "need_name",
    "read_movable",
    "submit_moved",
]

_PAGE: Final = 1000
"""Entries read at once."""


def read_movable(lines: Iterable[bytes], *, source: str = "-", files: str | Path | None = None) -> Exported:
    """Check the rows of an export as `read_exported` does, and that a fleet can hold the jobs.

    Raises:
        LineInvalid: One cannot be moved.
    """
    return read_exported(lines, source=source, files=files, check=_wrong_texts)


def _wrong_texts(entry: Entry) -> list[Problem]:
    return wrong_texts(entry.key, entry.label)


def batch_name(exported: Exported) -> str:
    """Return the name of the batch where none is given: that of the mark, else of the journal's file."""
    marked = exported.moved
    return batch_name_of(exported.path) if marked is None else usable_batch_name(marked.batch)


# -- the mark


def mark_moved(exported: Exported, place: str, batch: str) -> None:
    """Mark the journal, which lies on this machine, as moved; harmless to repeat. Blocks.

    Raises:
        JournalError: A batch runs with it, it is another journal than was exported, its jobs have moved to
            another place, or one of them cannot move. Nothing was changed.
    """
    store = Store(Path(exported.path), make=False, moved_too=True)
    try:
        if store.id != exported.journal:
            raise store.error("it is another journal than the one that was exported; export it again")
        before = store.moved
        marked = before is not None and (before.place, before.batch) == (place, batch)
        if before is not None and not marked and before.place != ELSEWHERE:
            back = (
                f"kling fleet cancel-queued {before.batch} there, then kling journal move --back {store.path}"
            )
            raise store.error(
                f"{before}; to move them to {batch!r} ({place}) instead, take them back: {back}"
            )
        for entry in _entries(store):
            _need_movable(entry, exported, store)
        if not marked:
            store.mark_moved(Moved(time.time(), place, batch))
    finally:
        store.close()


def _entries(store: Store) -> Iterator[Entry]:
    """Yield the entries of a journal whose lock is held."""
    last = 0
    while rows := store.page(last, _PAGE):
        last = rows[-1][0]
        for _, data in rows:
            try:
                entry = unpack(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                failure = store.error(f"an entry is damaged ({error}); restore a backup")
            else:
                yield entry
                continue
            raise failure


def _need_movable(entry: Entry, exported: Exported, store: Store) -> None:
    """Check that a job of the journal can move: batches may have gone on since it was exported.

    Raises:
        JournalError: It cannot.
    """
    job = f"job {entry.position}" if entry.key is None else f"job {entry.key!r:.60}"
    if problems := _wrong_texts(entry):
        raise store.error(f"{job}: its {problems[0].field} {problems[0].text}")
    if entry.state is JobState.PLANNED and not exported.has_request(entry.identity):
        text = f"{job} may have to be sent, and its request was not exported"
        raise store.error(f"{text}; export the journal again, with --jobs FILE")


def need_moved(exported: Exported) -> None:
    """Check that the rows are those of a journal that was marked before: no batch can have outrun them.

    Raises:
        JournalError: They are not.
    """
    if exported.moved is None:
        text = (
            f"journal {exported.path!r}: it was not marked as moved when it was exported: a batch may have"
            f" gone on. On {exported.host!r}, run kling journal move {exported.path}; export it again"
        )
        raise JournalError(text, path=exported.path)


def need_here(exported: Exported) -> None:
    """Check that the journal lies on this machine, where it can be marked.

    Raises:
        JournalError: It does not.
    """
    if not exported.is_here:
        text = (
            f"journal {exported.path!r}: it is not on this machine, so that it cannot be marked as moved from"
            f" here. On {exported.host!r}, run kling journal move {exported.path} and export it again; then"
            " add --moved to this command"
        )
        raise JournalError(text, path=exported.path)


# -- the rows


async def submit_moved(
    link: DatabaseLink, exported: Exported, name: str, priority: int, *, marked: Path | None
) -> Submitted:
    """Write the jobs of a journal that is marked as moved.

    Args:
        link: A connection of its own.
        exported: The rows.
        name: The batch's.
        priority: Jobs of higher priority go first.
        marked: The journal, if it is on this machine; None: the rows hold what it holds.
    """
    batch = await link.patient(partial(_batch_of, name=name, journal=exported.journal))
    new = known = 0
    with ExitStack() as stack:
        view = None if marked is None else stack.enter_context(JournalView(marked))
        chunks = _chunks(exported, view, priority)
        stack.callback(chunks.close)
        while (rows := await asyncio.to_thread(next, chunks, None)) is not None:
            written = await link.patient(partial(write_chunk, batch=batch.id, rows=rows))
            new, known = new + written, known + len(rows) - written
    return Submitted(batch=batch.id, name=batch.name, new=new, known=known)


async def _batch_of(db: AsyncConnection[Any], name: str, journal: str) -> BatchRow:
    """Return the batch of a journal, made if there is none.

    Raises:
        RequestInvalid: Somebody has given the name to another batch meanwhile.
    """
    async with db.transaction():
        await db.execute("LOCK TABLE batches IN SHARE ROW EXCLUSIVE MODE")
        await need_name(db, name, journal)
        return await batch_named(db, name, batch=journal)


async def need_name(db: AsyncConnection[Any], name: str, journal: str) -> None:
    """Check that a batch of this name is the journal's, or can be.

    Raises:
        RequestInvalid: The name is another batch's, or the journal's jobs are a batch of another name.
    """
    query = "SELECT id, name FROM batches WHERE id=%s OR name=%s"
    for found, known_as in await (await db.execute(query, (journal, name))).fetchall():
        if found != journal:
            text = f"{name!r} is another batch; give --batch NAME"
        elif known_as != name:
            text = f"the journal's jobs are batch {known_as!r} already; give --batch {known_as}"
        else:
            continue
        raise RequestInvalid("fleet", [Problem("batch", text)])


def _chunks(
    exported: Exported, view: JournalView | None, priority: int
) -> Generator[list[NewRow], None, None]:
    chunk = Chunk()
    for entry, request in _jobs(exported, view):
        chunk.add(new_row(entry, request, priority))
        if chunk.full:
            yield chunk.rows
            chunk = Chunk()
    if chunk:
        yield chunk.rows


def _jobs(exported: Exported, view: JournalView | None) -> Iterator[tuple[Entry, TaskRequest[Any] | None]]:
    """Yield the jobs of the rows as the marked journal has them now, then its others."""
    for job in exported.jobs():
        entry = None if view is None else view.entry(job.entry.identity)
        yield entry or job.entry, job.request
    if view is not None:
        for entry in view.entries():
            if exported.has_request(entry.identity) is None:
                yield entry, None
