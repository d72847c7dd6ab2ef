"""Store the files of a task's result: several at once, under names of a template, dead addresses renewed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import anyio
import msgspec

from kling_async.downloads.fetch import fetch
from kling_async.downloads.partial import Partial, write_private
from kling_async.errors import DownloadError, KlingError, ResultExpired, TaskNotFound
from kling_async.http.failures import value_or_error
from kling_async.orchestrator.results import result_of
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

__all__ = ["DownloadContext", "FileNamer", "StatusRefresher", "StoredFile", "fetch_all"]

_RETENTION_DAYS: Final = 30
"""Days for which the vendor keeps results."""
_DEAD_ADDRESS: Final = (401, 403, 404, 410)
"""HTTP statuses of file servers for an address whose signature has run out; they do not agree on one."""


class StoredFile(NamedTuple):
    """A file of a result on disk."""

    path: Path
    size: int
    """Bytes."""


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
) -> list[StoredFile]:
    """Store the files of a task that succeeded; return them in the order of its result.

    A complete file on disk is not fetched again. Once the vendor has deleted a result there is nothing to
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

    Raises:
        DownloadError: A file could not be fetched or stored, or there is none.
        ResultExpired: The vendor has deleted the files, and they are not on disk.
        BadResponse: The result is not of the documented form.
    """
    download = _ResultDownload(context, task, folder, watermarked=watermarked, sidecar=sidecar)
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
        self, context: DownloadContext, task: TrackedTask, folder: Path, *, watermarked: bool, sidecar: bool
    ) -> None:
        self._context = context
        self._task = task
        self._folder = folder
        self._watermarked = watermarked
        self._sidecar = sidecar
        self.addresses = _Addresses(context, task, watermarked=watermarked)

    async def store(self, n: int, name: str, slots: asyncio.Semaphore) -> StoredFile:
        """Store the n-th file; if its address is dead, renew the addresses and fetch it once more."""
        target = self._folder / name
        while True:
            renewed = self.addresses.renewed
            try:
                return await self._fetch(n, target, slots)
            except DownloadError as error:
                if renewed or error.http_status not in _DEAD_ADDRESS:
                    raise
            expired = await value_or_error(self.addresses.renew(), ResultExpired)
            if expired is not None:
                return await self._stored_earlier(n, target, expired)

    def _source(self, n: int) -> str:
        """Name the n-th file in the note of its part: notes written by earlier versions must match."""
        suffix = "/watermarked" if self._watermarked else ""
        return f"{self._task.endpoint.name}/{self._task.task_id or ''}/{n}{suffix}"

    async def _fetch(self, n: int, target: Path, slots: asyncio.Semaphore) -> StoredFile:
        context = self._context
        size, fresh = await fetch(
            context.sessions,
            self.addresses.files[n].url,
            target,
            source=self._source(n),
            timeouts=context.timeouts,
            retry=context.retry,
            rng=context.rng,
            task_id=self._task.task_id or "",
            slots=slots,
        )
        if fresh:
            context.hooks.emit("downloaded", self._task, detail=target.name, size=size)
        if self._sidecar:
            await self._write_sidecar(target, size)
        return StoredFile(target, size)

    async def _stored_earlier(self, n: int, target: Path, expired: ResultExpired) -> StoredFile:
        """Return the complete file on disk of a result that the vendor deleted; remove its part."""
        part = Partial(target, self._source(n))
        size: int | None = None
        with contextlib.suppress(OSError):
            size = await in_thread(self._context.scope.enter(), part.discard)
        if size is None:
            raise expired
        if self._sidecar:
            await self._write_sidecar(target, size)
        return StoredFile(target, size)

    async def _write_sidecar(self, target: Path, size: int) -> None:
        record = self._task.record
        content = {"file": target.name, "size": size, "task": None if record is None else record.plain()}
        data = msgspec.json.format(msgspec.json.encode(content), indent=2)
        path = target.with_name(f"{target.name}.json")
        try:
            await in_thread(self._context.scope.enter(), write_private, path, data)
        except OSError as error:
            raise DownloadError.writing(path, error, self._task.task_id or "") from None


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
