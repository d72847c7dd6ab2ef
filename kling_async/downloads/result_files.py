"""The files of a task's result: named, fetched several at once, their addresses renewed once if they died."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from kling_async.downloads.fetch import fetch
from kling_async.downloads.partial import Partial, write_private
from kling_async.errors import DownloadError, KlingError, ResultExpired, TaskNotFound
from kling_async.orchestrator.results import result_of
from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kling_async.downloads.naming import Template
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import File

__all__ = ["StoredFile", "fetch_all"]

_KEPT_DAYS: Final = 30
_DEAD: Final = (401, 403, 404, 410)


class StoredFile(NamedTuple):
    """A file of a result on disk."""

    path: Path
    size: int
    """In bytes."""


async def fetch_all(
    engine: Engine,
    live: TrackedTask,
    folder: Path,
    template: Template,
    values: Mapping[str, str | int],
    *,
    watermarked: bool = False,
    sidecar: bool = False,
    places: asyncio.Semaphore | None = None,
) -> list[StoredFile]:
    """Store the files of a task that succeeded, in the order of its result.

    Files that are there already, whole, are not fetched again. Once the vendor has deleted its own there is
    nothing to compare them with: then one counts as whole that has its name, which only whole files get, and
    the first bytes of its kind, unless a part beside it shows that one of another length was to replace it.
    If some fail, the others are stored all the same, and the first failure is raised.

    Args:
        engine: Whose.
        live: The task; its record is known, be it from a journal with addresses that lack their signatures.
        folder: Where to; made if needed.
        template: How to name them.
        values: What the template may hold besides what the task tells: ``key`` and ``index``.
        watermarked: The marked copies instead.
        sidecar: Write what is known of the task beside each file, as ``<file>.json``.
        places: Bounds how many come at once; None for the client's own bound.

    Raises:
        DownloadError: A file could not be fetched or stored, or there is none.
        ResultExpired: The vendor has deleted them, and they are not there.
        BadResponse: The result is not of the documented form.
    """
    job = _Job(engine, live, folder, watermarked, sidecar)
    known = {**values, "task_id": live.task_id or "", "endpoint": live.endpoint.name}
    names = template.names(known, job.files, marked=watermarked)
    semaphore = engine.download_slots.semaphore if places is None else places
    if len(names) == 1:
        return [await job.one(0, names[0], semaphore)]
    outcomes: dict[int, StoredFile | KlingError] = {}

    async def one(n: int, name: str) -> None:
        try:
            outcomes[n] = await job.one(n, name, semaphore)
        except KlingError as error:
            outcomes[n] = error

    async with anyio.create_task_group() as group:
        for n, name in enumerate(names):
            group.start_soon(one, n, name)
    found = [outcomes[n] for n in range(len(names))]
    for outcome in found:
        if isinstance(outcome, KlingError):
            raise outcome
    return [outcome for outcome in found if isinstance(outcome, StoredFile)]


class _Job:
    """The files of one result, whose addresses are renewed at most once."""

    def __init__(
        self, engine: Engine, live: TrackedTask, folder: Path, watermarked: bool, sidecar: bool
    ) -> None:
        self._engine = engine
        self._live = live
        self._folder = folder
        self._watermarked = watermarked
        self._sidecar = sidecar
        self._renewing = asyncio.Lock()
        self._renewed = False
        self._failure: KlingError | None = None
        self.files = self._named()

    def _named(self) -> tuple[File, ...]:
        record = self._live.record
        result = None if record is None else result_of(self._live.endpoint, record)
        files: tuple[File, ...] = getattr(result, "files", lambda **_: ())(watermarked=self._watermarked)
        if not files:
            raise DownloadError(
                f"the result of task {self._live.id} names no files", task_id=self._live.task_id or ""
            )
        return files

    async def one(self, n: int, name: str, places: asyncio.Semaphore) -> StoredFile:
        """Store one of them; if its address has died, with a new one."""
        target = self._folder / name
        while True:
            renewed = self._renewed
            try:
                return await self._store(n, target, places)
            except DownloadError as error:
                if renewed or error.http_status not in _DEAD:
                    raise
            try:
                await self._renew()
            except ResultExpired as error:
                expired = error
            else:
                continue
            return await self._stored_before(n, target, expired)

    def _source(self, n: int) -> str:
        marked = "/watermarked" if self._watermarked else ""
        return f"{self._live.endpoint.name}/{self._live.task_id or ''}/{n}{marked}"

    async def _store(self, n: int, target: Path, places: asyncio.Semaphore) -> StoredFile:
        engine = self._engine
        size, fresh = await fetch(
            engine.sessions,
            self.files[n].url,
            target,
            source=self._source(n),
            timeouts=engine.timeouts,
            retry=engine.retry,
            rng=engine.rng,
            task_id=self._live.task_id or "",
            places=places,
        )
        if fresh:
            engine.hooks.emit("downloaded", self._live, detail=target.name, size=size)
        if self._sidecar:
            await self._describe(target, size)
        return StoredFile(target, size)

    async def _stored_before(self, n: int, target: Path, expired: ResultExpired) -> StoredFile:
        """Return what lies in the place of a file that is to be had no more; drop what came of it."""
        part = Partial(target, self._source(n))
        size: int | None = None
        with contextlib.suppress(OSError):
            size = await in_thread(self._engine.scope.enter(), part.give_up)
        if size is None:
            raise expired
        if self._sidecar:
            await self._describe(target, size)
        return StoredFile(target, size)

    async def _renew(self) -> None:
        """Ask for fresh addresses, once for all who find theirs dead; say so if there can be none."""
        async with self._renewing:
            if self._failure is not None:
                raise self._failure.again()
            if self._renewed:
                return
            try:
                await self._ask_again()
                files = self._in_order(self._named())
            except KlingError as error:
                self._failure = error.again()
                raise
            self.files, self._renewed = files, True

    def _in_order(self, files: tuple[File, ...]) -> tuple[File, ...]:
        """Return the files in the order in which they were named: an answer may list them in another."""
        if sorted(map(_identity, files)) != sorted(map(_identity, self.files)):
            raise DownloadError("the result names other files now", task_id=self._live.task_id or "")
        left = list(files)
        return tuple(left.pop([*map(_identity, left)].index(_identity(file))) for file in self.files)

    async def _ask_again(self) -> None:
        engine, live = self._engine, self._live
        ended = (live.record.updated_at if live.record is not None else 0) / 1000
        expired = ended and engine.scope.now() - ended > _KEPT_DAYS * 86400
        gone = False
        try:
            await engine.poller.refresh(live, engine.retry, engine.timeouts)
        except TaskNotFound:
            gone = True
        if gone or expired:
            raise ResultExpired(
                f"the files of task {live.id} are gone: results are kept for {_KEPT_DAYS} days",
                task_id=live.task_id or "",
            )

    async def _describe(self, target: Path, size: int) -> None:
        record = self._live.record
        told = {"file": target.name, "size": size, "task": None if record is None else record.plain()}
        data = msgspec.json.format(msgspec.json.encode(told), indent=2)
        path = target.with_name(f"{target.name}.json")
        try:
            await in_thread(self._engine.scope.enter(), write_private, path, data)
        except OSError as error:
            failure = DownloadError.writing(path, error, self._live.task_id or "")
        else:
            return
        raise failure


def _identity(file: File) -> tuple[str, str]:
    """What stays the same of a file when its address is renewed."""
    return file.name, file.suffix
