"""Exchanges with the server of a result file, for whoever stores the bytes or hands them on.

Addresses come out of answers and are not trusted: every hop is judged before it is connected to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeVar

import aiohttp
from yarl import URL

from kling_async.core.verdict import Again
from kling_async.downloads.ranges import Rejected, judge_file, range_headers
from kling_async.errors import DownloadError
from kling_async.http.addresses import address_of, wrong_address
from kling_async.http.answers import retry_after
from kling_async.http.failures import broken_by, value_or_error
from kling_async.wire.media_formats import HEAD, judge_result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async.downloads.ranges import LocalPart, Remainder, StartOver, Whole
    from kling_async.errors import DownloadFault
    from kling_async.http.sessions import Sessions
    from kling_async.options import Retry, Timeouts

__all__ = ["CUT", "PROGRESS_MIN", "BrokenOff", "FileAnswer", "FileBody", "RemoteFile", "unless_broken"]

T = TypeVar("T")

PROGRESS_MIN: Final = 64 * 1024
"""Bytes beyond the furthest attempt that start the count of attempts anew: fewer might never end."""
CUT: Final = "the connection was cut before the whole answer came"
_REDIRECTS_MAX: Final = 3
_WANTS_KEY: Final = (401, 403)
"""HTTP statuses with which a gateway asks for its key."""
_NO_BASE: Final = URL()
_FILE_MAX: Final = 4 * 1024**3
_RATE_MIN: Final = 1024
"""Bytes per second, averaged over `_RATE_PERIOD`, below which a connection is given up."""
_RATE_PERIOD: Final = 60.0
_SLOW: Final = "less than 1 KiB per second"


class BrokenOff(NamedTuple):
    """An exchange that ended before the whole answer had come."""

    reason: str


class RemoteFile(NamedTuple):
    """One result file on its server, and how to ask for it."""

    sessions: Sessions
    url: str
    """Address; not trusted."""
    suffix: str
    """Suffix of the format that the address should hold, with its dot."""
    timeouts: Timeouts
    """``connect`` and ``read`` bind."""
    retry: Retry
    """No pause is longer than its ``cap``, whatever the server asks for."""
    task_id: str
    """Id of the task, for errors."""

    def error(self, text: str, status: int = 0, *, fault: DownloadFault = "file") -> DownloadError:
        """Return an error about this file."""
        return DownloadError(text, task_id=self.task_id, http_status=status, fault=fault)

    def too_large(self, size: int) -> DownloadError | None:
        """Return the error of a file of so many bytes, if that is more than any result has."""
        return self.error("the file is larger than 4 GiB") if size > _FILE_MAX else None

    async def request(self, local: LocalPart) -> FileAnswer:
        """Request the bytes that are not there yet; return the answer behind all redirects, to be closed.

        Raises:
            DownloadError: An address on the way is not acceptable.
            aiohttp.ClientError: No answer came; see `unless_broken`.
        """
        sessions, timeouts = self.sessions, self.timeouts
        limits = aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_read=timeouts.read)
        own = sessions.own_files
        url, key = address_of(self.url, base=_NO_BASE if own is None else own.base), False
        for _ in range(_REDIRECTS_MAX + 1):
            mine = own is not None and own.covers(url)
            if not mine and (wrong := wrong_address(url, local=sessions.local_files)):
                raise self.error(wrong, fault="server")
            session, options = await sessions.for_file(url)
            shown = own.headers(sessions.scope.now()) if key and mine and own is not None else {}
            response = await session.get(
                url,
                headers={**range_headers(local), **shown},
                timeout=limits,
                allow_redirects=False,  # every hop is judged before it is connected to
                raise_for_status=False,
                **options,
            )
            if mine and not key and response.status in _WANTS_KEY:
                key = True  # only where it is asked for: a signed address refuses a second signature
                response.release()
                continue
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return FileAnswer(response, sessions.scope.time)
            response.release()
            url = address_of(location, base=url)
        raise self.error(f"more than {_REDIRECTS_MAX} redirects", fault="server")

    def judge(self, answer: FileAnswer, local: LocalPart) -> Whole | Remainder | StartOver | Again:
        """Decide what an answer brings.

        Raises:
            DownloadError: No file, and no later request will bring one.
        """
        verdict = judge_file(answer.response.status, answer.response.headers, local)
        if not isinstance(verdict, Rejected):
            return verdict
        error = self.error(verdict.reason, answer.response.status, fault="server")
        if not verdict.temporary:
            raise error
        pause = retry_after(answer.response.headers.get("Retry-After"))
        return Again(error, None if pause is None else min(pause, self.retry.cap))

    async def read_head(self, body: FileBody) -> bytes:
        """Return the first bytes of a file, after judging its format by them.

        Raises:
            DownloadError: The file is empty, or of another format.
        """
        head = await body.read_at_least(HEAD)
        if not head:
            raise self.error("the file is empty", 200)
        if wrong := judge_result(self.suffix, head[:HEAD]):
            raise self.error(f"the file's server sent {wrong}, not a {self.suffix} file", 200)
        return head


async def unless_broken(work: Awaitable[T], file: RemoteFile) -> T | BrokenOff:
    """Await a part of an exchange; return its value, or why the exchange broke off.

    Raises:
        DownloadError: The work raised it, or no address can be made of the file's.
    """
    outcome = await value_or_error(work, (aiohttp.ClientError, TimeoutError, RuntimeError, _TooSlow))
    match outcome:
        case aiohttp.InvalidURL():
            raise file.error("the result's address, or the proxy's, is not a valid URL", fault="server")
        case aiohttp.ClientError() | TimeoutError():
            return BrokenOff(broken_by(outcome).reason)
        case _TooSlow():
            return BrokenOff(_SLOW)
        case Exception():  # RuntimeError: aiohttp's word for a connection that closes between two chunks
            return BrokenOff(CUT)
        case _:
            return outcome


class FileAnswer:
    """An answer whose body is still to be read; leaving it closes a connection that has more to send."""

    def __init__(self, response: aiohttp.ClientResponse, time: Callable[[], float]) -> None:
        self.response = response
        self.body = FileBody(response.content, time)

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self.response.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.response.wait_for_close()


class _TooSlow(Exception):
    """The body comes more slowly than `_RATE_MIN`."""


class FileBody:
    """Read a body that comes fast enough.

    A server that sends a byte now and then keeps within every read timeout, and would hold its download slot
    for days. Only the time spent on waiting for the server counts, not what its bytes are then used for.
    """

    def __init__(self, content: aiohttp.StreamReader, time: Callable[[], float]) -> None:
        self._content = content
        self._time = time
        self._waited = 0.0
        """Seconds spent on reading since the period began."""
        self._received = 0
        """Bytes since the period began."""

    async def read(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            _TooSlow: The period that ends now brought too few.
        """
        if self._waited >= _RATE_PERIOD:
            if self._received < _RATE_MIN * self._waited:
                raise _TooSlow
            self._waited, self._received = 0.0, 0
        start = self._time()
        chunk = await self._content.readany()
        self._waited += self._time() - start
        self._received += len(chunk)
        return chunk

    async def read_at_least(self, number: int) -> bytes:
        """Return the next bytes, at least ``number`` unless the body ends before."""
        data = b""
        while len(data) < number and (chunk := await self.read()):
            data += chunk
        return data
