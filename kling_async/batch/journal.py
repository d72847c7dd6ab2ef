"""The durable record of a batch: whoever was told that an entry is stored finds it again after a kill.

The database works in a thread of its own. Entries that come while a commit is under way share the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import msgspec

from kling_async.batch.entry import unpack
from kling_async.batch.journal_store import Digest, Store
from kling_async.errors import ConfigurationError, JournalError, KlingError, Problem, RequestInvalid
from kling_async.runtime.loop import is_pending
from kling_async.wire.checks import media_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from kling_async.batch.entry import Entry
    from kling_async.batch.journal_store import Ahead
    from kling_async.wire.media import Media
    from kling_async.wire.requests import Request

__all__ = ["Journal"]

_AHEAD_MIN: Final = 16
_AHEAD_MAX: Final = 4096
_PAGE: Final = 1000
_SETTLED: Final = 2.0
"""Seconds after which a file's time is believed to change with its content."""


class Journal:
    """A journal, open within ``async with``, in one event loop.

    Raises:
        JournalError: On entering: the file is something else, damaged, newer or cannot be written, or
            another process holds it. Nothing was changed then.
    """

    def __init__(self, path: str | Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._now = now
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: ThreadPoolExecutor
        self._reads: ThreadPoolExecutor
        self._store: Store | None = None
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._digests: list[Digest] = []
        self._writing = False
        self._broken: JournalError | None = None
        self._fresh: dict[str, Entry] = {}
        """Put and not yet committed."""
        self._ahead: Ahead = {}
        self._outdated: dict[asyncio.Future[Ahead], set[bytes]] = {}
        """For each read under way, the jobs written since it began: its answer may be older than that."""
        self._window = _AHEAD_MIN

    @property
    def id(self) -> str:
        """The journal's own name, part of every external_task_id made from it."""
        return self._opened().id

    async def __aenter__(self) -> Self:
        self._loop = loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "kling_async journal")
        self._reads = ThreadPoolExecutor(1, "kling_async journal reads")
        opening = loop.run_in_executor(self._thread, Store, self.path)
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
        """Write what waits, close the file, let others have it. Cancelled, it does so all the same."""
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
        """Let reads under way end before their connection is closed; in the thread that writes."""
        self._reads.shutdown(wait=True)
        store.close()

    def _opened(self) -> Store:
        """Return the store, if this is the place to use it."""
        if os.getpid() != self._pid:
            raise JournalError(
                f"journal {str(self.path)!r}: it belongs to the process that opened it", path=str(self.path)
            )
        if self._store is None:
            raise JournalError(f"journal {str(self.path)!r}: it is not open", path=str(self.path))
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError("a journal belongs to the event loop in which it was opened")
        return self._store

    # -- writing

    async def put(self, entry: Entry) -> None:
        """Store an entry; return when it is committed and flushed to the disk.

        Cancelled meanwhile, it is stored whole or not at all.

        Raises:
            JournalError: It is not stored, and nothing will be from here on.
            ValueError: The stored state of the job is later, or of a later attempt.
        """
        await self._put(entry)

    def put_soon(self, entry: Entry) -> None:
        """Store an entry with the next commit, at the latest when the journal is closed; nobody waits.

        For what makes a later run quicker and is no harm to lose: whatever is wrong, the next `put` tells.
        """
        with contextlib.suppress(KlingError):
            self._put(entry).add_done_callback(_unheard)

    def _put(self, entry: Entry) -> asyncio.Future[None]:
        store = self._opened()
        if self._broken is not None:
            raise self._broken.again()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((entry, done))
        self._fresh[entry.identity] = entry
        self._ahead.pop(bytes.fromhex(entry.identity), None)
        if not self._writing:
            self._writing = True
            loop.call_soon(self._write, store)  # so that all puts of this turn share the commit
        return done

    def _write(self, store: Store) -> None:
        batch, self._waiting = self._waiting, []
        digests, self._digests = self._digests, []
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
            if self._fresh.get(entry.identity) is entry:
                del self._fresh[entry.identity]
            for outdated in self._outdated.values():
                outdated.add(bytes.fromhex(entry.identity))
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
        """Let nothing pretend any more: what is on the disk is known, what comes after a failure is not."""
        if isinstance(error, JournalError):
            self._broken = error
        else:
            text = f"journal {str(self.path)!r}: writing failed: {type(error).__name__}: {error}"
            self._broken = JournalError(text, path=str(self.path))

    # -- reading

    async def get(self, identity: str) -> Entry | None:
        """Return what is known of a job, also what is not committed yet; None for a new one.

        Raises:
            JournalError: It cannot be read.
        """
        return (await self.several([identity]))[0]

    async def several(self, identities: Sequence[str]) -> list[Entry | None]:
        """Return what is known of jobs, as `get` does.

        Asked for in the order of their positions, entries are read ahead, thousands at a time.

        Raises:
            JournalError: They cannot be read.
        """
        self._opened()
        keys = [bytes.fromhex(identity) for identity in identities]
        stored: dict[bytes, bytes | None] = {}
        while True:
            stored.update((key, self._ahead[key]) for key in keys if key in self._ahead)
            away = [
                key
                for key, identity in zip(keys, identities, strict=True)
                if key not in stored and identity not in self._fresh
            ]
            if not away:
                break
            read, outdated = await self._read(away)
            stored.update((key, read.get(key)) for key in away)
            # These are read again: a job put and committed during the read would look new, and be paid twice.
            for key in outdated:
                stored.pop(key, None)
        for key in keys:
            self._ahead.pop(key, None)
        return [
            self._current(identity, stored.get(key)) for key, identity in zip(keys, identities, strict=True)
        ]

    def _current(self, identity: str, stored: bytes | None) -> Entry | None:
        """Return an entry as it was put, else as it is stored."""
        fresh = self._fresh.get(identity)
        return self._unpacked(stored) if fresh is None and stored is not None else fresh

    async def _read(self, keys: Sequence[bytes]) -> tuple[Ahead, set[bytes]]:
        """Read entries and those that follow them; also return the jobs that were written meanwhile."""
        store = self._opened()
        self._window = _AHEAD_MIN if self._ahead else min(_AHEAD_MAX, self._window * 2)
        reading = asyncio.get_running_loop().run_in_executor(self._reads, store.find, keys, self._window)
        outdated = self._outdated[reading] = set()
        try:
            read = await reading
        finally:
            del self._outdated[reading]
        if read:
            self._ahead = read.copy()
            for key in (*outdated, *map(bytes.fromhex, self._fresh)):
                self._ahead.pop(key, None)
        return read, outdated

    async def has_position(self, position: int) -> bool:
        """Tell whether any job that is committed was at this place of an input.

        Raises:
            JournalError: It cannot be read.
        """
        store = self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reads, store.has_position, position)

    async def extent(self) -> tuple[int, int]:
        """Return how many jobs are committed, and the last position of one; -1 if there is none.

        Raises:
            JournalError: It cannot be read.
        """
        store = self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reads, store.extent)

    def entries(self) -> AsyncIterator[Entry]:
        """Iterate over all that is committed, in the order in which the jobs were first put."""
        return _Entries(self)

    async def page(self, after: int) -> tuple[int, list[Entry]]:
        """Return entries after a number, and the last one's number; none are left if there are none."""
        loop, store = asyncio.get_running_loop(), self._opened()
        rows = await loop.run_in_executor(self._reads, store.page, after, _PAGE)
        return (rows[-1][0] if rows else after), [self._unpacked(data) for _, data in rows]

    def _unpacked(self, data: bytes) -> Entry:
        try:
            return unpack(data)
        except msgspec.DecodeError as error:
            text = f"journal {str(self.path)!r}: an entry is damaged ({error}); put back a copy"
        raise JournalError(text, path=str(self.path))

    # -- input files

    async def digest(self, path: str | Path) -> str:
        """Return the SHA-256 of a file in hexadecimal; unchanged in size and time, it is not read again.

        Raises:
            OSError: It cannot be read.
        """
        loop, store = asyncio.get_running_loop(), self._opened()
        name = _absolute(path)
        known = await loop.run_in_executor(self._reads, store.digest, name)
        if known is not None:
            return known
        found, steady = await loop.run_in_executor(None, _hash_file, name)
        if steady and self._store is not None and abs(self._now() - found.mtime_ns / 1e9) > _SETTLED:
            self._digests.append(found)  # goes along with the next commit
        return found.sha256

    async def digests(self, request: Request) -> dict[Media, str]:
        """Return the SHA-256 of each media of a request that is no address.

        Raises:
            RequestInvalid: A file cannot be read.
        """
        found: dict[Media, str] = {}
        for field, media, _ in media_fields(request):
            if media.data is not None:
                loop = asyncio.get_running_loop()
                found[media] = await loop.run_in_executor(None, _hash_bytes, media.data)
            elif media.path is not None:
                try:
                    found[media] = await self.digest(media.path)
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    wrong = Problem(field, f"cannot read {media.path!r}: {reason}")
                else:
                    continue
                raise RequestInvalid(type(request).__name__, [wrong])
        return found


class _Entries:
    """All entries of a journal, page by page."""

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


def _unheard(done: asyncio.Future[None]) -> None:
    """Take the exception of a put that nobody waits for."""
    if not done.cancelled():
        done.exception()


def _close_late(opening: asyncio.Future[Store]) -> None:
    """Close a store that was opened for nobody."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would ask the disk


def _hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_file(path: str) -> tuple[Digest, bool]:
    """Return the digest of a file, and whether the file stood still meanwhile."""
    with Path(path).open("rb") as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    steady = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return Digest(path, before.st_size, before.st_mtime_ns, digest), steady
