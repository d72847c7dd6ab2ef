"""Test downloads/stream.py: the life of a stream, against the emulator and its faults."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    ClientClosed,
    DownloadError,
    FileStream,
    RequestInvalid,
    ResultExpired,
    Retry,
    TaskFailed,
    TaskWithdrawn,
    v1,
)
from tests.downloads.tasks import LARGE, large
from tests.support import Recorder, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client, Task

pytestmark = pytest.mark.anyio


async def whole(stream: FileStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def open_connections(client: Client) -> int:
    """Count the connections to file servers that are in use."""
    await settle()
    session = await client._engine.sessions.get("files")
    assert session.connector is not None
    return len(session.connector._acquired)


async def test_length_and_type_are_known_before_the_first_chunk() -> None:
    """Entering waits for the task and for the first bytes; the chunks are then the file, byte by byte."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        async with task.stream() as file:
            assert (file.length, file.content_type) == (LARGE, "video/mp4")
            assert (file.name, file.suffix) == ("0", ".mp4")
            assert await whole(file) == body
        assert await whole(task.stream()) == body
        assert await open_connections(client) == 0


async def test_a_stream_waits_for_queue_and_task() -> None:
    """A stream may be asked for as soon as the request is queued."""
    async with pair({"video": 1}) as (_, client):
        first, second = [await client.enqueue(clip(prompt)) for prompt in ("a", "b")]
        await settle()
        assert second.status == "queued"
        assert (await whole(second.stream()))[4:8] == b"ftyp"
        assert first.done and second.done


async def test_each_file_of_a_result_has_a_stream(tmp_path: Path) -> None:
    """Numbered from 0, as the result lists them; watermarked copies are asked for."""
    async with pair() as (_, client):
        images = await client.submit(still(n=3))
        stored = [path.read_bytes() for path in await images.download(tmp_path)]
        assert [await whole(images.stream(n)) for n in range(3)] == stored
        async with images.stream(2) as file:
            assert (file.name, file.suffix, file.content_type) == ("2", ".png", "image/png")
        marked = await client.submit(clip(watermark_info=v1.WatermarkInfo(enabled=True)))
        (path,) = await marked.download(tmp_path, watermarked=True)
        assert await whole(marked.stream(watermarked=True)) == path.read_bytes()


async def test_a_file_that_is_not_there_is_named() -> None:
    """A negative number is refused at once, one beyond the result as soon as that is known."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=2))
        with pytest.raises(RequestInvalid, match="n: there is no file -1: files are numbered from 0"):
            task.stream(-1)
        stream = task.stream(2)
        with pytest.raises(RequestInvalid, match="n: there is no file 2: the result has 2 files"):
            await anext(stream)
        with pytest.raises(DownloadError, match="names no files"):
            await anext(task.stream(watermarked=True))
        assert emu.ledger.media == []


async def test_errors_of_the_task_end_the_stream() -> None:
    """Failed and withdrawn tasks raise what `Task.wait` raises, at every step."""
    async with pair({"video": 1}) as (_, client):
        task = await client.submit(clip("emulator:fail"))
        for stream in [task.stream()] * 2:
            with pytest.raises(TaskFailed):
                await anext(stream)
        await client.submit(clip())
        queued = await client.enqueue(clip())
        waiting = asyncio.ensure_future(anext(queued.stream()))
        await settle()
        assert queued.withdraw()
        with pytest.raises(TaskWithdrawn):
            await waiting


@pytest.mark.parametrize("fault", ["lost_before", "half_body", "no_range"])
async def test_a_broken_connection_is_resumed(fault: Any) -> None:
    """The emulator cuts the first answers; the consumer sees the file once."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind=fault, times=2, value=900_000)
        assert await whole(task.stream()) == body
        assert len(emu.ledger.media) == (1 if fault == "no_range" else 3)


async def test_a_whole_file_in_place_of_the_rest_is_an_error() -> None:
    """Bytes that were handed on are never handed on again."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind="half_body")
        emu.fault("media", kind="no_range")
        got = bytearray()

        async def read() -> None:
            async for chunk in task.stream():
                got.extend(chunk)

        with pytest.raises(DownloadError, match=f"after {LARGE // 2} bytes were handed on: its server"):
            await read()
        assert got == body[: LARGE // 2]


async def test_a_dead_address_is_renewed_before_the_first_chunk_and_between_two() -> None:
    """One query renews the addresses; the stream goes on behind the last byte."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.expire_links()
        asked = len(emu.ledger.queries)
        assert await whole(task.stream()) == body
        assert len(emu.ledger.queries) == asked + 1
        emu.fault("media", kind="half_body")
        async with task.stream() as file:
            got = await anext(file)
            emu.expire_links()
            assert got + await whole(file) == body
        assert len(emu.ledger.queries) == asked + 2


async def test_a_deleted_result_is_expired() -> None:
    """Where the vendor has deleted the files, the error says so, also in the middle of one."""
    wall = [1_790_000_000.0]
    async with pair(client={"now": lambda: wall[0]}, now=lambda: wall[0]) as (emu, client):
        task, _ = await large(emu, client)
        emu.fault("media", kind="half_body")
        async with task.stream() as file:
            wall[0] += 31 * 86400
            emu.fault("media", status=403, times=None)
            with pytest.raises(ResultExpired):
                await whole(file)


async def test_a_stream_left_early_closes_its_connection() -> None:
    """By ``async with`` at once; without it as soon as Python drops the object, here at the ``break``."""
    async with pair() as (emu, client):
        task, _ = await large(emu, client)
        async with task.stream() as file:
            async for _chunk in file:
                assert await open_connections(client) == 1
                break
        assert await open_connections(client) == 0
        with pytest.raises(DownloadError, match="the stream was closed before its end"):
            await anext(file)
        gc.disable()  # no cycle keeps the stream alive
        try:
            async for _chunk in task.stream():
                break
            assert await open_connections(client) == 0
        finally:
            gc.enable()
        await file.aclose()


async def test_a_stream_is_over_once() -> None:
    """At the end it stays at the end; a stream that was closed unread, or twice, requests nothing."""
    async with pair() as (emu, client):
        task, _ = await large(emu, client)
        async with task.stream() as file:
            await whole(file)
            assert [chunk async for chunk in file] == []
        with pytest.raises(RuntimeError, match="has ended"):
            await file.__aenter__()
        unread = task.stream()
        await unread.aclose()
        await unread.aclose()
        emu.ledger.rows.clear()
        with pytest.raises(DownloadError, match="closed before its end"):
            await anext(unread)
        assert emu.ledger.media == []


async def test_nothing_is_known_of_a_stream_that_was_not_entered() -> None:
    """Asking is a programmer's mistake, and the message shows the way."""
    async with pair() as (_, client):
        stream = (await client.submit(clip())).stream()
        for name in ("length", "content_type", "name", "suffix"):
            with pytest.raises(RuntimeError, match="is entered first"):
                getattr(stream, name)
        assert repr(stream) == "<FileStream 0 new>"


async def test_a_step_that_is_cancelled_can_be_repeated() -> None:
    """While it opens, and between two chunks: nothing is lost, and nothing comes twice."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind="hang")
        stream = task.stream()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await anext(stream)
        got = await anext(stream)
        emu.fault("media", kind="hang", times=2)
        session = await client._engine.sessions.get("files")
        (protocol,) = session.connector._acquired  # type: ignore[union-attr]
        protocol.close()
        missed = 0
        while len(got) < LARGE:
            try:
                async with asyncio.timeout(5):
                    got += await anext(stream)
            except TimeoutError:
                missed += 1
        assert got == body and missed == 2
        assert [chunk async for chunk in stream] == []


async def test_two_readers_at_once_are_refused() -> None:
    """Each would get a part of the file."""
    async with pair() as (_, client):
        stream = (await client.submit(clip())).stream()
        first = asyncio.ensure_future(anext(stream))
        await settle()
        with pytest.raises(RuntimeError, match="by one task at a time"):
            await anext(stream)
        assert (await first)[4:8] == b"ftyp"


@pytest.mark.parametrize("moment", ["waits for its task", "connects", "reads"])
async def test_a_stream_closed_by_another_task_ends_its_reader(moment: str) -> None:
    """The reader gets an error, never a clean end, and no connection stays open."""
    async with pair() as (emu, client):
        task: Task[Any] = await client.submit(clip())
        if moment != "waits for its task":
            task, _ = await large(emu, client)
            kind: Any = "hang" if moment == "connects" else "half_body"
            emu.fault("media", kind=kind)
            emu.fault("media", kind="hang")
        stream = task.stream()
        reader = asyncio.ensure_future(whole(stream))
        await until(lambda: len(emu.ledger.media) == {"connects": 1, "reads": 2}.get(moment, 0))
        await settle()
        await stream.aclose()
        with pytest.raises(DownloadError, match="closed before its end"):
            await reader
        assert await open_connections(client) == 0
        assert "closed" in repr(stream)


async def test_closing_the_client_ends_its_streams() -> None:
    """The reader is told why."""
    async with pair(client={"retry": Retry(max_tries=9)}) as (emu, client):
        task, _ = await large(emu, client)
        async with task.stream() as file:
            await anext(file)
            await client.aclose()
            with pytest.raises(ClientClosed):
                await whole(file)


async def test_open_streams_take_no_slots_of_downloads(tmp_path: Path) -> None:
    """Consumers that pause keep nobody from downloading."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        streams = [task.stream() for _ in range(9)]
        for stream in streams:
            await anext(stream)
        (path,) = await task.download(tmp_path)
        assert path.read_bytes() == body
        for stream in streams:
            await stream.aclose()


async def test_a_slow_consumer_is_not_punished() -> None:
    """Ten minutes between chunks pass neither for silence nor for a slow server."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        got = bytearray()
        async with task.stream() as file:
            await asyncio.sleep(600)
            async for chunk in file:
                got += chunk
                await asyncio.sleep(600)
        assert got == body and len(emu.ledger.media) == 1


async def test_a_stream_counts_once_it_has_ended() -> None:
    """As a download: an event with the file's name and size; one that was left does not count."""
    recorder = Recorder()
    async with pair(client={"on_event": recorder}) as (emu, client):
        task, _ = await large(emu, client)
        async with task.stream() as file:
            await anext(file)
        assert recorder.of("downloaded") == []
        await whole(task.stream())
        (event,) = recorder.of("downloaded")
        assert (event.detail, event.size, event.task_id) == ("0.mp4", LARGE, task.id)
        assert client.stats().downloaded_bytes == LARGE


async def test_file_servers_get_no_key() -> None:
    """The signed address alone opens a file, and no text shows it."""
    async with pair() as (emu, client):
        task, _ = await large(emu, client)
        async with task.stream() as file:
            assert repr(file).startswith("<FileStream 0 open, ") and "sign" not in repr(file)
        assert [row.authorized for row in emu.ledger.media] == [False]
