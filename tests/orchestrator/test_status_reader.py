"""orchestrator/status_reader.py: status queries in three forms; malformed answers lose no task."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import Any

import anyio
import pytest

from kling_async import Client, TaskNotFound, v1
from kling_async.catalog import TASKS, endpoint_of
from kling_async.testing import Emulator
from tests.e2e.test_every_endpoint import request_of
from tests.emulator.facts import SAMPLES
from tests.support import client_of, clip, pair, still, until

pytestmark = pytest.mark.anyio

WIDE = {"video": 20, "image": 20}


async def run_all(emu: Emulator, client: Client, videos: int = 10, images: int = 5) -> Counter[str]:
    """Run some tasks; return how many queries of each form were sent."""
    requests: list[Any] = [*(clip(str(i)) for i in range(videos)), *(still(str(i)) for i in range(images))]
    results = await asyncio.gather(*(client.run(request) for request in requests))
    assert all(result.files() for result in results)
    pools = client.account.limits()
    assert all(pool.held == 0 for pool in pools.values())
    return Counter(row.kind for row in emu.ledger.rows if row.kind in ("query", "list", "tasks"))


def with_pair(emu: Emulator) -> Client:
    return client_of(emu, access_key=emu.access_key, secret_key=emu.secret_key, limits=WIDE)


async def test_an_api_key_asks_by_ids() -> None:
    """Rule 12: one query takes up to 20 ids of any product; no list is needed."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        forms = await run_all(emu, client)
        assert forms["tasks"] and not forms["list"]
        assert max(row.query["task_ids"].count(",") for row in emu.ledger.of("tasks")) <= 19


async def test_a_key_pair_asks_by_lists() -> None:
    """Rule 12: /tasks refuses a JWT and is not tried; each product has its list, sized to what runs."""
    async with Emulator(slots=WIDE) as emu, with_pair(emu) as client:
        emu.set_duration(60)
        forms = await run_all(emu, client)
        assert forms["list"] and not forms["tasks"]
        assert max(int(row.query["pageSize"]) for row in emu.ledger.lists) <= 40


async def test_one_task_is_asked_alone() -> None:
    """Rule 12: a GET of the task, where there is nothing to bundle."""
    async with pair() as (emu, client):
        assert set(await run_all(emu, client, 1, 0)) == {"query"}


@pytest.mark.parametrize(
    "fault",
    [
        {"code": 1002},
        {"code": 1203},
        {"status": 404},
        {"kind": "html", "status": 404},
        {"kind": "wrong_types", "value": 7},
    ],
    ids=["refused", "unknown", "bare 404", "HTML 404", "nonsense"],
)
@pytest.mark.parametrize("form", ["tasks", "list"])
async def test_a_form_that_does_not_work_is_given_up(form: str, fault: dict[str, Any]) -> None:
    """Rule 12: this is learned per account; the next form takes over and no task is lost."""
    async with Emulator(slots=WIDE) as emu:
        emu.set_duration(60)
        emu.fault("tasks" if form == "tasks" else "list", times=None, **fault)
        options = {} if form == "tasks" else {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, limits=WIDE, **options) as client:
            await run_all(emu, client)
            tried = sum(row.kind == form for row in emu.ledger.rows)
            assert 1 <= tried <= 8
            await run_all(emu, client)
            assert sum(row.kind == form for row in emu.ledger.rows) == tried


@pytest.mark.parametrize("fault", [{"code": 5001}, {"kind": "html"}, {"kind": "lost_after"}, {"code": 1302}])
async def test_a_form_that_fails_now_and_then_is_kept(fault: dict[str, Any]) -> None:
    """A transient failure is no refusal."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        emu.fault("tasks", times=2, **fault)
        forms = await run_all(emu, client)
        assert forms["tasks"] > 4 and not forms["list"]


@pytest.mark.parametrize(
    "value", [[], [{"id": "1", "status": "succeeded"}, {"status": 5}, 7]], ids=["empty", "others"]
)
async def test_tasks_that_an_answer_leaves_out_are_asked_singly(value: list[object]) -> None:
    """Rule 12: partial answers lose no task."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        emu.fault("tasks", kind="wrong_types", value=value, times=2)
        forms = await run_all(emu, client)
        assert forms["query"]


async def test_a_wrong_key_still_reaches_the_waiters() -> None:
    """A form refused because of the key leads to single GETs, whose refusal is raised."""
    async with pair(WIDE, seconds=300, client={"limits": WIDE}) as (emu, client):
        tasks = [await client.submit(clip()) for _ in range(4)]
        emu.fault("any", code=1002, times=None)
        ends = await asyncio.gather(*(task.wait() for task in tasks), return_exceptions=True)
        assert [getattr(end, "code", None) for end in ends] == [1002] * 4


async def test_failed_tasks_and_units_come_by_ids_too() -> None:
    """A record read from /tasks has all that a GET gives: reason, units, typed result, watermarks."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        marked = v1.WatermarkInfo(enabled=True)
        tasks = [await client.submit(still(n=3, watermark_info=marked)) for _ in range(3)]
        bad = await client.submit(clip("emulator:fail"))
        results = await asyncio.gather(*(task.wait() for task in tasks))
        assert all([image.index for image in result.images] == [0, 1, 2] for result in results)
        assert all(result.images[0].watermark_url for result in results)
        assert all(task.record and task.record.units == "24" for task in tasks)
        await asyncio.gather(bad.wait(), return_exceptions=True)
        assert bad.record and bad.record.status == "failed" and bad.record.message
        assert emu.ledger.of("tasks")


async def test_nudge_asks_at_once() -> None:
    """Rule 15: a nudge, as for a callback, asks at once; of a task that is not polled it does nothing."""
    async with pair(seconds=3) as (emu, client):
        task = await client.submit(clip(), external_task_id="mine")
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(3.1)
        asked = len(emu.ledger.queries)
        assert client.nudge("mine") and client.nudge(task.id) and not client.nudge("other")
        await until(wait.done, 2)
        assert len(emu.ledger.queries) == asked + 1


async def test_eta_is_learned() -> None:
    """The eta is None while no duration of that kind is known; then it is the usual end."""
    async with pair(WIDE, client={"limits": WIDE}) as (_, client):
        first = await client.submit(clip())
        assert first.eta is None
        await first.wait()
        assert first.eta is None  # it has ended
        second = await client.submit(clip())
        eta, made = second.eta, second.created_at
        assert eta is not None and made is not None
        assert dt.timedelta(seconds=10) < eta - made < dt.timedelta(seconds=60)


@pytest.mark.parametrize("timeout", [None, 2000], ids=["no deadline", "a deadline"])
async def test_a_late_task_is_warned_about_once(
    timeout: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once its kind is known, a task older than 99 in 100 is logged, if a waiter has no deadline."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        await asyncio.gather(*(client.run(clip()) for _ in range(12)))
        emu.set_duration(1500)
        task = await client.submit(clip())
        await asyncio.gather(*(task.wait(timeout) for _ in range(2)))
        warned = [r for r in caplog.records if "99 in 100" in r.getMessage()]
        assert len(warned) == (1 if timeout is None else 0)
        if warned:
            assert (warned[0].levelname, vars(warned[0])["task_id"]) == ("WARNING", task.id)


async def test_a_waiter_with_a_deadline_is_not_warned(caplog: pytest.LogCaptureFixture) -> None:
    """The timeout of ``run()``, or a cancel scope of the caller's around ``wait()``, is a deadline too."""
    async with pair(WIDE, client={"limits": WIDE}) as (emu, client):
        await asyncio.gather(*(client.run(clip()) for _ in range(12)))
        emu.set_duration(1500)
        await client.run(clip(), timeout=2000)
        task = await client.submit(clip())
        with anyio.fail_after(2000):
            await task.wait()
    assert caplog.records == []


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
@pytest.mark.parametrize("key", ["api key", "key pair"])
@pytest.mark.parametrize("name", [row.name for row in TASKS if row.pool != "element" and not row.asked_at])
async def test_a_task_is_found_by_its_external_id_alone(name: str, key: str) -> None:
    """Also where the endpoint takes no external id in its path; while it runs it is not taken for gone."""
    slots = {"video": 9, "image": 9, "virtual_try_on": 1}
    async with pair(slots, client={"limits": slots}) as (emu, client):
        emu.know(*SAMPLES)
        emu.set_duration(40)
        request: Any = request_of(name)
        task = await client.submit(request, external_task_id="mine")
        other = client_of(emu, limits=slots) if key == "api key" else with_pair(emu)
        async with other:
            same = other.attach(type(request), external_task_id="mine")
            if key == "api key" or endpoint_of(request).lookup == "path":
                assert await same.wait() == await task.wait()
            else:  # such lists show no external ids: as long as any task runs it may be this one
                waiting = asyncio.create_task(same.wait())
                await task.wait()
                assert not waiting.done()
                with pytest.raises(TaskNotFound):
                    await waiting
            with pytest.raises(TaskNotFound):
                await other.attach(type(request), external_task_id="nobody").wait()
