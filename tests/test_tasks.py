"""tasks.py: handles on tasks."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import json
import os
import pickle
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from kling_async import (
    BadResponse,
    DownloadError,
    KlingError,
    ResultExpired,
    TaskFailed,
    TaskRecord,
    TaskTimeout,
    v1,
)
from kling_async.records import TaskRecord as Record
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

MP4 = b"ftyp"
PNG = b"\x89PNG"


async def test_wait_returns_the_typed_result() -> None:
    """The result has videos with id, address and length; ``raw`` holds fields that the types lack."""
    async with pair() as (_, client):
        task = await client.submit(clip(duration=7))
        assert task.result is None
        videos = await task.wait()
        assert videos is task.result
        assert videos.videos[0].url.startswith("http") and videos.videos[0].seconds == pytest.approx(
            7, abs=0.1
        )
        assert videos.raw["videos"][0]["id"] == videos.videos[0].id
        assert task.raw["task_status"] == "succeed" and task.done and task.status == "succeed"
        assert task.created_at is not None and task.created_at.utcoffset() is not None


async def test_a_known_end_outlives_the_client() -> None:
    """Waiting for an ended task sends nothing, so it works when the client is closed."""
    async with pair() as (_, client):
        task, failed = await client.submit(clip()), await client.submit(clip("emulator:fail"))
        videos = await task.wait()
        await asyncio.gather(failed.wait(), return_exceptions=True)
    assert await task.wait() is videos
    assert [record.status async for record in task.updates()] == ["succeed"]
    with pytest.raises(TaskFailed):
        await failed.wait()


async def test_wait_gives_up_without_harm() -> None:
    """The error says that the task runs on; waiting again gives the result."""
    async with pair(seconds=60) as (_, client):
        task = await client.submit(clip())
        with pytest.raises(TaskTimeout, match="runs on") as caught:
            await task.wait(timeout=10)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.task_id, caught.value.timeout) == (task.id, 10)
        assert await task.wait(timeout=100)


async def test_many_wait_at_once_and_each_gets_its_own_error() -> None:
    """A failure reaches all waiters, as exceptions of their own."""
    async with pair() as (_, client):
        task = await client.submit(clip("emulator:fail"))
        errors = await asyncio.gather(*(task.wait() for _ in range(3)), return_exceptions=True)
        assert all(isinstance(e, TaskFailed) for e in errors) and len(set(map(id, errors))) == 3
        assert task.result is None


async def test_updates_show_each_change_and_end() -> None:
    """The present record comes first, then each change seen, the end last; leaving early is harmless."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        seen = [record.status async for record in task.updates()]
        assert seen == ["submitted", "processing", "succeed"]
        assert [record.status async for record in task.updates()] == ["succeed"]
        other = await client.submit(clip())
        async for _record in other.updates():
            break
        assert await other.wait()


async def test_updates_of_an_attached_task_begin_with_what_is_found() -> None:
    """An attached task has no record at first, so the first answer brings the first update."""
    async with pair() as (emu, client):
        made = await client.submit(clip())
        async with client_of(emu) as other:
            task = other.attach(v1.TextToVideo, task_id=made.id)
            assert (task.record, task.raw, task.created_at, task.external_task_id) == (None, {}, None, None)
            statuses = [record.status async for record in task.updates()]
            assert statuses[-1] == "succeed"


async def test_refresh_asks_now() -> None:
    """One GET is sent, whatever the schedule says, and its record returned."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.finish(task.id)
        record = await task.refresh()
        assert isinstance(record, TaskRecord) and record.status == "succeed" and task.done
        assert len(emu.ledger.queries) == 1
        assert client.account.limits()["video"].held == 0


async def test_download_stores_files_by_id(tmp_path: Path) -> None:
    """Download waits first; one file is named by the task's id, several are numbered; no key is sent."""
    async with pair() as (emu, client):
        video = await client.submit(clip())
        images = await client.submit(still(n=3))
        paths = await video.download(tmp_path / "new" / "folder")
        assert [p.name for p in paths] == [f"{video.id}.mp4"]
        assert MP4 in paths[0].read_bytes()[:12]
        paths = await images.download(str(tmp_path))
        assert [p.name for p in paths] == [f"{images.id}-{i}.png" for i in range(3)]
        assert all(p.read_bytes().startswith(PNG) for p in paths)
        assert emu.ledger.media and not any(row.authorized for row in emu.ledger.media)


async def test_download_of_the_watermarked_copy(tmp_path: Path) -> None:
    """A watermarked copy that was requested is fetched under a name of its own; else there is none."""
    async with pair() as (_, client):
        marked = await client.submit(clip(watermark_info=v1.WatermarkInfo(enabled=True)))
        paths = await marked.download(tmp_path, watermarked=True)
        assert [p.name for p in paths] == [f"{marked.id}-watermarked.mp4"]
        plain = await client.submit(clip())
        with pytest.raises(DownloadError, match="names no files"):
            await plain.download(tmp_path, watermarked=True)


async def test_a_dead_address_is_renewed_by_one_query(tmp_path: Path) -> None:
    """After a 403 on the file the task is asked about once more, and the new address used."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        asked = len(emu.ledger.queries)
        emu.expire_links()
        assert (await task.download(tmp_path))[0].stat().st_size > 1000
        assert len(emu.ledger.queries) == asked + 1
        emu.fault("media", status=403, times=8)
        with pytest.raises(DownloadError, match="403"):
            await task.download(tmp_path)


async def test_results_expire_after_30_days(tmp_path: Path) -> None:
    """A deleted file is ResultExpired, by its age or because the task is not known any more."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        emu.fault("media", status=403, times=None)
        emu.fault("query", code=1201, message="Task not found by id/external id")
        with pytest.raises(ResultExpired, match="30 days"):
            await task.download(tmp_path)
        await asyncio.sleep(31 * 86400)
        late = client_of(emu, now=lambda: 31 * 86400 + (task.record.updated_at if task.record else 0) / 1000)
        with pytest.raises(ResultExpired):
            await late.attach(v1.TextToVideo, task_id=task.id).download(tmp_path)
        await late.aclose()
        assert not any(os.scandir(tmp_path))


async def test_a_result_of_unknown_form_loses_nothing() -> None:
    """Asked again a few times, the task is done and ``raw`` holds what came; only the typed result raises."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        odd = {"task_id": task.id, "task_status": "succeed", "task_result": {"videos": "none"}}
        emu.fault("query", kind="wrong_types", value=odd, times=None)
        with pytest.raises(BadResponse, match="succeeded, but its result names no file; it holds videos"):
            await task.wait()
        assert task.done and task.raw["task_result"] == {"videos": "none"}


async def test_a_handle_pickles_as_its_record() -> None:
    """A handle pickles as its record, plain data; a task that was never seen has none."""
    async with pair() as (_, client):
        task = await client.submit(clip(), external_task_id="mine")
        record = pickle.loads(pickle.dumps(task))
        assert isinstance(record, Record) and record == task.record
        assert copy.deepcopy(record) == record
        with pytest.raises(TypeError, match="not seen yet"):
            pickle.dumps(client.attach(v1.TextToVideo, task_id="1"))


async def test_reprs_say_all_and_nothing_secret() -> None:
    """The repr has endpoint, id and status; a result's leaves out the signed part of addresses."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        assert repr(task) == f"<Task text_to_video {task.id} submitted 'a paper boat'>"
        videos = await task.wait()
        assert "?" in videos.videos[0].url and "?" not in repr(videos)
        assert repr(task.record) == f"TaskRecord(text_to_video {task.id} succeed)"


async def test_interrupted_twice_and_waited_for_again() -> None:
    """A cancelled wait leaves the task waitable, as a notebook's interrupt does."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        for _ in range(2):
            wait = asyncio.create_task(task.wait())
            await settle()
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait
        await until(lambda: not client._engine.scope._work)
        assert await task.wait()


# -- as JSON


def as_json(task: Any, **options: Any) -> dict[str, Any]:
    """Return `to_dict` of a task, which must hold JSON types only, under the same names in every state."""
    shown: dict[str, Any] = task.to_dict(**options)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert list(shown) == NAMES
    return shown


NAMES: Final = [
    *("id", "external_task_id", "endpoint", "status", "done", "position", "eta", "created_at"),
    *("units", "result", "error"),
]


async def test_a_task_goes_into_json_in_every_state() -> None:
    """Queued, running, ended with a result or a reason, refused, withdrawn, unseen: the same names."""
    async with pair({"video": 1, "image": 9}) as (_, client):
        first = await client.submit(clip(), external_task_id="first")
        failing = await client.enqueue(clip("emulator:fail"))
        refused = await client.enqueue(clip("emulator:refuse"))
        gone = await client.enqueue(clip())
        queued = as_json(failing)
        assert (queued["status"], queued["position"], queued["done"]) == ("queued", 0, False)
        assert gone.withdraw() and as_json(gone)["status"] == "withdrawn"
        assert as_json(gone)["error"]["type"] == "TaskWithdrawn"
        running = as_json(first)
        assert (running["id"], running["external_task_id"]) == (first.id, "first")
        assert running["endpoint"] == "text_to_video" and dt.datetime.fromisoformat(running["created_at"])
        result = await first.wait()
        ended = as_json(first)
        assert first.record is not None
        assert (ended["status"], ended["done"], ended["units"]) == ("succeed", True, first.record.units)
        assert ended["result"] == result.to_dict() and ended["error"] is None
        with pytest.raises(TaskFailed):
            await failing.wait()
        assert as_json(failing)["error"]["type"] == "TaskFailed" and as_json(failing)["result"] is None
        with pytest.raises(KlingError):
            await refused.wait()
        assert as_json(refused)["error"]["code"] == 1301
        assert as_json(client.attach(v1.TextToVideo, task_id="7"))["status"] == "unknown"
        assert dt.datetime.fromisoformat(as_json(await client.submit(clip()))["eta"])


async def test_addresses_of_a_task_are_cut_where_asked() -> None:
    """``signed=False`` leaves what others may see."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        address = (await task.wait()).videos[0].url
        assert "?" in address and as_json(task)["result"]["videos"][0]["url"] == address
        assert as_json(task, signed=False)["result"]["videos"][0]["url"] == address.partition("?")[0]


async def test_a_result_that_cannot_be_read_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A succeeded task without a result shows what the wait would raise."""
    async with pair() as (_, client):
        task = await client.submit(clip())
        await task.wait()
        assert task.record is not None
        record = msgspec.structs.replace(task.record, result_data=msgspec.Raw(b"{}"))
        monkeypatch.setattr(task.tracked, "record", record)
        shown = as_json(task)
        assert shown["result"] is None and shown["error"]["type"] == "BadResponse"
