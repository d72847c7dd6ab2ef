"""Provide a film, servers that have it, and a client that fetches it, for the tests of downloads."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import stat
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import DownloadError, Retry, Timeouts
from kling_async.downloads.fetch import Fetched, fetch
from kling_async.downloads.partial import Partial
from kling_async.downloads.placing import Existing
from kling_async.downloads.ranges import Whole
from kling_async.http.sessions import Sessions
from kling_async.runtime.loop import LoopScope
from tests.support import settle
from tests.wiretap import Wire, raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILM: Final = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 8000
SIZE: Final = len(FILM)
TAG: Final = '"v1"'
CUT_OFF: Final = "the connection was cut before the whole answer came"
NO_ANSWER: Final = "no answer in time"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Fetcher:
    """Download from a server with scripted answers."""

    def __init__(self, wire: Wire, sessions: Sessions) -> None:
        self.wire = wire
        self._sessions = sessions

    @property
    def ranges(self) -> list[tuple[str | None, str | None]]:
        """The Range and If-Range headers of each request."""
        return [
            (request.headers.get("range"), request.headers.get("if-range")) for request in self.wire.requests
        ]

    async def __call__(
        self,
        target: Path,
        url: str = "",
        *,
        tries: int = 1,
        source: str = "s",
        slots: asyncio.Semaphore | None = None,
        existing: Existing = Existing.REPLACE,
    ) -> Fetched:
        return await fetch(
            self._sessions,
            url or f"http://127.0.0.1:{self.wire.port}/a.mp4?x-sign=5ecre7",
            target,
            source=source,
            timeouts=Timeouts(),
            retry=Retry(max_tries=tries),
            rng=random.Random(7),
            task_id="77",
            slots=slots,
            existing=existing,
        )

    async def fails(self, folder: Path, url: str = "", *, tries: int = 1) -> DownloadError:
        """Return the error of a download that must fail, leave nothing on disk, and show no secret."""
        before = names(folder)
        with pytest.raises(DownloadError) as caught:
            await self(folder / "77.mp4", url, tries=tries)
        assert names(folder) == before
        assert caught.value.task_id == "77"
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert "5ecre7" not in "".join(traceback.format_exception(caught.value))
        return caught.value


@asynccontextmanager
async def fetching_from(*answers: bytes, local: bool = True) -> AsyncIterator[Fetcher]:
    sessions = Sessions(LoopScope(lambda: 0.0), local_files=local)
    async with serving(*answers) as wire:
        try:
            yield Fetcher(wire, sessions)
        finally:
            await sessions.close()


def film() -> bytes:
    """Return an answer with the whole film and its ETag."""
    return raw(FILM, ETag=TAG)


def cut(answer: bytes, after: int) -> bytes:
    """Cut an answer's body; `Wire` closes the connection after one without Content-Length in capitals."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.replace(b"Content-Length", b"content-length") + b"\r\n\r\n" + body[:after]


def beginning(body: bytes = FILM, total: int = SIZE) -> bytes:
    """Return an answer with the first 64 KiB."""
    return raw(body[:65536], 206, Content_Range=f"bytes 0-65535/{total}")


def remainder(start: int, *, body: bytes = FILM, tag: str = TAG, total: int = SIZE) -> bytes:
    """Return an answer with the remainder from a byte on."""
    where = f"bytes {start}-{total - 1}/{total}"
    etag = {"ETag": tag} if tag else {}
    return raw(body[start:], 206, Content_Range=where, **etag)


def leave(folder: Path, size: int = 300_000, name: str = "77.mp4") -> None:
    """Leave a part of that size on disk, as a killed process does."""
    part = Partial(folder / name, "s")
    part.open()
    part.begin(Whole(SIZE, TAG))
    part.append([FILM[:size]])
    part.close(keep=True)


def pieces(*ends: int) -> list[bytes]:
    """Return answers that are cut at these positions of the film, each one resuming the one before."""
    starts = [0, *(max(0, end - 4096) for end in ends)]
    return [
        cut(remainder(start) if start else film(), end - start)
        for start, end in zip(starts, ends, strict=False)
    ]


@asynccontextmanager
async def dripping(rate: int, *, first: int, to_begin_with: int = 1) -> AsyncIterator[str]:
    """Serve the film slowly: ``first`` bytes at once, then ``rate`` bytes every 20 seconds.

    The first ``to_begin_with`` answers are slow, later ones are sent at once.
    """
    talks: list[asyncio.Task[Any]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.append(task)
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"bytes=(\d+)-", request)
        answer = remainder(int(found[1])) if found else film()
        at_once = first if len(talks) <= to_begin_with else SIZE
        head, body = answer.split(b"\r\n\r\n", 1)
        writer.write(head + b"\r\n\r\n" + body[:at_once])
        with contextlib.suppress(OSError), contextlib.closing(writer):  # the client has left
            for start in range(at_once, len(body), rate):
                await asyncio.sleep(20)
                writer.write(body[start : start + rate])
                await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.mp4"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()
        await settle()
