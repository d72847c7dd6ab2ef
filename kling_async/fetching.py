"""One result file, from its address to the disk: whole or not at all, gone on with where it broke off."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp

from kling_async.auth import is_loopback
from kling_async.core.ranges import NOTHING, No, Rest, StartOver, Whole, asked, judge_file
from kling_async.core.verdict import Again
from kling_async.errors import DownloadError
from kling_async.headers import HEAD, judge_result
from kling_async.loops import in_thread
from kling_async.partials import Partial
from kling_async.retry import patiently
from kling_async.sessions import is_public
from kling_async.transport import broken_by, retry_after

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from kling_async.core.ranges import Here
    from kling_async.options import Retry, Timeouts
    from kling_async.sessions import Sessions

__all__ = ["Fetched", "fetch"]

T = TypeVar("T")

_REDIRECTS_MAX: Final = 3
_FILE_MAX: Final = 4 * 1024**3
_CHUNK: Final = 1024**2
_CUT: Final = "the connection was cut before the whole answer came"


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
) -> Fetched:
    """Store the file at ``url`` as ``target``, unless it is there already.

    What came before a cut is kept beside it, for this call's next attempt and for later calls.

    Args:
        sessions: To fetch with.
        url: Where it is; not to be trusted.
        target: Where it shall be; its folder is made.
        source: Names the file, whatever its address is.
        timeouts: ``connect`` and ``read`` bind.
        retry: How often to go on after a cut or a server's trouble.
        rng: Source of jitter.
        task_id: For errors.

    Raises:
        DownloadError: The address is not acceptable, the server refused, something else came, or the file
            could not be written.
    """
    work = _Fetch(sessions, url, Partial(target, source), timeouts, task_id)
    try:
        await work.begin()
        size = await patiently(work.attempt, retry=retry, rng=rng)
    finally:
        await work.end()
    return Fetched(size, work.fresh)


class _Fetch:
    """One file on its way, over several attempts."""

    def __init__(self, sessions: Sessions, url: str, part: Partial, timeouts: Timeouts, task_id: str) -> None:
        self.fresh = True
        self._sessions = sessions
        self._loop = sessions.home.enter()
        self._url = url
        self._part = part
        self._timeouts = timeouts
        self._task_id = task_id
        self._here = NOTHING
        self._keep = True
        self._anew: Whole | None = None
        """What comes from its first byte on, as long as none of it is on disk."""
        self._held: list[bytes] = []
        """What came and is not on disk."""

    def _error(self, text: str, status: int = 0) -> DownloadError:
        return DownloadError(text, task_id=self._task_id, http_status=status)

    # -- on disk

    async def begin(self) -> None:
        """See what is there."""
        self._here = await self._on_disk(self._part.open)

    async def end(self) -> None:
        """Leave nothing behind but what can be gone on with."""
        if not self._part.closed:
            await in_thread(self._loop, partial(self._part.close, keep=self._keep))

    async def _on_disk(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await in_thread(self._loop, work, *arguments)
        except OSError as error:
            reason = error.strerror or type(error).__name__
        self._keep = False  # it may be the room that it takes
        raise self._error(f"cannot write {str(self._part.target)!r}: {reason}")

    async def _write(self, step: Callable[[list[bytes]], None], *, last: bool = False) -> None:
        """Put what came on disk."""
        chunks, self._held = self._held, []
        anew, self._anew = self._anew, None
        await self._on_disk(self._written, step, chunks, anew and Whole(None) if last else anew)

    def _written(self, step: Callable[[list[bytes]], None], chunks: list[bytes], anew: Whole | None) -> None:
        if anew is not None:
            self._part.begin(anew)
        step(chunks)

    # -- on the wire

    async def attempt(self) -> int | Again:
        """Try to get what is missing; return the file's size."""
        outcome = await self._try(self._here)
        if isinstance(outcome, StartOver):
            outcome = await self._try(NOTHING)
        assert not isinstance(outcome, StartOver)  # noqa: S101 - nothing was there to disagree with
        return outcome

    async def _try(self, here: Here) -> int | Again | StartOver:
        try:
            return await self._get(here)
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = broken_by(error).reason
        except RuntimeError:  # aiohttp's word for a connection that closes between two chunks
            reason = _CUT
        return await self._broken(reason)

    async def _broken(self, reason: str) -> Again:
        if self._held:
            await self._write(self._part.append)
        self._here = await self._on_disk(self._part.here)
        return Again(self._error(f"the download broke off: {reason}"))

    async def _get(self, here: Here) -> int | Again | StartOver:
        session = await self._sessions.get("files")
        limits = aiohttp.ClientTimeout(
            total=None, connect=self._timeouts.connect, sock_read=self._timeouts.read
        )
        url = self._url
        for _ in range(_REDIRECTS_MAX + 1):
            if wrong := wrong_address(url, local=self._sessions.local_files):
                raise self._error(wrong)
            async with session.get(
                url,
                headers=asked(here),
                timeout=limits,
                allow_redirects=False,
                raise_for_status=False,
                **self._sessions.per_request(url),
            ) as response:
                where = response.headers.get("Location")
                if response.status not in (301, 302, 303, 307, 308) or not where:
                    return await self._receive(response, here)
            url = _joined(url, where)
        raise self._error(f"more than {_REDIRECTS_MAX} redirects")

    async def _receive(self, response: aiohttp.ClientResponse, here: Here) -> int | Again | StartOver:
        match judge_file(response.status, response.headers, here):
            case No(reason, passing):
                error = self._error(reason, response.status)
                if not passing:
                    raise error
                return Again(error, retry_after(response.headers.get("Retry-After")))
            case StartOver() as verdict:
                return verdict
            case Rest():
                overlap = await _first(response.content, len(here.tail))
                if overlap[: len(here.tail)] != here.tail:
                    return StartOver()
                if not here.etag:
                    self.fresh = False
                    return here.size
                self._held = [overlap[len(here.tail) :]]
                return await self._stream(response.content, here.size, here.total)
            case Whole(total) as whole:
                self._held = [await self._begun(response.content)]
                self._anew = whole
                return await self._stream(response.content, 0, total)

    async def _begun(self, content: aiohttp.StreamReader) -> bytes:
        """Return the first bytes of a file, after a look at them."""
        head = await _first(content, HEAD)
        if not head:
            raise self._error("the file is empty", 200)
        suffix = self._part.target.suffix
        if wrong := judge_result(suffix, head[:HEAD]):
            raise self._error(f"the file's server sent {wrong}, not a {suffix} file", 200)
        return head

    async def _stream(self, content: aiohttp.StreamReader, have: int, total: int | None) -> int | Again:
        """Take the bytes behind the first ``have``, some of which are held already."""
        held = sum(map(len, self._held))
        size = have + held
        while chunk := await content.readany():
            self._held.append(chunk)
            held += len(chunk)
            size += len(chunk)
            if size > _FILE_MAX:
                break
            if held >= _CHUNK:
                await self._write(self._part.append)
                held = 0
        if max(size, total or 0) > _FILE_MAX:
            self._keep = False
            raise self._error("the file is larger than 4 GiB")
        if total is not None and size != total:
            return await self._broken(_CUT)
        await self._write(self._part.publish, last=True)
        return size


async def _first(content: aiohttp.StreamReader, number: int) -> bytes:
    """Return the first bytes, at least so many unless there are fewer."""
    data = b""
    while len(data) < number and (chunk := await content.readany()):
        data += chunk
    return data


def _joined(url: str, where: str) -> str:
    try:
        return urljoin(url, where)
    except ValueError:
        return ""  # which the check of addresses refuses


def wrong_address(url: str, *, local: bool) -> str | None:
    """Accept https to public addresses; this machine's only where the API itself is here (``local``)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    if local and parts.scheme in ("http", "https") and is_loopback(host):
        return None
    if parts.scheme == "https" and host and is_public(host):
        return None
    return f"the result's address ({parts.scheme or 'no scheme'}://{host}) is not public https"
