"""Rule 19: clients that share a ledger, in one process of the tests, on the real clock."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AmbiguousCreate,
    Client,
    ConfigurationError,
    OutOfUnits,
    Polling,
    RequestInvalid,
    Retry,
    v1,
)
from kling_async.orchestrator.handles import attach
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.tasks import Task
from kling_async.testing import emulator
from tests.support import clip, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kling_async.records import TaskRecord
    from kling_async.testing import Emulator

pytestmark = [pytest.mark.anyio, pytest.mark.real]

FAST = Polling(min_interval=0.05, max_interval=0.3)


@contextlib.asynccontextmanager
async def clients(
    folder: Path, slots: int = 2, *, seconds: float = 0.5, count: int = 2, **more: Any
) -> AsyncIterator[tuple[Emulator, list[Client]]]:
    """Start an emulator and clients of it that share its slots."""
    async with emulator(slots={"video": slots, "image": 9}) as emu, contextlib.AsyncExitStack() as stack:
        emu.set_duration(seconds)
        made = [client_of(emu, folder, **more) for _ in range(count)]
        for client in made:
            await stack.enter_async_context(client)
        yield emu, made


def client_of(emu: Emulator, folder: Path, **more: Any) -> Client:
    slots = f"sqlite://{folder}/slots.db"
    options: dict[str, Any] = {"polling": FAST, **more}
    return Client(base_url=emu.url, api_key=emu.api_key, slots=slots, **options)


def is_closed_in_the_file(folder: Path, pool: str) -> bool:
    with contextlib.closing(sqlite3.connect(folder / "slots.db")) as file:
        (row,) = file.execute("SELECT error FROM pools WHERE name = ?", (pool,))
    return row[0] is not None


def written_to(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("slots.db*") if not path.is_socket())


def remove_locks(folder: Path) -> None:
    for path in folder.glob("*.lock"):
        path.unlink()


async def test_two_clients_share_slots_and_questions(tmp_path: Path) -> None:
    """Both end all their tasks within the account's slots, each task is asked about by one of them."""
    async with clients(tmp_path, limits={"video": 2}) as (emu, (a, b)):
        runs = [client.run(clip(f"{n}")) for n in range(4) for client in (a, b)]
        results = await asyncio.wait_for(asyncio.gather(*runs), 30)
        assert all(result.videos for result in results)
        assert emu.ledger.peak("video") == 2
        assert [row.code for row in emu.ledger.creates] == [0] * 8
        assert sum(client.stats().created for client in (a, b)) == 8


async def test_the_limit_is_learned_once(tmp_path: Path) -> None:
    """Told too high a limit, one round of refusals teaches all processes."""
    async with clients(tmp_path, slots=2, seconds=20.0, limits={"video": 6}) as (emu, (a, b)):
        for n in range(6):
            await a.enqueue(clip(f"a{n}"))
        await until(lambda: a.account.limits()["video"].foreign == 4, 5)
        refused = sum(row.code == 1303 for row in emu.ledger.creates)
        for n in range(6):
            await b.enqueue(clip(f"b{n}"))
        await asyncio.sleep(0.5)
        assert b.account.limits()["video"].held == 2
        assert sum(row.code == 1303 for row in emu.ledger.creates) <= refused + 1  # a probe


async def test_a_task_of_another_process_is_attached_to_for_free(tmp_path: Path) -> None:
    """It holds its slots once, and ends for both handles."""
    async with clients(tmp_path, seconds=1.0, limits={"video": 2}) as (_, (a, b)):
        task = await a.submit(clip())
        same = b.attach(v1.TextToVideo, task_id=task.id)
        ends = asyncio.gather(task.wait(), same.wait())
        await until(lambda: b.account.limits().get("video") is not None, 5)
        assert b.account.limits()["video"].held == 1
        first, second = await asyncio.wait_for(ends, 20)
        assert first == second
        await until(lambda: a.account.limits()["video"].held == 0, 5)


async def test_the_rate_of_reads_is_that_of_all_clients(tmp_path: Path) -> None:
    """Refreshes in two clients together keep the rate of one."""
    slow = Polling(requests_per_second=20)
    async with clients(tmp_path, seconds=60.0, limits={"video": 2}, polling=slow) as (_, (a, b)):
        tasks = [await client.submit(clip()) for client in (a, b)]
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            await asyncio.gather(*(task.refresh() for task in tasks))
        passed = asyncio.get_running_loop().time() - began
        reads = sum(client.stats().asked for client in (a, b))
        assert reads >= 20
        assert reads <= 20 * passed + 3


async def test_a_hint_in_the_wrong_process_reaches_the_right_one(tmp_path: Path) -> None:
    """A callback that lands in another worker wakes whoever waits, long before the next look."""
    lazy = Polling(min_interval=1000, max_interval=1000)
    async with clients(tmp_path, seconds=900.0, limits={"video": 2}, polling=lazy) as (emu, (a, b)):
        task = await a.submit(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(0.5)
        emu.finish(task.id)
        assert not b.nudge(task.external_task_id or "")
        assert (await asyncio.wait_for(waiting, 10)).videos


async def test_whoever_waits_for_a_task_by_its_id_takes_its_slots_over(tmp_path: Path) -> None:
    """Before any answer has shown it: it is held twice, for one weight, whichever process ends first."""
    async with clients(tmp_path, slots=3, seconds=900.0, limits={"video": 3}) as (emu, (a, b)):
        task = await a.submit(clip())
        await until(lambda: leases(tmp_path, task.id) == [1], 10)
        emu.fault("query", code=5001, times=None)
        known: Task[Any] = Task(*attach(b._engine, clip(), task_id=task.id, confirmed=True))
        waiting = asyncio.create_task(known.wait())
        await until(lambda: leases(tmp_path, task.id) == [0, 1], 10)
        assert b.account.limits()["video"].held == 1
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_task_that_no_process_holds_takes_slots_once_it_is_seen(tmp_path: Path) -> None:
    """It was made by a program that shares no slots; as long as no answer shows it, it may have ended."""
    async with (
        clients(tmp_path, slots=3, seconds=900.0, limits={"video": 3}) as (emu, (a, b)),
        Client(base_url=emu.url, api_key=emu.api_key) as stranger,
    ):
        mine, theirs = await a.submit(clip()), await stranger.submit(clip())
        emu.fault("query", code=5001, times=3)
        known: Task[Any] = Task(*attach(b._engine, clip(), task_id=theirs.id, confirmed=True))
        waiting = asyncio.create_task(known.wait())
        await until(lambda: b._engine.limiter.pool("video").held == 1, 10)
        assert leases(tmp_path, theirs.id) == []
        await until(lambda: leases(tmp_path, theirs.id) == [1], 30)
        for each in (mine, theirs):
            emu.finish(each.id)
        await asyncio.wait_for(waiting, 10)
        await until(lambda: leases(tmp_path, theirs.id) == [], 10)


def leases(folder: Path, task_id: str) -> list[int]:
    """Return the weights of all that holds a task's slots."""
    with contextlib.closing(sqlite3.connect(folder / "slots.db")) as file:
        found = file.execute("SELECT weight FROM leases WHERE stage=4 AND task_id=? ORDER BY 1", (task_id,))
        return [weight for (weight,) in found]


@pytest.mark.parametrize("how", ["believe", "hint"])
async def test_a_callback_in_the_wrong_process_reaches_the_right_one(how: str, tmp_path: Path) -> None:
    """Signed, its record ends the wait, without a query; unsigned, the other process asks once."""
    lazy = Polling(min_interval=1000, max_interval=1000)
    async with clients(tmp_path, seconds=900.0, limits={"video": 2}, polling=lazy) as (emu, (a, b)):
        task = await a.submit(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(0.5)
        emu.finish(task.id)
        (ended,) = await b.list(v1.TextToVideo)
        before = a.stats().asked
        for _ in range(2):  # the vendor sends some twice
            getattr(b.callbacks, how)(ended)
        assert (await asyncio.wait_for(waiting, 10)).videos
        asked = before + (how == "hint")
        await until(lambda: b.account.limits()["video"].held == 0, 10)
        getattr(b.callbacks, how)(ended)  # late: it says nothing new to anybody
        await asyncio.sleep(0.3)
        assert (a.stats().asked, b.stats().asked) == (asked, 0)
        assert a.tasks() == b.tasks() == []
        assert b".mp4" not in written_to(tmp_path)


async def lose_create(emu: Emulator, a: Client, b: Client) -> TaskRecord:
    """Leave a create of one process in doubt; return its task, which has ended, as a callback shows it."""
    emu.fault("create", kind="lost_after")
    emu.fault("query", code=5001)
    with pytest.raises(AmbiguousCreate):
        await a.submit(clip(), external_task_id="order-1")
    (made,) = emu.tasks
    emu.finish(made)
    (ended,) = await b.list(v1.TextToVideo)
    return ended


async def test_a_callback_settles_a_create_of_another_process(tmp_path: Path) -> None:
    """Its answer and the look for it were lost: the record of the callback shows the task that was made."""
    retry = Retry(max_tries=1)
    async with clients(tmp_path, seconds=900.0, limits={"video": 2}, retry=retry) as (emu, (a, b)):
        ended = await lose_create(emu, a, b)
        b.callbacks.believe(ended)
        await until(lambda: not a.unresolved(), 5)
        await until(lambda: b.account.limits()["video"].held == 0, 10)


async def test_a_hint_has_a_create_of_another_process_looked_up(tmp_path: Path) -> None:
    """An unsigned callback says that its task may exist: the next look is made before its time."""
    retry = Retry(max_tries=1)
    async with clients(tmp_path, seconds=900.0, limits={"video": 2}, retry=retry) as (emu, (a, b)):
        ended = await lose_create(emu, a, b)
        b.callbacks.hint(ended)
        await until(lambda: not a.unresolved(), 5)


async def test_a_callback_reaches_a_handle_that_knows_one_id_only(tmp_path: Path) -> None:
    """Attached by the vendor's id, or by ours: the callback names both."""
    lazy = Polling(min_interval=1000, max_interval=1000)
    async with clients(tmp_path, seconds=900.0, count=3, limits={"video": 2}, polling=lazy) as (emu, made):
        task = await made[0].submit(clip(), external_task_id="order-1")
        handles = [
            made[0].attach(v1.TextToVideo, task_id=task.id),
            made[1].attach(v1.TextToVideo, task_id=task.id),
        ]
        waits = [asyncio.create_task(handle.wait()) for handle in (task, *handles)]
        await asyncio.sleep(0.5)
        emu.finish(task.id)
        (ended,) = await made[2].list(v1.TextToVideo)
        made[2].callbacks.believe(ended)
        for result in await asyncio.wait_for(asyncio.gather(*waits), 10):
            assert result.videos


async def test_a_closed_pool_is_closed_for_all(tmp_path: Path) -> None:
    """Whoever queues in another process gets the vendor's error."""
    async with clients(tmp_path, slots=1, seconds=30.0, limits={"video": 1}) as (emu, (a, b)):
        await a.submit(clip())
        waiting = asyncio.create_task(b.run(clip()))
        await until(lambda: b.stats().queued == 1, 5)
        emu.fault("create", code=1102, status=429, times=1)
        for client in (a, b):  # one slot more than there is: the next create is refused for its units
            client.set_limits({"video": 2})
        with pytest.raises(OutOfUnits):
            await asyncio.wait_for(waiting, 10)
        await until(lambda: a.account.limits()["video"].closed is not None, 5)
        with pytest.raises(OutOfUnits):
            await a.submit(clip())


async def test_a_process_that_was_idle_judges_by_what_the_ledger_says(tmp_path: Path) -> None:
    """The last news may be out of date: another has reopened the account, or told a larger limit."""
    async with clients(tmp_path, seconds=0.1, limits={"video": 2, "image": 2}) as (emu, (a, b)):
        wide = v1.ImageGeneration(prompt="a boat", n=5)
        for client in (a, b):
            await client.run(v1.ImageGeneration(prompt="a boat"))
        emu.fault("create", code=1102, status=429, times=1)
        with pytest.raises(OutOfUnits):
            await b.run(clip())
        await until(lambda: is_closed_in_the_file(tmp_path, "video"), 5)  # b's caller may hear of it before
        with pytest.raises(OutOfUnits):
            await a.run(clip())
        a.account.reopen()
        await until(lambda: b.account.limits()["video"].closed is None, 5)
        with pytest.raises(RequestInvalid, match="has 2 in all"):
            await b.run(wide)
        await asyncio.sleep(2)
        a.set_limits({"image": 9})
        await asyncio.sleep(0.1)
        assert (await asyncio.wait_for(b.run(wide), 10)).images
        await asyncio.wait_for(b.run(clip()), 10)


async def test_a_label_s_limit_is_that_of_all_processes(tmp_path: Path) -> None:
    """Whoever was told none keeps it too, and refuses what can never fit."""
    limits: dict[str, Any] = {"limits": {"video": 3}, "label_limits": {"free": 1}}
    async with clients(tmp_path, slots=3, count=1, **limits) as (emu, (a,)), client_of(emu, tmp_path) as c:
        await a.run(clip())  # the first to use the ledger: alone, another would begin without limits
        runs = [client.run(clip(), label="free") for client in (a, c) for _ in range(2)]
        await asyncio.wait_for(asyncio.gather(*runs), 30)
        assert emu.ledger.peak("video") == 1
        with pytest.raises(RequestInvalid, match="label_limits allows 'free' 1"):
            await asyncio.wait_for(c.run(v1.ImageGeneration(prompt="a boat", n=2), label="free"), 5)


async def test_a_closed_client_leaves_its_tasks_to_the_others(tmp_path: Path) -> None:
    """Its slots stay held until another client has seen the task ended; no thread is left."""
    async with clients(tmp_path, slots=1, seconds=1.5, count=1, limits={"video": 1}) as (emu, (b,)):
        async with client_of(emu, tmp_path, limits={"video": 1}) as a:
            await a.submit(clip("left behind"))
        assert not [thread for thread in threading.enumerate() if "slot ledger" in thread.name]
        await asyncio.wait_for(b.run(clip("next")), 20)
        assert [row.code for row in emu.ledger.creates] == [0, 0]


async def test_removed_lock_files_lose_no_submit(tmp_path: Path) -> None:
    """A tidy-up of the folder makes processes take each other for dead; all queue again, in their places."""
    async with clients(tmp_path, slots=1, seconds=0.8, limits={"video": 1}) as (emu, (a, b)):
        runs = [asyncio.create_task(client.run(clip(f"{n}"))) for n in range(3) for client in (a, b)]
        await until(lambda: emu.ledger.creates, 5)
        remove_locks(tmp_path)
        await asyncio.wait_for(asyncio.gather(*runs), 40)
        assert [row.code for row in emu.ledger.creates] == [0] * 6


@pytest.mark.parametrize("what", ["slots.db*[!k]", "slots.db", "slots.db-*", "replaced"])
async def test_a_removed_ledger_is_made_anew(what: str, tmp_path: Path) -> None:
    """All write what they hold and queue into the new file; whoever comes new keeps the limit, too."""
    async with clients(tmp_path, slots=3, seconds=2.5, limits={"video": 3}) as (emu, (a, b)):
        runs = [asyncio.create_task(client.run(clip(f"{n}"))) for n in range(4) for client in (a, b)]
        await until(lambda: len(emu.ledger.creates) == 3, 5)
        await asyncio.sleep(0.3)
        remove_ledger(tmp_path, what)
        async with client_of(emu, tmp_path, limits={"video": 3}) as c:
            runs += [asyncio.create_task(c.run(clip(f"c{n}"))) for n in range(2)]
            await asyncio.wait_for(asyncio.gather(*runs), 60)
        assert emu.ledger.peak("video") == 3
        assert [row.code for row in emu.ledger.creates] == [0] * 10


def remove_ledger(folder: Path, what: str) -> None:
    if what == "replaced":
        shutil.copy(folder / "slots.db", folder / "other.db")
        (folder / "other.db").replace(folder / "slots.db")
        for path in folder.glob("slots.db-*"):
            path.unlink()
        return
    for path in folder.glob(what):
        path.unlink()


async def test_removed_lock_files_lose_no_wait(tmp_path: Path) -> None:
    """Whoever only attached to a task of another process has it in the ledger again, and hears of its end."""
    async with clients(tmp_path, seconds=4.0, limits={"video": 2}) as (_, (a, b)):
        task = await a.submit(clip())
        waiting = asyncio.create_task(b.attach(v1.TextToVideo, task_id=task.id).wait())
        await until(lambda: b.account.limits().get("video") is not None, 5)
        other = asyncio.create_task(a.run(clip("other")))
        await until(lambda: a.account.limits()["video"].held == 2, 5)
        remove_locks(tmp_path)
        assert (await asyncio.wait_for(other, 15)).videos
        assert (await asyncio.wait_for(waiting, 15)).videos


async def test_a_task_whose_slots_expired_is_asked_about_still(tmp_path: Path) -> None:
    """The ledger knows it no more, so its own process asks."""
    async with clients(tmp_path, seconds=2.5, limits={"video": 2}, max_task_life=1.0) as (_, (a, b)):
        runs = [client.run(clip()) for client in (a, b)]
        assert all(result.videos for result in await asyncio.wait_for(asyncio.gather(*runs), 20))
        assert [client.stats().slot_expired for client in (a, b)] == [1, 1]


async def test_a_file_that_cannot_be_used_fails_what_queues(tmp_path: Path) -> None:
    """The error names the file; nothing is sent."""
    (tmp_path / "slots.db").write_bytes(b"no database" * 100)
    async with clients(tmp_path, count=1) as (emu, (client,)):
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"slots\.db"):
                await asyncio.wait_for(client.submit(clip()), 5)
        assert emu.ledger.creates == []


async def test_a_ledger_that_cannot_be_written_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk holds creates back, with a warning, and loses nothing that was said meanwhile."""
    real, left = LedgerFile.sync, [2]

    def sync(file: LedgerFile, *steps: Any, **more: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return real(file, *steps, **more)

    monkeypatch.setattr(LedgerFile, "sync", sync)
    async with clients(tmp_path, count=1, limits={"video": 1}) as (emu, (client,)):
        await asyncio.wait_for(client.run(clip()), 20)
        assert len(emu.ledger.creates) == 1
    said = [record.message for record in caplog.records if "slot ledger" in record.message]
    assert [line.startswith("the slot ledger can") for line in said] == [True, True]


def test_a_client_outlives_its_loop(tmp_path: Path) -> None:
    """In the next loop it goes on: what ran is still held, and what queued has left."""

    async def first(client: Client) -> None:
        await client.submit(clip("one"))
        await client.enqueue(clip("two"))
        await asyncio.sleep(0.2)

    async def second(client: Client) -> None:
        (task,) = [task for task in client.tasks() if task.status != "queued"]
        await asyncio.wait_for(task.wait(), 20)
        await asyncio.wait_for(client.run(clip("three")), 20)
        await client.aclose()

    async def serve(ready: threading.Event, stop: threading.Event, found: list[Any]) -> None:
        async with emulator(slots={"video": 1, "image": 9}) as emu:
            emu.set_duration(1.0)
            found.append(emu)
            ready.set()
            await asyncio.to_thread(stop.wait)

    ready, stop = threading.Event(), threading.Event()
    found: list[Any] = []
    server = threading.Thread(target=lambda: asyncio.run(serve(ready, stop, found)))
    server.start()
    try:
        ready.wait(10)
        client = client_of(found[0], tmp_path, limits={"video": 1})
        asyncio.run(first(client))
        asyncio.run(second(client))
        assert [row.code for row in found[0].ledger.creates] == [0, 0]
    finally:
        stop.set()
        server.join()


@pytest.mark.parametrize("asks", [False, True], ids=["own task runs", "asks for another client"])
async def test_a_dropped_client_leaves_the_ledger(tmp_path: Path, asks: bool) -> None:
    """Without ``aclose()``, while slots are held: it is freed, and neither lock nor mailbox stays behind."""
    async with clients(tmp_path, slots=2, seconds=30.0, count=1) as (emu, (other,)):
        client = client_of(emu, tmp_path)
        await client.run(v1.ImageGeneration(prompt="emulator:seconds=0"))
        task = await (other if asks else client).submit(clip())
        waiting = asyncio.ensure_future(task.wait()) if asks else None
        await asyncio.sleep(0.2)
        held = weakref.ref(client._engine.limiter)
        del client, task

        def freed() -> bool:
            gc.collect()
            return held() is None and len(list(tmp_path.glob("*.lock"))) == int(asks)

        await until(freed, 10)
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


def test_a_client_dropped_after_its_loop_leaves_no_file_behind(tmp_path: Path) -> None:
    """Nobody is left to say farewell in: lock and mailbox go with it."""

    async def use() -> Client:
        async with emulator(slots={"image": 2}) as emu:
            client = client_of(emu, tmp_path)
            await client.run(v1.ImageGeneration(prompt="emulator:seconds=0"))
            return client

    client = asyncio.run(use())
    assert list(tmp_path.glob("*.lock"))
    del client

    def gone() -> bool:  # an errand may be under way still, in the thread
        gc.collect()
        return not [*tmp_path.glob("*.lock"), *tmp_path.glob("*.sock")]

    asyncio.run(until(gone, 10))
