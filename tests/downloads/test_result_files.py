"""Test downloads/result_files.py: the files of results, against the emulator and its faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import stat
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from kling_async import (
    DownloadError,
    RequestInvalid,
    ResultExpired,
    Retry,
    v1,
)
from kling_async.downloads.naming import Template
from kling_async.downloads.placing import KnownFile
from kling_async.downloads.result_files import StoredFile, fetch_all
from kling_async.runtime.loop import DOWNLOADS_AT_ONCE, DownloadSlots, LoopScope
from tests.downloads.contexts import context_of, video_at
from tests.downloads.tasks import LARGE, large, names, tracked
from tests.films import FILM, SIZE
from tests.support import Recorder, client_of, clip, pair, settle, still, until
from tests.wiretap import raw, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

# --- names -------------------------------------------------------------------------------------


async def test_files_are_named_by_a_template(tmp_path: Path) -> None:
    """The key is the external_task_id, the index 0; each of several files gets a name of its own."""
    async with pair() as (_, client):
        video = await client.submit(clip(), external_task_id="fox")
        images = await client.submit(still(n=2), external_task_id="red-fox")
        await video.download(tmp_path, name="{index} {key} by {endpoint}")
        await images.download(tmp_path, name="{key} no {n}")
        paths = await images.download(tmp_path, name="{key}")
    assert [path.name for path in paths] == ["red-fox.0.png", "red-fox.1.png"]
    assert names(tmp_path) == [
        "0 fox by text_to_video.mp4",
        "red-fox no 0.png",
        "red-fox no 1.png",
        "red-fox.0.png",
        "red-fox.1.png",
    ]


async def test_a_wrong_template_is_refused_before_anything_is_waited_for(tmp_path: Path) -> None:
    """The error comes before the task has ended and before any query."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        with pytest.raises(RequestInvalid, match=r"no field \{prompt\}"):
            await task.download(tmp_path, name="{prompt}")
        assert not task.done and not emu.ledger.queries


async def test_files_of_an_attached_task_are_named_by_its_id(tmp_path: Path) -> None:
    """A task attached by its external_task_id learns the vendor's id before names are made."""
    async with pair() as (emu, client):
        made = await client.submit(clip(), external_task_id="fox")
        async with client_of(emu) as other:
            task = other.attach(v1.TextToVideo, external_task_id="fox")
            await task.download(tmp_path)
            assert names(tmp_path) == [f"{made.id}.mp4"]


# --- several at once ---------------------------------------------------------------------------


async def test_simultaneous_downloads_are_bounded(tmp_path: Path) -> None:
    """The bound holds over all tasks of a client; ``slots`` replaces it."""
    loop = asyncio.get_running_loop()
    async with pair() as (emu, client):
        tasks = [await client.submit(still(n=n)) for n in (5, 4)]
        await asyncio.gather(*(task.wait() for task in tasks))
        emu.fault("media", kind="slow", seconds=10, times=None)
        start = loop.time()
        await asyncio.gather(*(task.download(tmp_path) for task in tasks))
        assert loop.time() - start == pytest.approx(10 * -(-9 // DOWNLOADS_AT_ONCE), abs=1)
        start, folder, alone = loop.time(), tmp_path / "other", asyncio.Semaphore(1)
        stored = await fetch_all(
            client._engine, tracked(tasks[1]), folder, Template("x"), {"key": "", "index": 0}, slots=alone
        )
        assert loop.time() - start == pytest.approx(40, abs=1)
        assert stored == [stored_as(folder / f"x-{n}.png") for n in range(4)]


async def test_files_in_trouble_do_not_hold_up_others(tmp_path: Path) -> None:
    """A pausing download leaves its slot, and pauses at most ``Retry.cap`` whatever the server says."""
    loop = asyncio.get_running_loop()
    async with pair() as (emu, client):
        images, video = await client.submit(still(n=5)), await client.submit(clip())
        for image in (await images.wait()).images:
            emu.fault(urlsplit(image.url).path, status=503, retry_after=3600, times=2)
        await video.wait()
        start = loop.time()
        troubled = asyncio.create_task(images.download(tmp_path))
        await until(lambda: len(emu.ledger.media) == 5)
        await video.download(tmp_path)
        assert loop.time() - start < 5 and not troubled.done()
        assert len(await troubled) == 5
        assert loop.time() - start == pytest.approx(60, abs=2)


def test_the_bound_goes_with_the_client_to_another_loop(tmp_path: Path) -> None:
    """A new loop gets a new semaphore: holders of the old one are gone."""
    slots = DownloadSlots(scope := LoopScope(lambda: 0.0), 1)

    async def contend() -> None:
        scope.enter()
        async with slots.semaphore:
            waiting = asyncio.create_task(slots.semaphore.acquire())
            await settle()
            assert not waiting.done()
        await waiting  # never released: it ends with its loop

    asyncio.run(contend())
    asyncio.run(contend())


async def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """Its error is raised when all are done; the next call fetches the missing file."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        task = await client.submit(still(n=5))
        images = (await task.wait()).images
        emu.fault(urlsplit(images[1].url).path, kind="html", status=200)
        with pytest.raises(DownloadError, match="sent text/html, not a file") as caught:
            await task.download(tmp_path)
        assert caught.value.__context__ is None
        assert names(tmp_path) == [f"{task.id}-{n}.png" for n in (0, 2, 3, 4)]
        paths = await task.download(tmp_path)
        assert [path.name for path in paths] == names(tmp_path) and len(paths) == 5
        events = heard.of("downloaded")
        assert [event.detail[-5] for event in events].count("1") == 1 and len(events) == 5
        assert all(event.size > 1000 and event.task_id == task.id for event in events)


async def test_a_result_without_files_is_an_error(tmp_path: Path) -> None:
    """The error comes before any request and leaves no file."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        with pytest.raises(DownloadError, match=f"the result of task {task.id} names no files"):
            await task.download(tmp_path, watermarked=True)
        assert not emu.ledger.media and names(tmp_path) == []


# --- bad days ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        pytest.param([{"kind": "half_body", "value": 2_500_000}], 2, id="cut"),
        pytest.param([{"kind": "half_body"}] * 4, 5, id="cut again and again"),
        pytest.param([{"kind": "half_body"}, {"kind": "no_range"}], 2, id="no ranges"),
        pytest.param([{"kind": "half_body"}, {"kind": "short_body", "value": 999}], 3, id="a short rest"),
        pytest.param([{"status": 503}, {"kind": "half_body"}, {"status": 500}], 4, id="down"),
        pytest.param([{"kind": "hang"}], 2, id="silent"),
        pytest.param([{"kind": "slow", "seconds": 29}], 1, id="slow"),
        pytest.param([{"kind": "half_body"}, {"status": 403}], 3, id="the address dies on the way"),
    ],
)
async def test_the_file_is_whole_in_the_end(
    faults: list[dict[str, Any]], requests: int, tmp_path: Path
) -> None:
    """One call ends with the whole file, whatever fault it meets, and leaves nothing else."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        for fault in faults:
            emu.fault("media", **fault)
        (path,) = await task.download(tmp_path)
        assert path.read_bytes() == body and names(tmp_path) == [path.name]
        assert len(emu.ledger.media) == requests


async def test_a_download_that_gave_up_is_resumed(tmp_path: Path) -> None:
    """The next call requests only the bytes that are missing."""
    async with pair(client={"retry": Retry(max_tries=1)}) as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind="half_body", value=2_500_000)
        with pytest.raises(DownloadError, match="broke off"):
            await task.download(tmp_path)
        part = tmp_path / f".{task.id}.mp4.part"
        kept = part.read_bytes()
        assert len(kept) > 1_000_000 and body.startswith(kept)
        emu.fault("media", kind="half_body", value=len(body) - len(kept) + 4096)  # as much as is needed
        (path,) = await task.download(tmp_path)
        assert path.read_bytes() == body and names(tmp_path) == [path.name]


async def test_a_cancelled_download_is_resumed(tmp_path: Path) -> None:
    """An interrupt leaves the part for the next call."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind="half_body", value=2_500_000)
        emu.fault("media", kind="hang")
        running = asyncio.create_task(task.download(tmp_path))
        await asyncio.sleep(10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert f".{task.id}.mp4.part" in names(tmp_path)
        (path,) = await task.download(tmp_path)
        assert path.read_bytes() == body and names(tmp_path) == [path.name]


def stored_as(path: Path) -> StoredFile:
    data = path.read_bytes()
    return StoredFile(path, len(data), hashlib.sha256(data).hexdigest())


async def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    """An equal file is left alone and gives no event ``downloaded``."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        task, body = await large(emu, client)
        (path,) = await task.download(tmp_path)
        assert await task.download(tmp_path) == [path] and path.read_bytes() == body
        assert len(heard.of("downloaded")) == 1
        assert [row.status for row in emu.ledger.media] == [200, 206, 206]


async def test_another_file_of_that_name_is_never_replaced(tmp_path: Path) -> None:
    """The new file gets -2 before its suffix; later calls find that one again by its content."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        task, body = await large(emu, client)
        mine, beside = tmp_path / "boat.mp4", tmp_path / "boat-2.mp4"
        for other in (body[:-1], body[:20] + b"?" + body[21:], b"my own notes"):
            mine.write_bytes(other)
            for _ in range(2):
                assert await task.download(tmp_path, name="boat") == [beside]
                assert mine.read_bytes() == other and beside.read_bytes() == body
                assert names(tmp_path) == [beside.name, mine.name]
        assert [event.detail for event in heard.of("downloaded")] == ["boat-2.mp4"]


async def test_two_tasks_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    """A name that two tasks share keeps both films, whichever comes first."""
    async with pair() as (_, client):
        tasks = [await client.submit(clip(aspect_ratio=ratio)) for ratio in ("1:1", "16:9", "9:16")]
        for task in tasks:
            await task.wait()
        paths = await asyncio.gather(*(task.download(tmp_path, name="film") for task in tasks))
        assert sorted(path.name for (path,) in paths) == ["film-2.mp4", "film-3.mp4", "film.mp4"]
        again = await asyncio.gather(*(task.download(tmp_path / "right") for task in tasks))
        assert [p.read_bytes() for (p,) in paths] == [p.read_bytes() for (p,) in again]


# --- with a journal ----------------------------------------------------------------------------


async def test_a_file_that_the_journal_knows_needs_no_request(tmp_path: Path) -> None:
    """Length and content hash are enough, even after the vendor deleted its own; another file is replaced."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)

        async def store(*known: KnownFile) -> StoredFile:
            (stored,) = await fetch_all(
                client._engine, tracked(task), tmp_path, Template("x"), {"key": "", "index": 0}, known=known
            )
            return stored

        stored = await store()
        known = KnownFile("x.mp4", stored.size, stored.sha256)
        emu.ledger.rows.clear()
        assert await store(known) == stored and not emu.ledger.rows
        (tmp_path / "x.mp4").write_bytes(body[: LARGE // 2] + b"?" + body[LARGE // 2 + 1 :])
        assert await store(known) == stored and (tmp_path / "x.mp4").read_bytes() == body
        assert names(tmp_path) == ["x.mp4"]
        without_hash = KnownFile("x.mp4", stored.size)
        emu.ledger.rows.clear()
        assert await store(without_hash) == stored
        assert [row.status for row in emu.ledger.media] == [206, 206]


@pytest.mark.parametrize("equal", [True, False], ids=["equal", "another middle"])
async def test_a_file_that_the_journal_does_not_know(equal: bool, tmp_path: Path) -> None:
    """An equal content hash is adopted; the same length and ends with another middle are another file."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        there = body if equal else body[: LARGE // 2] + b"?" + body[LARGE // 2 + 1 :]
        path = tmp_path / "x.mp4"
        path.write_bytes(there)
        made = path.stat().st_ino
        values: dict[str, str | int] = {"key": "", "index": 0}
        expected = path if equal else tmp_path / "x-2.mp4"
        known: tuple[KnownFile, ...]
        for known in ((), (KnownFile("other.mp4", len(body)),)):
            (stored,) = await fetch_all(
                client._engine, tracked(task), tmp_path, Template("x"), values, known=known
            )
            assert stored == stored_as(expected)
            assert stored.path.read_bytes() == body
            assert path.read_bytes() == there and path.stat().st_ino == made
            assert len(names(tmp_path)) == 2 - equal
        stored = stored_as(expected)
        known = (KnownFile(expected.name, stored.size, stored.sha256),)
        emu.ledger.rows.clear()
        assert await fetch_all(
            client._engine, tracked(task), tmp_path, Template("x"), values, known=known
        ) == [stored]
        assert not emu.ledger.rows


async def test_a_sidecar_replaces_only_a_sidecar(tmp_path: Path) -> None:
    """A file of the user's in its place is an error that names it, and stays as it is."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        sidecar = tmp_path / f"{task.id}.mp4.json"
        sidecar.write_text('{"mine": 1}')
        with pytest.raises(DownloadError, match="another file is in its place") as caught:
            await task.download(tmp_path, sidecar=True)
        assert sidecar.read_text() == '{"mine": 1}' and caught.value.fault == "file"
        sidecar.unlink()
        for _ in range(2):
            await task.download(tmp_path, sidecar=True)


async def test_two_calls_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each writes to a part of its own; the file is whole and nothing is left beside it."""
    async with pair() as (emu, client):
        task, body = await large(emu, client)
        emu.fault("media", kind="half_body")
        first, second = await asyncio.gather(task.download(tmp_path), task.download(tmp_path))
        assert first == second and first[0].read_bytes() == body and names(tmp_path) == [first[0].name]


# --- without an engine -------------------------------------------------------------------------


async def test_downloads_need_no_engine(tmp_path: Path) -> None:
    """Sessions, slots, clock, settings and a way to renew addresses are enough."""
    context = context_of()
    async with serving(raw(FILM), raw(b"", 404)) as wire:
        task = video_at(f"http://127.0.0.1:{wire.port}/a.mp4")
        (stored,) = await fetch_all(context, task, tmp_path, Template("{task_id}"), {})
        assert stored == stored_as(tmp_path / "77.mp4") and stored.size == SIZE
        with pytest.raises(ResultExpired):
            await fetch_all(context, task, tmp_path, Template("other"), {})
        await context.sessions.close()


# --- sidecars ----------------------------------------------------------------------------------


async def test_a_sidecar_describes_the_file(tmp_path: Path) -> None:
    """On demand a private JSON file holds size and record, without the signed part of addresses."""
    async with pair() as (_, client):
        task = await client.submit(clip(), external_task_id="fox")
        (path,) = await task.download(tmp_path)
        assert names(tmp_path) == [path.name]
        await task.download(tmp_path, sidecar=True)
        sidecar = tmp_path / f"{path.name}.json"
        assert names(tmp_path) == [path.name, sidecar.name]
        assert stat.S_IMODE(sidecar.stat().st_mode) == 0o600
        content = json.loads(sidecar.read_text())
        assert (content["file"], content["size"]) == (path.name, path.stat().st_size)
        record = content["task"]
        assert (record["task_id"], record["external_task_id"]) == (task.id, "fox")
        assert (record["endpoint"], record["status"], record["units"]) == (
            "text_to_video",
            "succeed",
            task.raw["final_unit_deduction"],
        )
        assert record["data"]["task_result"]["videos"][0]["url"].endswith("/0.mp4")
        assert "sign" not in sidecar.read_text()


async def test_a_sidecar_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the sidecar; the file itself is stored."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        (tmp_path / f"{task.id}.mp4.json").mkdir()
        with pytest.raises(DownloadError, match=r"cannot write .*\.mp4\.json") as caught:
            await task.download(tmp_path, sidecar=True)
        assert (tmp_path / f"{task.id}.mp4").exists()
        assert "sign=" not in "".join(traceback.format_exception(caught.value))
