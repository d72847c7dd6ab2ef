"""Addresses of the files of one result: read from its record, renewed once when they have died."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from kling_async.errors import DownloadError, KlingError, ResultExpired, TaskNotFound
from kling_async.orchestrator.results import result_of
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from kling_async.events import Hooks
    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.runtime.loop import DownloadSlots, LoopScope
    from kling_async.wire.requests import File

__all__ = ["DownloadContext", "ResultAddresses", "StatusRefresher"]

T = TypeVar("T")

_RETENTION_DAYS: Final = 30
"""Days for which the vendor keeps results."""
_DEAD_ADDRESS: Final = (401, 403, 404, 410)
"""HTTP statuses of file servers for an address whose signature has run out; they do not agree on one."""
_FRESH: Final = 600.0
"""Seconds after a task's end for which its addresses may not work yet: copies of a file spread slowly."""
_FRESH_PAUSES: Final = (1.0, 3.0, 9.0)
"""Seconds before a fresh address that is refused is tried again."""


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


class ResultAddresses:
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

    async def use(self, n: int, fetch: Callable[[str], Awaitable[T]]) -> T:
        """Fetch the n-th file from its address; if that is dead, renew the addresses and fetch once more.

        A fresh address that is refused is tried a few times more before it counts as dead.

        Args:
            n: Number of the file.
            fetch: Fetches from an address.

        Raises:
            ResultExpired: The vendor has deleted the files.
            KlingError: What ``fetch`` raised last, or the addresses could not be renewed.
        """
        while True:
            renewed = self.renewed
            try:
                return await self._patiently(n, fetch)
            except DownloadError as error:
                if renewed or error.http_status not in _DEAD_ADDRESS:
                    raise
            await self.renew()

    async def _patiently(self, n: int, fetch: Callable[[str], Awaitable[T]]) -> T:
        """Fetch from an address; try a fresh one a few times more before a refusal is believed."""
        for pause in _FRESH_PAUSES[: self._context.retry.max_tries - 1]:
            try:
                return await fetch(self.files[n].url)
            except DownloadError as error:
                if error.http_status not in _DEAD_ADDRESS or not self._fresh(n):
                    raise
            await asyncio.sleep(pause)
        return await fetch(self.files[n].url)

    def _fresh(self, n: int) -> bool:
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
