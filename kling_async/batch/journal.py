"""The durable record of a batch: an entry whose `put` has returned is found again after a kill.

SQLite works in a thread of its own. Entries put while a commit is under way share the next one, so that the
flush to the disk, which takes milliseconds, is paid once for many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from kling_async.batch.digests import InputDigests
from kling_async.batch.entry import unpack
from kling_async.batch.journal_store import Store
from kling_async.batch.read_ahead import ReadAhead
from kling_async.errors import ConfigurationError, JournalError, KlingError
from kling_async.runtime.loop import in_thread, is_pending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from kling_async.batch.entry import Entry

__all__ = ["JobJournal", "Journal", "NullJournal"]

_PAGE: Final = 1000
"""Entries read at once while iterating over a whole journal."""


class JobJournal(Protocol):
    """Record of how far a batch's jobs have come: `Journal`, or `NullJournal`, which keeps none."""

    @property
    def id(self) -> str:
        """The journal's own name, part of every external_task_id made from it."""
        ...

    async def put(self, entry: Entry) -> None:
        """Store an entry; return when it is safe."""
        ...

    def put_soon(self, entry: Entry) -> None:
        """Store an entry that is no harm to lose."""
        ...

    async def confirm(self, entry: Entry) -> None:
        """Check that the job of an entry that was put is nobody else's by now."""

    def is_late(self) -> bool:
        """Tell whether others may have the job, since it was put or confirmed too long ago."""
        ...


class NullJournal:
    """Take the place of a journal in a batch without one: keep nothing, know nothing, never fail."""

    path: None = None

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        """Do nothing."""

    async def exists(self) -> bool:
        """Return that nothing was kept."""
        return False

    async def put(self, entry: Entry) -> None:
        """Do nothing."""

    def put_soon(self, entry: Entry) -> None:
        """Do nothing."""

    async def confirm(self, entry: Entry) -> None:
        """Do nothing: nobody else knows the job."""

    def is_late(self) -> bool:
        """Return that nobody else has the job."""
        return False

    async def entries(self) -> AsyncIterator[Entry]:
        """Iterate over no entries."""
        nothing: tuple[Entry, ...] = ()
        for entry in nothing:
            yield entry


class Journal:
    """A journal, open within ``async with``, in one event loop.

    Args:
        path: The file; made with its folder if there is none.
        now: The wall clock.
        make: Whether a file that is not there may be made.

    Raises:
        JournalError: On entering: the file is something else, damaged, newer or cannot be written, or
            another process holds it. Nothing was changed then.
    """

    def __init__(self, path: str | Path, *, now: Callable[[], float] = time.time, make: bool = True) -> None:
        self.path = Path(path)
        self._make = make
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ThreadPoolExecutor
        self._reads: ThreadPoolExecutor
        self._store: Store | None = None
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self.digests = InputDigests(self._recall_digest, now)
        """Digests of the input files; new ones are stored with the next commit."""
        self._writing = False
        self._broken: JournalError | None = None
        self._uncommitted: dict[str, Entry] = {}
        """The latest entry of each job that was put and is not committed yet."""
        self._ahead = ReadAhead()

    @property
    def id(self) -> str:
        """The journal's own name, part of every external_task_id made from it."""
        return self._opened().id

    async def exists(self) -> bool:
        """Tell whether there is something to open: the file, or the log of one that is gone."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return await in_thread(asyncio.get_running_loop(), lambda: any(map(os.path.lexists, files)))

    async def __aenter__(self) -> Self:
        self._loop = loop = asyncio.get_running_loop()
        # one thread, because commits must come in the order of their puts; reads have another thread and
        # connection, so that they do not wait for a commit's flush
        self._thread = ThreadPoolExecutor(1, "kling_async journal")
        self._reads = ThreadPoolExecutor(1, "kling_async journal reads")
        opening = loop.run_in_executor(self._thread, partial(Store, self.path, make=self._make))
        try:
            self._store = await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(_close_late)
            self._thread.shutdown(wait=False)
            self._reads.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what was put, close the file and release its lock, even if cancelled meanwhile."""
        store, self._store = self._store, None
        if store is None:
            return
        loop = asyncio.get_running_loop()
        if self._broken is None:
            self._write(store)
        closing = loop.run_in_executor(self._thread, self._finish, store)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    def _finish(self, store: Store) -> None:
        """Close the store once reads under way have ended; runs in the thread that writes."""
        # to close a connection while another thread reads by it has crashed the interpreter
        self._reads.shutdown(wait=True)
        store.close()

    def _opened(self) -> Store:
        """Return the store, if the journal is open, in this process and event loop."""
        # SQLite forbids to use a connection in a forked child: locks and the log would be confused
        if os.getpid() != self._pid:
            text = f"journal {str(self.path)!r}: opened before a fork; a forked process must open it anew"
            raise JournalError(text, path=str(self.path))
        if self._store is None:
            text = f"journal {str(self.path)!r}: it is not open; enter it with async with"
            raise JournalError(text, path=str(self.path))
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "a journal belongs to the event loop in which it was opened; open it anew in this loop"
            )
        return self._store

    # -- writing

    async def put(self, entry: Entry) -> None:
        """Store an entry; return when it is committed and flushed to the disk.

        Cancelled meanwhile, the entry is stored whole or not at all.

        Raises:
            JournalError: The entry is not stored, nor will any later one be.
            ValueError: The stored state of the job is later, or of a later attempt.
        """
        await self._put(entry)

    def put_soon(self, entry: Entry) -> None:
        """Store an entry with the next commit, at the latest when the journal is closed.

        Meant for entries whose loss does no harm: an error is raised by the next `put`, not here.
        """
        with contextlib.suppress(KlingError):
            self._put(entry).add_done_callback(_ignore_error)

    async def confirm(self, entry: Entry) -> None:
        """Do nothing: nobody else has the job while this process has the file's lock."""

    def is_late(self) -> bool:
        """Return that nobody else has the job."""
        return False

    def _put(self, entry: Entry) -> asyncio.Future[None]:
        store = self._opened()
        if self._broken is not None:
            raise self._broken.again()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((entry, done))
        self._uncommitted[entry.identity] = entry
        self._ahead.drop(entry.identity)
        if not self._writing:
            self._writing = True
            loop.call_soon(self._write, store)  # all puts of this turn of the loop share the commit
        return done

    def _write(self, store: Store) -> None:
        batch, self._waiting = self._waiting, []
        digests = self.digests.take()
        self._writing = bool(batch or digests)
        if self._writing:
            entries = [entry for entry, _ in batch]
            loop = asyncio.get_running_loop()
            job = loop.run_in_executor(self._thread, store.write, entries, digests)
            job.add_done_callback(partial(self._written, store, batch))

    def _written(
        self, store: Store, batch: list[tuple[Entry, asyncio.Future[None]]], job: asyncio.Future[list[int]]
    ) -> None:
        error = job.exception()
        if error is not None:
            self._break(error)
            batch += self._waiting
            self._waiting = []
        refused = () if error is not None else frozenset(job.result())
        for place, (entry, done) in enumerate(batch):
            if self._uncommitted.get(entry.identity) is entry:
                del self._uncommitted[entry.identity]
            self._ahead.committed(entry.identity)
            if not is_pending(done):
                continue
            if self._broken is not None:
                done.set_exception(self._broken.again())
            elif place in refused:
                done.set_exception(ValueError(f"{entry!r} does not follow what is stored"))
            else:
                done.set_result(None)
        if self._broken is None and self._store is not None:
            self._write(store)

    def _break(self, error: BaseException) -> None:
        """Refuse all later puts: after a failed write, the next one's effect on the disk is uncertain."""
        if isinstance(error, JournalError):
            self._broken = error
        else:
            text = f"journal {str(self.path)!r}: writing failed: {type(error).__name__}: {error}"
            self._broken = JournalError(text, path=str(self.path))

    # -- reading

    async def several(self, identities: Sequence[str]) -> list[Entry | None]:
        """Return the entries of jobs, also those not committed yet; None for each new job.

        Jobs asked for in the order of their positions are read ahead, up to thousands at a time.

        Raises:
            JournalError: The journal cannot be read.
        """
        store = self._opened()
        keys = {identity: bytes.fromhex(identity) for identity in identities}
        stored: dict[bytes, bytes | None] = {}
        while True:
            stored.update(self._ahead.found(keys.values()))
            missing = [
                key
                for identity, key in keys.items()
                if key not in stored and identity not in self._uncommitted
            ]
            if not missing:
                break
            read, outdated = await self._ahead.read(store, self._reads, missing, self._uncommitted)
            stored.update((key, read.get(key)) for key in missing)
            # read these once more: a job taken for new whose entry was committed meanwhile is paid twice
            for key in outdated:
                stored.pop(key, None)
        for identity in keys:
            self._ahead.drop(identity)
        return [self._current(identity, stored.get(keys[identity])) for identity in identities]

    def _current(self, identity: str, stored: bytes | None) -> Entry | None:
        """Return an entry as it was put, else as it is stored."""
        put = self._uncommitted.get(identity)
        if put is not None or stored is None:
            return put
        entry = self._unpacked(stored)
        if entry.identity != identity:
            text = f"journal {str(self.path)!r}: job {identity} has another job's entry; restore a backup"
            raise JournalError(text, path=str(self.path))
        return entry

    async def has_position(self, position: int) -> bool:
        """Tell whether a committed job was at this position of an input.

        Raises:
            JournalError: The journal cannot be read.
        """
        store = self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reads, store.has_position, position)

    async def extent(self) -> tuple[int, int]:
        """Return how many jobs are committed, and the highest position of one; -1 if there is none.

        Raises:
            JournalError: The journal cannot be read.
        """
        store = self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reads, store.extent)

    async def unfinished(self) -> list[Entry]:
        """Return the committed entries of jobs that are not finished.

        Raises:
            JournalError: The journal cannot be read.
        """
        loop, store = asyncio.get_running_loop(), self._opened()
        return [self._unpacked(data) for data in await loop.run_in_executor(self._reads, store.unfinished)]

    def entries(self) -> AsyncIterator[Entry]:
        """Iterate over all committed entries, in the order in which their jobs were first put."""
        return _Entries(self)

    async def page(self, after: int) -> tuple[int, list[Entry]]:
        """Return the next entries after a row number, and the last one's number; no entries: the end."""
        loop, store = asyncio.get_running_loop(), self._opened()
        rows = await loop.run_in_executor(self._reads, store.page, after, _PAGE)
        return (rows[-1][0] if rows else after), [self._unpacked(data) for _, data in rows]

    def _unpacked(self, data: bytes) -> Entry:
        try:
            return unpack(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = f"journal {str(self.path)!r}: an entry is damaged ({error}); restore a backup"
        raise JournalError(text, path=str(self.path))

    async def _recall_digest(self, path: str) -> str | None:
        store = self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reads, store.digest, path)


class _Entries:
    """Iterate over a journal page by page; no cursor stays open between pages, so leaving early is safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last = 0
        self._page: list[Entry] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        if not self._page:
            self._last, page = await self._journal.page(self._last)
            self._page = page[::-1]
        if not self._page:
            raise StopAsyncIteration
        return self._page.pop()


def _ignore_error(done: asyncio.Future[None]) -> None:
    """Mark the exception of a put that is never awaited as retrieved, so that asyncio does not report it."""
    if not done.cancelled():
        done.exception()


def _close_late(opening: asyncio.Future[Store]) -> None:
    """Close a store whose opening was cancelled meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
