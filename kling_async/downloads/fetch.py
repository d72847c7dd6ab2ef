"""Download one result file, from its address to the disk: whole or not at all, resumed where it broke off."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import aiohttp

from kling_async.core.verdict import Again
from kling_async.downloads.partial import Partial
from kling_async.downloads.placing import Existing, Placement, writing_error
from kling_async.downloads.ranges import (
    NOTHING,
    LocalPart,
    LocalState,
    Rejected,
    Remainder,
    StartOver,
    Whole,
    judge_file,
    range_headers,
)
from kling_async.errors import DownloadError
from kling_async.http.addresses import address_of, wrong_address
from kling_async.http.failures import broken_by, value_or_error
from kling_async.http.retry import with_retries
from kling_async.http.transport import retry_after
from kling_async.runtime.loop import in_thread
from kling_async.wire.media_formats import HEAD, judge_result

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable
    from pathlib import Path

    from kling_async.errors import DownloadFault
    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts

__all__ = ["Fetched", "fetch"]

T = TypeVar("T")

_REDIRECTS_MAX: Final = 3
_FILE_MAX: Final = 4 * 1024**3
_WRITE_SIZE: Final = 1024**2
"""Bytes collected before a thread writes them."""
_PROGRESS_MIN: Final = 64 * 1024
"""Bytes beyond the furthest attempt that start the count of attempts anew: fewer might never end."""
_RATE_MIN: Final = 1024
"""Bytes per second, averaged over `_RATE_PERIOD`, below which a connection is given up."""
_RATE_PERIOD: Final = 60.0
_CUT: Final = "the connection was cut before the whole answer came"
_SLOW: Final = "less than 1 KiB per second"


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
    wanted = _FileRequest(sessions, url, target, source, timeouts, retry, task_id, existing)
    furthest: int | None = None

    async def once() -> Fetched | Again:
        nonlocal furthest
        async with nullcontext() if slots is None else slots:
            attempt = _Attempt(wanted)
            outcome = await attempt.run()
        if furthest is None:
            furthest = attempt.bytes_before
        if isinstance(outcome, Again) and attempt.bytes_after >= furthest + _PROGRESS_MIN:
            furthest, outcome = attempt.bytes_after, outcome._replace(onward=True)
        return outcome

    return await with_retries(once, retry=retry, rng=rng)


class _FileRequest(NamedTuple):
    """The arguments of `fetch` that every attempt needs."""

    sessions: Sessions
    url: str
    target: Path
    source: str
    timeouts: Timeouts
    retry: Retry
    task_id: str
    existing: Existing


class _Attempt:
    """One attempt to fetch the missing bytes of a file."""

    def __init__(self, wanted: _FileRequest) -> None:
        self._wanted = wanted
        self._part = Partial(wanted.target, wanted.source, wanted.existing)
        self._loop = wanted.sessions.scope.enter()
        self.bytes_before = 0
        """Resumable bytes on disk when the attempt began."""
        self.bytes_after = 0
        """Resumable bytes on disk when it broke off."""
        self._keep_part = True
        self._unwritten_file: Whole | None = None
        """The file that is being received from its first byte on, as long as none of it is on disk."""
        self._buffer: list[bytes] = []
        """Chunks received and not yet on disk."""

    def _error(self, text: str, status: int = 0, *, fault: DownloadFault = "file") -> DownloadError:
        return DownloadError(text, task_id=self._wanted.task_id, http_status=status, fault=fault)

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
            raise writing_error(self._part.target, result, self._wanted.task_id)
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
        kinds = (aiohttp.ClientError, TimeoutError, RuntimeError, _TooSlow)
        outcome = await value_or_error(self._follow_redirects(local), kinds)
        match outcome:
            case aiohttp.InvalidURL():
                raise self._error("the result's address, or the proxy's, is not a valid URL", fault="server")
            case aiohttp.ClientError() | TimeoutError():
                return await self._broke_off(broken_by(outcome).reason)
            case _TooSlow():
                return await self._broke_off(_SLOW)
            case Exception():  # RuntimeError: aiohttp's word for a connection that closes between two chunks
                return await self._broke_off(_CUT)
            case _:
                return outcome

    async def _broke_off(self, reason: str) -> Again:
        """Write the bytes received so far and have the attempt repeated."""
        if self._buffer:
            await self._write_buffer(self._part.append)
        self.bytes_after = (await self._in_thread(self._part.local_part)).resumable
        return Again(self._error(f"the download broke off: {reason}", fault="server"))

    async def _follow_redirects(self, local: LocalPart) -> Fetched | Again | LocalPart:
        sessions, timeouts = self._wanted.sessions, self._wanted.timeouts
        limits = aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_read=timeouts.read)
        url = address_of(self._wanted.url)
        for _ in range(_REDIRECTS_MAX + 1):
            if wrong := wrong_address(url, local=sessions.local_files):
                raise self._error(wrong, fault="server")
            session, options = await sessions.for_file(url)
            async with session.get(
                url,
                headers=range_headers(local),
                timeout=limits,
                allow_redirects=False,  # every hop is judged before it is connected to
                raise_for_status=False,
                **options,
            ) as response:
                location = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not location:
                    return await self._receive(response, local)
            url = address_of(location, base=url)
        raise self._error(f"more than {_REDIRECTS_MAX} redirects", fault="server")

    async def _receive(
        self, response: aiohttp.ClientResponse, local: LocalPart
    ) -> Fetched | Again | LocalPart:
        body = _Body(response.content, self._loop.time)
        match judge_file(response.status, response.headers, local):
            case Rejected(reason, temporary):
                error = self._error(reason, response.status, fault="server")
                if not temporary:
                    raise error
                pause = retry_after(response.headers.get("Retry-After"))
                return Again(error, None if pause is None else min(pause, self._wanted.retry.cap))
            case StartOver():
                return NOTHING
            case Remainder():
                return await self._compare(body, local)
            case Whole(total) as whole:
                self._check_size(total or 0)
                self._buffer = [await self._read_head(body)]
                self._unwritten_file = whole
                return await self._store(body, 0, total)

    async def _compare(self, body: _Body, local: LocalPart) -> Fetched | Again | LocalPart:
        """Compare the overlap; then store the bytes behind a part, or compare the head of a complete file."""
        overlap = len(local.tail)
        received = await body.read_at_least(overlap)
        if received[:overlap] != local.tail:
            return NOTHING
        if local.state is LocalState.PARTIAL:
            self._buffer = [received[overlap:]]
            return await self._store(body, local.size, local.total)
        return local.beginning if local.head else Fetched(local.total, False, self._wanted.target)

    async def _read_head(self, body: _Body) -> bytes:
        """Return the first bytes of a file, after judging its format by them."""
        head = await body.read_at_least(HEAD)
        if not head:
            raise self._error("the file is empty", 200)
        suffix = self._wanted.target.suffix
        if wrong := judge_result(suffix, head[:HEAD]):
            raise self._error(f"the file's server sent {wrong}, not a {suffix} file", 200)
        return head

    async def _store(self, body: _Body, offset: int, total: int | None) -> Fetched | Again:
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
            return await self._broke_off(_CUT)
        self._check_size(size)
        placed: Placement = await self._write_buffer(self._part.publish, last=True)
        return Fetched(size, placed.fresh, placed.path, placed.sha256)

    def _check_size(self, size: int) -> None:
        if size > _FILE_MAX:
            self._keep_part = False
            raise self._error("the file is larger than 4 GiB")


class _TooSlow(Exception):
    """The body comes more slowly than `_RATE_MIN`."""


class _Body:
    """Read a body that comes fast enough.

    A server that sends a byte now and then keeps within every read timeout, and would hold its download slot
    for days.
    """

    def __init__(self, content: aiohttp.StreamReader, time: Callable[[], float]) -> None:
        self._content = content
        self._time = time
        self._period_start = time()
        self._received = 0
        """Bytes since the period began."""

    async def read(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            _TooSlow: The period that ends now brought too few.
        """
        elapsed = self._time() - self._period_start
        if elapsed >= _RATE_PERIOD:
            if self._received < _RATE_MIN * elapsed:
                raise _TooSlow
            self._period_start, self._received = self._period_start + elapsed, 0
        chunk = await self._content.readany()
        self._received += len(chunk)
        return chunk

    async def read_at_least(self, number: int) -> bytes:
        """Return the next bytes, at least ``number`` unless the body ends before."""
        data = b""
        while len(data) < number and (chunk := await self.read()):
            data += chunk
        return data
