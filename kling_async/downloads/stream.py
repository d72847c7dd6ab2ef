"""Stream one result file to a consumer, with the care of a download and without a file on disk."""

from __future__ import annotations

import contextlib
import contextvars
import enum
from functools import partial
from typing import TYPE_CHECKING, Final, Self, TypeVar

from kling_async.core.lifecycle import Lifecycle
from kling_async.core.verdict import Again
from kling_async.downloads.ranges import ReceivedPart, Remainder, StartOver, Whole
from kling_async.downloads.remote import CUT, PROGRESS_MIN, BrokenOff, RemoteFile, unless_broken
from kling_async.downloads.result_addresses import ResultAddresses
from kling_async.errors import DownloadError, KlingError, Problem, RequestInvalid
from kling_async.http.retry import Tries, repeated
from kling_async.wire.media_formats import HEAD, media_type

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async.core.lifecycle import Moves
    from kling_async.downloads.ranges import LocalPart
    from kling_async.downloads.remote import FileAnswer, FileBody
    from kling_async.downloads.result_addresses import DownloadContext
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import File

__all__ = ["FileStream", "StreamState"]

T = TypeVar("T")

_CLOSED: Final = "the stream was closed before its end"


class StreamState(enum.Enum):
    """The life of a stream."""

    NEW = "new"
    """Nothing was requested yet; the task may still run."""
    OPEN = "open"
    """The first bytes are here, and what they are the beginning of is known."""
    ENDED = "ended"
    """The whole file was handed on."""
    FAILED = "failed"
    """The rest will not come; the reason is raised again by every further step."""
    CLOSED = "closed"
    """The consumer left before the end."""


_MOVES: Final[Moves[StreamState]] = {
    StreamState.NEW: frozenset({StreamState.OPEN, StreamState.FAILED, StreamState.CLOSED}),
    StreamState.OPEN: frozenset({StreamState.ENDED, StreamState.FAILED, StreamState.CLOSED}),
    StreamState.ENDED: frozenset(),
    StreamState.FAILED: frozenset(),
    StreamState.CLOSED: frozenset(),
}


class FileStream:
    """The bytes of one result file, in order, as they come; made by `Task.stream`.

        async with task.stream() as file:  # waits for the task and for the file's first bytes
            print(file.content_type, file.length)
            async for chunk in file:
                ...
        # only here is the file known to be whole: commit now

    ``async for chunk in task.stream()`` alone works too; whoever leaves that loop early closes the connection
    only when Python drops the object. A loop that ends without an error has handed on the whole file; until
    then its bytes may be the beginning of a broken one, so whoever stores them commits after the loop.

    The first bytes are held against the format before any are handed on. A connection that breaks is resumed
    behind the last byte, if the server names a length and a strong ETag, and the bytes before it are compared
    once more; without these it ends with an error once bytes were handed on. Attempts, pauses, time limits
    and addresses are those of `Task.download`. A consumer may take its time: only waiting for the server
    counts. A stream takes none of the client's download slots, which a consumer that pauses would keep from
    others: open only as many at a time as you read.

    Raises:
        DownloadError: The file could not be fetched, or not to its end.
        ResultExpired: The vendor has deleted the file.
        RequestInvalid: The result has no file of that number.
        KlingError: The task failed, or ended in another way that `Task.wait` raises.
    """

    def __init__(
        self,
        context: DownloadContext,
        ended: Callable[[], Awaitable[TrackedTask]],
        n: int,
        *,
        watermarked: bool,
    ) -> None:
        if n < 0:
            raise _no_such_file(n, "files are numbered from 0")
        self._context = context
        self._ended = ended
        self._n = n
        self._watermarked = watermarked
        self._life = Lifecycle(_MOVES, StreamState.NEW)
        self._transfer: _Transfer | None = None
        self._first = b""
        """The bytes that came while the stream was opened, until they are handed on."""
        self._failure: KlingError | None = None
        self._busy = False

    @property
    def length(self) -> int | None:
        """Number of bytes of the whole file; None if its server does not tell."""
        return self._opened.received.total

    @property
    def content_type(self) -> str:
        """Media type by the first bytes, ``video/mp4``; what the server calls the file is not believed."""
        return self._opened.content_type

    @property
    def suffix(self) -> str:
        """Suffix of the documented format, with its dot: ``.mp4``. Any picture may come as ``.png``."""
        return self._opened.file.suffix

    @property
    def name(self) -> str:
        """Name that differs from those of the result's other files, without suffix: ``0``."""
        return self._opened.file.name

    @property
    def _opened(self) -> _Transfer:
        if self._transfer is None or self._transfer.received.whole is None:
            raise RuntimeError("a stream is entered first: async with task.stream() as file")
        return self._transfer

    async def __aenter__(self) -> Self:
        if self._life.state is not StreamState.OPEN:
            await self._alone(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; the file counts as broken unless the loop has ended."""
        if not self._life.final:
            self._finish(StreamState.CLOSED)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._life.state is StreamState.NEW:
            await self._alone(self._open)
        if self._life.state is not StreamState.ENDED and (chunk := await self._alone(self._next)):
            return chunk
        raise StopAsyncIteration

    async def _alone(self, step: Callable[[], Awaitable[T]]) -> T:
        """Take one step of the stream: one at a time, and none after one that failed."""
        if self._busy:
            raise RuntimeError("a stream is read by one task at a time")
        if self._failure is not None:
            raise self._failure.again()
        if self._life.state is StreamState.ENDED:
            raise RuntimeError("this stream has ended; task.stream() makes another one")
        self._raise_if_closed()
        self._busy = True
        try:
            return await step()
        except KlingError as error:
            if not self._life.final:
                self._failure = error.again()
                self._finish(StreamState.FAILED)
            raise
        finally:
            self._busy = False

    def _raise_if_closed(self) -> None:
        if self._life.state is StreamState.CLOSED:
            raise DownloadError(_CLOSED)

    async def _open(self) -> None:
        """Wait for the task, then for the first bytes of the file."""
        task = await self._ended()
        self._raise_if_closed()
        if self._transfer is None:
            addresses = ResultAddresses(self._context, task, watermarked=self._watermarked)
            if self._n >= (number := len(addresses.files)):
                raise _no_such_file(self._n, f"the result has {number} file{'s' if number > 1 else ''}")
            self._transfer = _Transfer(self._context, task, addresses, self._n)
        self._first = await self._transfer.chunk()
        self._life.move(StreamState.OPEN)

    async def _next(self) -> bytes:
        """Return the next bytes; none at the end."""
        first, self._first = self._first, b""
        if first:
            return first
        transfer = self._opened
        if not (chunk := await transfer.chunk()):
            self._finish(StreamState.ENDED)
            transfer.report()
        return chunk

    def _finish(self, state: StreamState) -> None:
        self._life.move(state)
        if self._transfer is not None:
            self._transfer.close()

    def __repr__(self) -> str:
        words = f"<FileStream {self._n} {self._life.state.value}"
        if self._transfer is None:
            return f"{words}>"
        received = self._transfer.received
        return f"{words}, {received.size} of {'?' if received.total is None else received.total} bytes>"


def _no_such_file(n: int, reason: str) -> RequestInvalid:
    return RequestInvalid("stream", [Problem("n", f"there is no file {n}: {reason}")])


class _Transfer:
    """Take the bytes of one file from its server, over as many connections as that needs."""

    def __init__(
        self, context: DownloadContext, task: TrackedTask, addresses: ResultAddresses, n: int
    ) -> None:
        self.file: File = addresses.files[n]
        self.received = ReceivedPart()
        self.content_type = ""
        self._context = context
        self._task = task
        self._addresses = addresses
        self._n = n
        self._tries = Tries(context.retry, context.rng)
        self._furthest = 0
        """Number of bytes at which the count of attempts began anew."""
        self._loop = context.scope.enter()
        self._answer: FileAnswer | None = None
        self._closed = False

    def __del__(self) -> None:
        # a consumer left a plain `async for`; garbage may be collected in any thread
        if (answer := self._answer) is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its connections with it
                self._loop.call_soon_threadsafe(answer.close, context=contextvars.Context())

    def close(self) -> None:
        """Close the connection and request nothing more."""
        self._closed = True
        self._drop_answer()

    def _drop_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def report(self) -> None:
        """Count the file as downloaded."""
        name = f"{self.file.name}{self.file.suffix}"
        self._context.hooks.emit("downloaded", self._task, detail=name, size=self.received.size)

    async def chunk(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            KlingError: The file's end will not come.
        """
        return await self._addresses.use(self._n, self._chunk_from)

    async def _chunk_from(self, url: str) -> bytes:
        context, task_id = self._context, self._task.task_id or ""
        file = RemoteFile(context.sessions, url, self.file.suffix, context.timeouts, context.retry, task_id)
        return await repeated(partial(self._attempt, file), self._tries)

    async def _attempt(self, file: RemoteFile) -> bytes | Again:
        """Read from the open connection, or from a new one."""
        self._check_open(file)
        answer = self._answer
        work = self._connect(file) if answer is None else answer.body.read()
        outcome = await unless_broken(work, file)
        self._check_open(file)
        if isinstance(outcome, BrokenOff):
            return self._broke_off(outcome.reason, file)
        return outcome if isinstance(outcome, Again) else self._take(outcome, file)

    def _check_open(self, file: RemoteFile) -> None:
        """Raise if the stream was closed meanwhile, or the client."""
        if self._closed:
            self._drop_answer()
            raise file.error(_CLOSED)
        self._loop = self._context.scope.enter()

    async def _connect(self, file: RemoteFile) -> bytes | Again:
        """Request the bytes that have not come yet; return the first of them."""
        local = self.received.local
        assert local is not None  # noqa: S101 - `_broke_off` has seen to that
        answer = await file.request(local)
        try:
            outcome = await self._begin(answer, local, file)
        except BaseException:
            answer.close()
            raise
        if isinstance(outcome, Again):
            answer.close()
        else:
            self._answer = answer
        return outcome

    async def _begin(self, answer: FileAnswer, local: LocalPart, file: RemoteFile) -> bytes | Again:
        match file.judge(answer, local):
            case Again() as again:
                return again
            case Whole(total) as whole if self.received.whole is None:
                if error := file.too_large(total or 0):
                    raise error
                head = await file.read_head(answer.body)
                self.received.whole, self.content_type = whole, media_type(head[:HEAD])
                return head
            case Remainder():
                return await self._behind(local, answer.body, file)
            case Whole() | StartOver():
                raise self._changed(file)

    async def _behind(self, local: LocalPart, body: FileBody, file: RemoteFile) -> bytes:
        """Compare the bytes that came twice; return those behind them."""
        overlap = len(local.tail)
        twice = await body.read_at_least(overlap)
        if twice[:overlap] != local.tail[: len(twice)]:
            raise self._changed(file)
        return twice[overlap:] or await body.read()

    def _changed(self, file: RemoteFile) -> DownloadError:
        text = "its server does not send the rest of the same file"
        return file.error(self._broken(text), fault="server")

    def _broken(self, reason: str) -> str:
        return f"the stream broke off after {self.received.size} bytes were handed on: {reason}"

    def _take(self, chunk: bytes, file: RemoteFile) -> bytes | Again:
        """Note the bytes that came; without any, judge whether the file ends here."""
        received = self.received
        if not chunk:
            return chunk if received.is_complete or received.total is None else self._broke_off(CUT, file)
        received.add(chunk)
        if error := file.too_large(received.size):
            raise error
        if received.is_too_long:
            text = f"more than {received.total} bytes came, which was the file's length"
            raise file.error(text, fault="server")
        return chunk

    def _broke_off(self, reason: str, file: RemoteFile) -> bytes | Again:
        """Go on where the connection broke off, if that is possible and anything is missing."""
        self._drop_answer()
        received = self.received
        if received.is_complete:  # it broke behind the last byte
            return b""
        if received.local is None:
            text = f"{reason}, and its server gave no length or no strong ETag to resume by"
            raise file.error(self._broken(text), fault="server")
        onward = received.size >= self._furthest + PROGRESS_MIN
        if onward:
            self._furthest = received.size
        return Again(file.error(f"the download broke off: {reason}", fault="server"), onward=onward)
