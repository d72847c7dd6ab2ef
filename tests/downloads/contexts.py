"""Provide what downloads need of a client, without an engine, and streams of scripted answers."""

from __future__ import annotations

import random
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from kling_async import DownloadError, FileStream, Retry, TaskNotFound, Timeouts, v1
from kling_async.catalog import endpoint_of
from kling_async.events import Hooks
from kling_async.http.sessions import Sessions
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.records import decode_task
from kling_async.runtime.loop import DownloadSlots, LoopScope
from tests.wiretap import Wire, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.downloads.result_addresses import StatusRefresher

NOW = 1_790_000_000.0


class Gone:
    """Answer every query that the task is unknown."""

    async def refresh(self, task: TrackedTask, retry: Retry, timeouts: Timeouts, /) -> None:
        raise TaskNotFound(f"no task {task.id}", id=task.id)


class Context(NamedTuple):
    """A `DownloadContext` of its parts alone."""

    scope: LoopScope
    sessions: Sessions
    download_slots: DownloadSlots
    hooks: Hooks
    poller: StatusRefresher = Gone()
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    rng: random.Random = random.Random(7)


def context_of(*, tries: int = 5, local: bool = True) -> Context:
    scope = LoopScope(lambda: NOW)
    sessions = Sessions(scope, local_files=local)
    retry = Retry(max_tries=tries)
    return Context(scope, sessions, DownloadSlots(scope), Hooks(None, scope.time), retry=retry)


def video_at(url: str) -> TrackedTask:
    """Return a task that has ended with one video at that address."""
    result = {"videos": [{"id": "1", "url": url}]}
    answer = {"task_id": "77", "task_status": "succeed", "task_result": result}
    return TrackedTask(
        endpoint_of(v1.TextToVideo), "77", record=decode_task("text_to_video", msgspec.json.encode(answer))
    )


class Streamer:
    """Stream from a server."""

    def __init__(self, context: Context, url: str) -> None:
        self.context = context
        self.url = url

    def __call__(self, url: str = "") -> FileStream:
        async def ended() -> TrackedTask:
            return video_at(url or self.url)

        return FileStream(self.context, ended, 0, watermarked=False)

    async def read(self, url: str = "") -> bytes:
        """Return all bytes of a stream that must not fail."""
        return b"".join([chunk async for chunk in self(url)])

    async def fails(self, url: str = "") -> tuple[bytes, DownloadError]:
        """Return the bytes of a stream that must fail, and its error, which shows no secret."""
        stream, got = self(url), bytearray()

        async def read() -> None:
            async for chunk in stream:
                got.extend(chunk)

        with pytest.raises(DownloadError) as caught:
            await read()
        with pytest.raises(DownloadError) as again:
            await anext(stream)
        assert str(again.value) == str(caught.value)
        assert caught.value.task_id == "77"
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert "5ecre7" not in "".join(traceback.format_exception(caught.value))
        return bytes(got), caught.value


class WireStreamer(Streamer):
    """Stream from a server with scripted answers."""

    def __init__(self, context: Context, wire: Wire) -> None:
        super().__init__(context, f"http://127.0.0.1:{wire.port}/a.mp4?x-sign=5ecre7")
        self.wire = wire

    @property
    def ranges(self) -> list[tuple[str | None, str | None]]:
        """The Range and If-Range headers of each request."""
        return [
            (request.headers.get("range"), request.headers.get("if-range")) for request in self.wire.requests
        ]


@asynccontextmanager
async def streaming_from(*answers: bytes, tries: int = 5, local: bool = True) -> AsyncIterator[WireStreamer]:
    context = context_of(tries=tries, local=local)
    async with serving(*answers) as wire:
        try:
            yield WireStreamer(context, wire)
        finally:
            await context.sessions.close()
