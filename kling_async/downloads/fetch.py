"""Download one result file, from its address to the disk: whole or not at all, resumed where it broke off."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from kling_async.core.verdict import Again
from kling_async.downloads.partial import Partial
from kling_async.downloads.placing import Existing, Placement, writing_error
from kling_async.downloads.ranges import NOTHING, LocalPart, LocalState, Remainder, StartOver, Whole
from kling_async.downloads.remote import CUT, PROGRESS_MIN, BrokenOff, FileBody, RemoteFile, unless_broken
from kling_async.http.failures import value_or_error
from kling_async.http.retry import with_retries
from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable
    from pathlib import Path

    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts

__all__ = ["Fetched", "fetch"]

T = TypeVar("T")

_WRITE_SIZE: Final = 1024**2
"""Bytes collected before a thread writes them."""


class Fetched(NamedTuple):
    """A file stored under its final name."""

    size: int
    """Bytes."""
    fresh: bool
    """False: the file was there before and only compared."""
    path: Path
    """The target, or the next free name beside it."""
    sha256: str = ""
    """Hash of the content in hexadecimal; empty if only the ends were compared."""


async def fetch(
    sessions: Sessions,
    url: str,
    target: Path,
    *,
    source: str,
    timeouts: Timeouts,
    retry: Retry,
    rng: random.Random,
    task_id: str,
    slots: asyncio.Semaphore | None = None,
    existing: Existing = Existing.REPLACE,
) -> Fetched:
    """Store the file at ``url`` as ``target``, unless it is there already.

    Bytes received before a cut are kept beside it, for the next attempt of this call and for later calls. A
    connection that brings less than 1 KiB per second, averaged over a minute, counts as cut. ``existing``
    says what becomes of a file that is there.

    Args:
        sessions: Connections to fetch over.
        url: Address of the file; not trusted.
        target: Path of the file; its folder is made.
        source: Name of the file that stays the same when its address is renewed.
        timeouts: ``connect`` and ``read`` bind.
        retry: Number of attempts after a cut or a server's trouble, counted from the last one that brought
            more of the file. No pause is longer than its ``cap``, whatever the server asks for.
        rng: Source of jitter.
        task_id: Id of the task, for errors.
        slots: Bound on simultaneous attempts; a pause between two attempts holds no slot.
        existing: How to treat a file that is there under the name of ``target``.

    Raises:
        DownloadError: The address is not acceptable, the server refused, something else came, or the file
            could not be written.
    """
    remote = RemoteFile(sessions, url, target.suffix, timeouts, retry, task_id)
    furthest: int | None = None

    async def once() -> Fetched | Again:
        nonlocal furthest
        async with nullcontext() if slots is None else slots:
            attempt = _Attempt(remote, Partial(target, source, existing))
            outcome = await attempt.run()
        if furthest is None:
            furthest = attempt.bytes_before
        if isinstance(outcome, Again) and attempt.bytes_after >= furthest + PROGRESS_MIN:
            furthest, outcome = attempt.bytes_after, outcome._replace(onward=True)
        return outcome

    return await with_retries(once, retry=retry, rng=rng)


class _Attempt:
    """One attempt to fetch the missing bytes of a file."""

    def __init__(self, remote: RemoteFile, part: Partial) -> None:
        self._remote = remote
        self._part = part
        self._loop = remote.sessions.scope.enter()
        self.bytes_before = 0
        """Resumable bytes on disk when the attempt began."""
        self.bytes_after = 0
        """Resumable bytes on disk when it broke off."""
        self._keep_part = True
        self._unwritten_file: Whole | None = None
        """The file that is being received from its first byte on, as long as none of it is on disk."""
        self._buffer: list[bytes] = []
        """Chunks received and not yet on disk."""

    async def run(self) -> Fetched | Again:
        """Look at the disk, fetch the missing bytes, and leave nothing behind but a resumable part."""
        try:
            local = await self._in_thread(self._part.open)
            self.bytes_before = local.resumable
            outcome: Fetched | Again | LocalPart = local
            while isinstance(outcome, LocalPart):
                outcome = await self._request(outcome)
            return outcome
        finally:
            if not self._part.closed:
                await in_thread(self._loop, partial(self._part.close, keep=self._keep_part))

    # -- on disk

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        result = await value_or_error(in_thread(self._loop, work, *arguments), OSError)
        if isinstance(result, OSError):
            self._keep_part = False  # the disk may be full, and the part gives its room back
            raise writing_error(self._part.target, result, self._remote.task_id)
        return result

    async def _write_buffer(self, step: Callable[[list[bytes]], T], *, last: bool = False) -> T:
        """Hand the buffer to ``step``, which appends or publishes it."""
        chunks, self._buffer = self._buffer, []
        begun, self._unwritten_file = self._unwritten_file, None
        if begun is not None and last:
            begun = Whole(None)  # a file that is complete at once needs no note to resume it by
        return await self._in_thread(self._write, step, chunks, begun)

    def _write(self, step: Callable[[list[bytes]], T], chunks: list[bytes], begun: Whole | None) -> T:
        if begun is not None:
            self._part.begin(begun)
        return step(chunks)

    # -- on the wire

    async def _request(self, local: LocalPart) -> Fetched | Again | LocalPart:
        """Request the bytes that are not on disk; return the outcome, or what to request instead."""
        outcome = await unless_broken(self._exchange(local), self._remote)
        return await self._broke_off(outcome.reason) if isinstance(outcome, BrokenOff) else outcome

    async def _broke_off(self, reason: str) -> Again:
        """Write the bytes received so far and have the attempt repeated."""
        if self._buffer:
            await self._write_buffer(self._part.append)
        self.bytes_after = (await self._in_thread(self._part.local_part)).resumable
        return Again(self._remote.error(f"the download broke off: {reason}", fault="server"))

    async def _exchange(self, local: LocalPart) -> Fetched | Again | LocalPart:
        async with await self._remote.request(local) as answer:
            match self._remote.judge(answer, local):
                case Again() as again:
                    return again
                case StartOver():
                    return NOTHING
                case Remainder():
                    return await self._compare(answer.body, local)
                case Whole(total) as whole:
                    self._check_size(total or 0)
                    self._buffer = [await self._remote.read_head(answer.body)]
                    self._unwritten_file = whole
                    return await self._store(answer.body, 0, total)

    async def _compare(self, body: FileBody, local: LocalPart) -> Fetched | Again | LocalPart:
        """Compare the overlap; then store the bytes behind a part, or compare the head of a complete file."""
        overlap = len(local.tail)
        received = await body.read_at_least(overlap)
        if received[:overlap] != local.tail:
            return NOTHING
        if local.state is LocalState.PARTIAL:
            self._buffer = [received[overlap:]]
            return await self._store(body, local.size, local.total)
        return local.beginning if local.head else Fetched(local.total, False, self._part.target)

    async def _store(self, body: FileBody, offset: int, total: int | None) -> Fetched | Again:
        """Write the body behind the first ``offset`` bytes; its first bytes are in the buffer already."""
        buffered = sum(map(len, self._buffer))
        size = offset + buffered
        while chunk := await body.read():
            self._buffer.append(chunk)
            buffered += len(chunk)
            size += len(chunk)
            self._check_size(size)
            if buffered >= _WRITE_SIZE:
                await self._write_buffer(self._part.append)
                buffered = 0
        if total is not None and size != total:
            return await self._broke_off(CUT)
        self._check_size(size)
        placed: Placement = await self._write_buffer(self._part.publish, last=True)
        return Fetched(size, placed.fresh, placed.path, placed.sha256)

    def _check_size(self, size: int) -> None:
        if error := self._remote.too_large(size):
            self._keep_part = False
            raise error
