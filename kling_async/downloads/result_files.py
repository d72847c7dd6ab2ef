"""Store the files of a task's result: several at once, under names of a template, dead addresses renewed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import anyio
import msgspec

from kling_async.downloads.fetch import fetch
from kling_async.downloads.partial import Partial, write_private
from kling_async.downloads.placing import Existing, KnownFile, digest, is_known, writing_error
from kling_async.errors import DownloadError, KlingError, ResultExpired, TaskNotFound
from kling_async.http.failures import value_or_error
from kling_async.orchestrator.results import result_of
from kling_async.runtime.input_files import read_regular
from kling_async.runtime.loop import in_thread
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kling_async.events import Hooks
    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.runtime.loop import DownloadSlots, LoopScope
    from kling_async.wire.requests import File

__all__ = ["DownloadContext", "FileNamer", "KnownFile", "StatusRefresher", "StoredFile", "fetch_all"]

_RETENTION_DAYS: Final = 30
"""Days for which the vendor keeps results."""
_DEAD_ADDRESS: Final = (401, 403, 404, 410)
"""HTTP statuses of file servers for an address whose signature has run out; they do not agree on one."""
_SIDECAR_MAX: Final = 16 * 1024**2
"""Bytes from which on a file is no sidecar: ours hold one task."""
_FRESH: Final = 600.0
"""Seconds after a task's end for which its addresses may not work yet: copies of a file spread slowly."""
_FRESH_PAUSES: Final = (1.0, 3.0, 9.0)
"""Seconds before a fresh address that is refused is tried again."""


class StoredFile(NamedTuple):
    """A file of a result on disk."""

    path: Path
    size: int
    """Bytes."""
    sha256: str = ""
    """Hash of the content in hexadecimal; empty without a journal if only the ends were compared."""


class FileNamer(Protocol):
    """Name the files of one result (`kling_async.downloads.naming.Template`)."""

    def names(
        self, values: Mapping[str, str | int], files: Sequence[File], *, watermarked: bool = False
    ) -> list[str]:
        """Return one name per file, all different."""
        ...


class StatusRefresher(Protocol):
    """Query a task now (`kling_async.orchestrator.poller.Poller`)."""

    async def refresh(self, task: TrackedTask, retry: Retry, timeouts: Timeouts, /) -> object:
        """Update the record of a task; raise `TaskNotFound` if the vendor no longer knows it."""
        ...


class DownloadContext(Protocol):
    """The parts of a client that downloads use (`kling_async.orchestrator.engine.Engine`)."""

    @property
    def scope(self) -> LoopScope:
        """The event loop and the clocks."""
        ...

    @property
    def sessions(self) -> Sessions:
        """The HTTP sessions."""
        ...

    @property
    def download_slots(self) -> DownloadSlots:
        """The bound on the client's simultaneous downloads."""
        ...

    @property
    def poller(self) -> StatusRefresher:
        """Renews the addresses in a task's record."""
        ...

    @property
    def hooks(self) -> Hooks:
        """Takes the event ``downloaded``."""
        ...

    @property
    def retry(self) -> Retry:
        """Bounds repeats."""
        ...

    @property
    def timeouts(self) -> Timeouts:
        """Bounds requests."""
        ...

    @property
    def rng(self) -> random.Random:
        """Source of jitter."""
        ...


async def fetch_all(
    context: DownloadContext,
    task: TrackedTask,
    folder: Path,
    namer: FileNamer,
    values: Mapping[str, str | int],
    *,
    watermarked: bool = False,
    sidecar: bool = False,
    slots: asyncio.Semaphore | None = None,
    known: Sequence[KnownFile] | None = None,
) -> list[StoredFile]:
    """Store the files of a task that succeeded; return them in the order of its result.

    A file of somebody else's is never replaced: the new one gets ``-2`` (or ``-3``, ...) before its suffix.
    With a journal (``known``), a file that it knows is compared by length and content hash, without any
    request, and replaced if it differs; one that it does not know is adopted only if its content hash equals
    that of the file fetched. Without a journal a file of equal length, first 64 KiB and last 4 KiB counts as
    the same and is not fetched again.

    Once the vendor has deleted a result there is nothing to
    compare such a file with: it then counts as complete if it has its final name, which only complete files
    get, and the first bytes of its kind, unless a part beside it shows that it was being replaced by a file
    of another length. If some files fail, the others are stored all the same and the first failure is raised.

    Args:
        context: The client's connections, clock, slots and settings.
        task: A task whose record is known, possibly from a journal, with addresses without signatures.
        folder: Folder of the files; made if needed.
        namer: Makes the files' names.
        values: Fields of names beside those of the task itself: ``key`` and ``index``.
        watermarked: Store the watermarked copies instead.
        sidecar: Write the task's record beside each file, as ``<file>.json``.
        slots: Bound on simultaneous downloads; None for the client's own.
        known: Files that the journal knows of this task, in the order of its result; empty if it knows none
            yet; None if there is no journal.

    Raises:
        DownloadError: A file could not be fetched or stored, or there is none.
        ResultExpired: The vendor has deleted the files, and they are not on disk.
        BadResponse: The result is not of the documented form.
    """
    download = _ResultDownload(context, task, folder, known, watermarked=watermarked, sidecar=sidecar)
    fields = {**values, "task_id": task.task_id or "", "endpoint": task.endpoint.name}
    names = namer.names(fields, download.addresses.files, watermarked=watermarked)
    semaphore = context.download_slots.semaphore if slots is None else slots
    if len(names) == 1:
        return [await download.store(0, names[0], semaphore)]
    outcomes: dict[int, StoredFile | KlingError] = {}

    async def store(n: int, name: str) -> None:
        try:
            outcomes[n] = await download.store(n, name, semaphore)
        except KlingError as error:
            outcomes[n] = error

    async with anyio.create_task_group() as group:
        for n, name in enumerate(names):
            group.start_soon(store, n, name)
    in_order = [outcomes[n] for n in range(len(names))]
    for outcome in in_order:
        if isinstance(outcome, KlingError):
            raise outcome
    return [outcome for outcome in in_order if isinstance(outcome, StoredFile)]


class _ResultDownload:
    """Store the files of one result in a folder."""

    def __init__(
        self,
        context: DownloadContext,
        task: TrackedTask,
        folder: Path,
        known: Sequence[KnownFile] | None,
        *,
        watermarked: bool,
        sidecar: bool,
    ) -> None:
        self._context = context
        self._task = task
        self._folder = folder
        self._known = known
        self._watermarked = watermarked
        self._sidecar = sidecar
        self.addresses = _Addresses(context, task, watermarked=watermarked)

    async def store(self, n: int, name: str, slots: asyncio.Semaphore) -> StoredFile:
        """Store the n-th file, unless it is there already and unchanged."""
        known = self._known_file(n, name)
        target = self._folder / (name if known is None else known.name)
        if known is not None and await in_thread(self._context.scope.enter(), is_known, target, known):
            stored = StoredFile(target, known.size, known.sha256)
        else:
            stored = await self._store(n, target, self._existing(known), slots)
        if self._known is not None and not stored.sha256:
            stored = await self._hashed(stored)
        if self._sidecar:
            await self._write_sidecar(stored)
        return stored

    def _known_file(self, n: int, name: str) -> KnownFile | None:
        """Return what the journal knows of the n-th file, if that has this name or a numbered one of it."""
        if self._known is None or n >= len(self._known):
            return None
        known = self._known[n]
        stem, dot, suffix = name.rpartition(".")
        numbered = re.compile(rf"{re.escape(stem)}-[0-9]+{re.escape(dot + suffix)}")
        return known if known.name == name or numbered.fullmatch(known.name) else None

    def _existing(self, known: KnownFile | None) -> Existing:
        """Return how to treat a file that is there under the name wanted."""
        if self._known is None:
            return Existing.COMPARE
        if known is None:
            return Existing.KEEP
        return Existing.RENEW if known.sha256 else Existing.REPLACE

    async def _store(self, n: int, target: Path, existing: Existing, slots: asyncio.Semaphore) -> StoredFile:
        """Fetch a file; if its address is dead, renew the addresses and fetch it once more."""
        while True:
            renewed = self.addresses.renewed
            try:
                return await self._fetch_patiently(n, target, existing, slots)
            except DownloadError as error:
                if renewed or error.http_status not in _DEAD_ADDRESS:
                    raise
            expired = await value_or_error(self.addresses.renew(), ResultExpired)
            if expired is not None:
                return await self._stored_earlier(n, target, existing, expired)

    async def _fetch_patiently(
        self, n: int, target: Path, existing: Existing, slots: asyncio.Semaphore
    ) -> StoredFile:
        """Fetch a file; try a fresh address a few times more before a refusal is believed."""
        for pause in _FRESH_PAUSES[: self._context.retry.max_tries - 1]:
            try:
                return await self._fetch(n, target, existing, slots)
            except DownloadError as error:
                if error.http_status not in _DEAD_ADDRESS or not self.addresses.fresh(n):
                    raise
            await asyncio.sleep(pause)
        return await self._fetch(n, target, existing, slots)

    def _source(self, n: int) -> str:
        """Name the n-th file in the note of its part: notes written by earlier versions must match."""
        suffix = "/watermarked" if self._watermarked else ""
        return f"{self._task.endpoint.name}/{self._task.task_id or ''}/{n}{suffix}"

    async def _fetch(self, n: int, target: Path, existing: Existing, slots: asyncio.Semaphore) -> StoredFile:
        context = self._context
        fetched = await fetch(
            context.sessions,
            self.addresses.files[n].url,
            target,
            source=self._source(n),
            timeouts=context.timeouts,
            retry=context.retry,
            rng=context.rng,
            task_id=self._task.task_id or "",
            slots=slots,
            existing=existing,
        )
        if fetched.fresh:
            context.hooks.emit("downloaded", self._task, detail=fetched.path.name, size=fetched.size)
        return StoredFile(fetched.path, fetched.size, fetched.sha256)

    async def _stored_earlier(
        self, n: int, target: Path, existing: Existing, expired: ResultExpired
    ) -> StoredFile:
        """Return the complete file on disk of a result that the vendor deleted; remove its part."""
        part = Partial(target, self._source(n))
        size: int | None = None
        with contextlib.suppress(OSError):
            size = await in_thread(self._context.scope.enter(), part.discard)
        if size is None or existing is Existing.KEEP:  # nothing tells any more whose file it is
            raise expired
        return StoredFile(target, size)

    async def _hashed(self, stored: StoredFile) -> StoredFile:
        """Add the hash of a file that was only compared, for the journal."""

        def read() -> str:
            with stored.path.open("rb") as file:
                return digest(file)

        with contextlib.suppress(OSError):
            return stored._replace(sha256=await in_thread(self._context.scope.enter(), read))
        return stored

    async def _write_sidecar(self, stored: StoredFile) -> None:
        record, target = self._task.record, stored.path
        task = None if record is None else record.plain()
        content = {"file": target.name, "size": stored.size, "task": task}
        data = msgspec.json.format(msgspec.json.encode(content), indent=2)
        path = target.with_name(f"{target.name}.json")
        try:
            await in_thread(self._context.scope.enter(), _replace_sidecar, path, data)
        except OSError as error:
            raise writing_error(path, error, self._task.task_id or "") from None


def _replace_sidecar(path: Path, data: bytes) -> None:
    """Write a sidecar; a file of that name is replaced only if it is a sidecar.

    Raises:
        OSError: It cannot be written, or something else is there.
    """
    if os.path.lexists(path):
        try:
            there = msgspec.json.decode(read_regular(path, _SIDECAR_MAX))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            there = None
        if not isinstance(there, dict) or there.keys() != {"file", "size", "task"}:
            raise FileExistsError(errno.EISDIR, "another file is in its place")
    write_private(path, data)


class _Addresses:
    """The files of one result, whose addresses are renewed at most once."""

    def __init__(self, context: DownloadContext, task: TrackedTask, *, watermarked: bool) -> None:
        self._context = context
        self._task = task
        self._watermarked = watermarked
        self._lock = asyncio.Lock()
        self._failure: KlingError | None = None
        """Why the addresses could not be renewed; raised for every file that asks."""
        self.renewed = False
        self.files = self._read()

    def _read(self) -> tuple[File, ...]:
        record = self._task.record
        result = None if record is None else result_of(self._task.endpoint, record)
        files = result.files(watermarked=self._watermarked) if isinstance(result, Result) else ()
        if not files:
            raise DownloadError(
                f"the result of task {self._task.id} names no files", task_id=self._task.task_id or ""
            )
        return files

    def fresh(self, n: int) -> bool:
        """Tell whether the n-th address may be so new that it does not work yet.

        One without a query has lost its signature in a journal, and will never work.
        """
        record = self._task.record
        ended = 0.0 if record is None else record.updated_at / 1000
        recent = abs(self._context.scope.now() - ended) < _FRESH
        return self.renewed or (recent and "?" in self.files[n].url)

    async def renew(self) -> None:
        """Renew the addresses by one query, whichever of the files asks first.

        Raises:
            ResultExpired: The vendor has deleted the files.
            KlingError: The query failed, or names other files.
        """
        async with self._lock:
            if self._failure is not None:
                raise self._failure.again()
            if self.renewed:
                return
            try:
                await self._query()
                files = self._in_same_order(self._read())
            except KlingError as error:
                self._failure = error.again()
                raise
            self.files, self.renewed = files, True

    def _in_same_order(self, files: tuple[File, ...]) -> tuple[File, ...]:
        """Return files in the order in which names were given: an answer may list them in another."""
        if sorted(map(_identity, files)) != sorted(map(_identity, self.files)):
            raise DownloadError("the result names other files now", task_id=self._task.task_id or "")
        left = list(files)
        return tuple(left.pop([*map(_identity, left)].index(_identity(file))) for file in self.files)

    async def _query(self) -> None:
        context, task = self._context, self._task
        ended = (task.record.updated_at if task.record is not None else 0) / 1000
        expired = ended and context.scope.now() - ended > _RETENTION_DAYS * 86400
        gone = False
        try:
            await context.poller.refresh(task, context.retry, context.timeouts)
        except TaskNotFound:
            gone = True
        if gone or expired:
            raise ResultExpired(
                f"the files of task {task.id} are gone: results are kept for {_RETENTION_DAYS} days",
                task_id=task.task_id or "",
            )


def _identity(file: File) -> tuple[str, str]:
    """Return the properties of a file that stay the same when its address is renewed."""
    return file.name, file.suffix
