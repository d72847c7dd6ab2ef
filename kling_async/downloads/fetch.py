"""One result file, from its address to the disk: whole or not at all, gone on with where it broke off."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import aiohttp

from kling_async.core.verdict import Again
from kling_async.downloads.partial import Partial
from kling_async.downloads.ranges import (
    NOTHING,
    LocalPart,
    Rejected,
    Remainder,
    StartOver,
    Whole,
    judge_file,
    range_headers,
)
from kling_async.errors import DownloadError
from kling_async.http.addresses import address_of, wrong_address
from kling_async.http.failures import broken_by
from kling_async.http.retry import with_retries
from kling_async.http.transport import retry_after
from kling_async.runtime.loop import in_thread
from kling_async.wire.media_formats import HEAD, judge_result

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable
    from pathlib import Path

    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts

__all__ = ["Fetched", "fetch"]

T = TypeVar("T")

_REDIRECTS_MAX: Final = 3
_FILE_MAX: Final = 4 * 1024**3
_CHUNK: Final = 1024**2
_ONWARD: Final = 64 * 1024
"""Bytes more than ever before that make the count of tries start anew: fewer would let it go on for ever."""
_SLOWEST: Final = 1024
"""Bytes a second, averaged over a minute, below which a connection is given up."""
_MINUTE: Final = 60.0
_CUT: Final = "the connection was cut before the whole answer came"
_SLOW: Final = "less than 1 KiB came a second"


class Fetched(NamedTuple):
    """A file that is in its place."""

    size: int
    """In bytes."""
    fresh: bool
    """False: it was there before, and only compared."""


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
    places: asyncio.Semaphore | None = None,
) -> Fetched:
    """Store the file at ``url`` as ``target``, unless it is there already.

    What came before a cut is kept beside it, for this call's next attempt and for later calls. A connection
    over which less than 1 KiB a second comes, averaged over a minute, counts as cut. A file that is there is
    the same if its length, its first 64 KiB and its last 4 KiB are.

    Args:
        sessions: To fetch with.
        url: Where it is; not to be trusted.
        target: Where it shall be; its folder is made.
        source: Names the file, whatever its address is.
        timeouts: ``connect`` and ``read`` bind.
        retry: How often to go on after a cut or a server's trouble, counted from the last attempt that
            brought more of the file. No pause is longer than its ``cap``, whatever the server asks for.
        rng: Source of jitter.
        task_id: For errors.
        places: Bounds how many attempts there are at once; no place is held during a pause.

    Raises:
        DownloadError: The address is not acceptable, the server refused, something else came, or the file
            could not be written.
    """
    wanted = _Wanted(sessions, url, target, source, timeouts, retry, task_id)
    most: int | None = None

    async def once() -> Fetched | Again:
        nonlocal most
        async with nullcontext() if places is None else places:
            attempt = _Attempt(wanted)
            outcome = await attempt.run()
        if most is None:
            most = attempt.before
        if isinstance(outcome, Again) and attempt.after >= most + _ONWARD:
            most, outcome = attempt.after, outcome._replace(onward=True)
        return outcome

    return await with_retries(once, retry=retry, rng=rng)


class _Wanted(NamedTuple):
    """What `fetch` was asked for."""

    sessions: Sessions
    url: str
    target: Path
    source: str
    timeouts: Timeouts
    retry: Retry
    task_id: str


class _Attempt:
    """One attempt to get what is missing of a file."""

    def __init__(self, wanted: _Wanted) -> None:
        self._wanted = wanted
        self._part = Partial(wanted.target, wanted.source)
        self._loop = wanted.sessions.scope.enter()
        self.before = 0
        """Bytes that were on disk to be gone on with when it began."""
        self.after = 0
        """And when it broke off."""
        self._keep = True
        self._anew: Whole | None = None
        """What comes from its first byte on, as long as none of it is on disk."""
        self._held: list[bytes] = []
        """What came and is not on disk."""

    def _error(self, text: str, status: int = 0) -> DownloadError:
        return DownloadError(text, task_id=self._wanted.task_id, http_status=status)

    async def run(self) -> Fetched | Again:
        """See what is there, get the rest, and leave nothing behind but what can be gone on with."""
        try:
            here = await self._on_disk(self._part.open)
            self.before = _to_go_on_with(here)
            outcome: Fetched | Again | LocalPart = here
            while isinstance(outcome, LocalPart):
                outcome = await self._try(outcome)
            return outcome
        finally:
            if not self._part.closed:
                await in_thread(self._loop, partial(self._part.close, keep=self._keep))

    # -- on disk

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await in_thread(self._loop, work, *arguments)
        except OSError as error:
            failure = DownloadError.writing(self._part.target, error, self._wanted.task_id)
        self._keep = False  # it may be the room that it takes
        raise failure

    async def _write(self, step: Callable[[list[bytes]], None], *, last: bool = False) -> None:
        """Put what came on disk."""
        chunks, self._held = self._held, []
        anew, self._anew = self._anew, None
        if anew is not None and last:
            anew = Whole(None)  # no note is needed of what is complete
        await self._on_disk(self._written, step, chunks, anew)

    def _written(self, step: Callable[[list[bytes]], None], chunks: list[bytes], anew: Whole | None) -> None:
        if anew is not None:
            self._part.begin(anew)
        step(chunks)

    # -- on the wire

    async def _try(self, here: LocalPart) -> Fetched | Again | LocalPart:
        """Ask for what is not here; return what came of it, or what to ask for instead."""
        unusable = False
        try:
            return await self._get(here)
        except aiohttp.InvalidURL:
            unusable, reason = True, "the result's address, or the proxy's, is not one to connect to"
        except _TooSlow:
            reason = _SLOW
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = broken_by(error).reason
        except RuntimeError:  # aiohttp's word for a connection that closes between two chunks
            reason = _CUT
        if unusable:
            raise self._error(reason)
        return await self._broken(reason)

    async def _broken(self, reason: str) -> Again:
        if self._held:
            await self._write(self._part.append)
        self.after = _to_go_on_with(await self._on_disk(self._part.here))
        return Again(self._error(f"the download broke off: {reason}"))

    async def _get(self, here: LocalPart) -> Fetched | Again | LocalPart:
        sessions, timeouts = self._wanted.sessions, self._wanted.timeouts
        limits = aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_read=timeouts.read)
        url = address_of(self._wanted.url)
        for _ in range(_REDIRECTS_MAX + 1):
            if wrong := wrong_address(url, local=sessions.local_files):
                raise self._error(wrong)
            session, settings = await sessions.for_file(url)
            async with session.get(
                url,
                headers=range_headers(here),
                timeout=limits,
                allow_redirects=False,
                raise_for_status=False,
                **settings,
            ) as response:
                where = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not where:
                    return await self._receive(response, here)
            url = address_of(where, base=url)
        raise self._error(f"more than {_REDIRECTS_MAX} redirects")

    async def _receive(
        self, response: aiohttp.ClientResponse, here: LocalPart
    ) -> Fetched | Again | LocalPart:
        body = _Body(response.content, self._loop.time)
        match judge_file(response.status, response.headers, here):
            case Rejected(reason, passing):
                error = self._error(reason, response.status)
                if not passing:
                    raise error
                pause = retry_after(response.headers.get("Retry-After"))
                return Again(error, None if pause is None else min(pause, self._wanted.retry.cap))
            case StartOver():
                return NOTHING
            case Remainder():
                return await self._go_on(body, here)
            case Whole(total) as whole:
                self._check_size(total or 0)
                self._held = [await self._begun(body)]
                self._anew = whole
                return await self._stream(body, 0, total)

    async def _go_on(self, body: _Body, here: LocalPart) -> Fetched | Again | LocalPart:
        """Compare what is here, and take what is behind it."""
        overlap = await body.first(len(here.tail))
        if overlap[: len(here.tail)] != here.tail:
            return NOTHING
        if here.etag:
            self._held = [overlap[len(here.tail) :]]
            return await self._stream(body, here.size, here.total)
        return here.beginning if here.head else Fetched(here.total, fresh=False)

    async def _begun(self, body: _Body) -> bytes:
        """Return the first bytes of a file, after a look at them."""
        head = await body.first(HEAD)
        if not head:
            raise self._error("the file is empty", 200)
        suffix = self._wanted.target.suffix
        if wrong := judge_result(suffix, head[:HEAD]):
            raise self._error(f"the file's server sent {wrong}, not a {suffix} file", 200)
        return head

    async def _stream(self, body: _Body, have: int, total: int | None) -> Fetched | Again:
        """Take the bytes behind the first ``have``, some of which are held already."""
        held = sum(map(len, self._held))
        size = have + held
        while chunk := await body.some():
            self._held.append(chunk)
            held += len(chunk)
            size += len(chunk)
            self._check_size(size)
            if held >= _CHUNK:
                await self._write(self._part.append)
                held = 0
        if total is not None and size != total:
            return await self._broken(_CUT)
        self._check_size(size)
        await self._write(self._part.publish, last=True)
        return Fetched(size, fresh=True)

    def _check_size(self, size: int) -> None:
        if size > _FILE_MAX:
            self._keep = False
            raise self._error("the file is larger than 4 GiB")


class _TooSlow(Exception):
    """Not worth waiting for."""


class _Body:
    """What comes, as long as it comes fast enough.

    A server that sends a byte now and then would pass every limit on silence, and hold its place for days.
    """

    def __init__(self, content: aiohttp.StreamReader, time: Callable[[], float]) -> None:
        self._content = content
        self._time = time
        self._since = time()
        self._came = 0

    async def some(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            _TooSlow: Too few came before these.
        """
        passed = self._time() - self._since
        if passed >= _MINUTE:
            if self._came < _SLOWEST * passed:
                raise _TooSlow
            self._since, self._came = self._since + passed, 0
        chunk = await self._content.readany()
        self._came += len(chunk)
        return chunk

    async def first(self, number: int) -> bytes:
        """Return the first bytes, at least so many unless there are fewer."""
        data = b""
        while len(data) < number and (chunk := await self.some()):
            data += chunk
        return data


def _to_go_on_with(here: LocalPart) -> int:
    return here.size if here.etag else 0
