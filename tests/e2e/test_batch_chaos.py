"""Test batches that are stopped, left, cancelled and resumed under random faults: nothing is made twice."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kling_async import KlingError
from tests.e2e.batches import run_and_report, run_batch
from tests.support import client_of, clip, pair, still, until

if TYPE_CHECKING:
    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

JOBS = 8
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("create", {"kind": "lost_before"}),
    ("create", {"kind": "lost_after"}),
    ("create", {"kind": "hang", "acts": True}),
    ("create", {"kind": "hang", "acts": False}),
    ("create", {"code": 1302, "status": 429}),
    ("create", {"status": 503}),
    ("query", {"status": 500}),
    ("query", {"code": 1201, "message": "Task not found by id/external id"}),
    ("media", {"status": 503}),
    ("media", {"kind": "half_body"}),
)

run = st.fixed_dictionaries(
    {
        "jobs": st.permutations(range(JOBS)),
        "number": st.integers(1, JOBS),
        "faults": st.lists(st.sampled_from(FAULTS), max_size=3),
        "foreign": st.integers(0, 3),
        "seconds": st.floats(0, 120),
        "end": st.sampled_from(["leave", "stop", "signal", "twice", "cancel"]),
        "fresh": st.booleans(),
        "order": st.sampled_from(["given", "longest"]),
    }
)


def request(number: int) -> tuple[str, Any]:
    make = still if number % 4 == 3 else clip
    return f"k{number}", make(f"no {number}")


async def interrupted(client: Client, options: dict[str, Any], drawn: dict[str, Any]) -> None:
    """Run a batch for a while, and end it in one of the ways that there are."""
    requests = [request(number) for number in drawn["jobs"][: drawn["number"]]]

    async def work() -> None:
        async with client.batch(requests, order=drawn["order"], **options) as results:
            await asyncio.sleep(drawn["seconds"])
            for _ in range({"signal": 1, "twice": 2}.get(drawn["end"], 0)):
                results._heard("SIGINT")
            if drawn["end"] == "stop":
                results.stop()
            if drawn["end"] != "leave":
                async for _ in results:
                    pass

    with contextlib.suppress(KlingError, asyncio.TimeoutError):
        if drawn["end"] == "cancel":
            await asyncio.wait_for(work(), drawn["seconds"] + 5)
        else:
            await asyncio.wait_for(work(), 100_000)


async def judge(emu: Emulator, client: Client, options: dict[str, Any]) -> None:
    """Resume to the end: each job has one task, one outcome and its own file; the bill is the vendor's."""
    found, report = await run_and_report(client, [request(number) for number in range(JOBS)], **options)
    assert [o.ok for o in found] == [True] * JOBS, [o.error for o in found]
    assert sorted(task.body["prompt"] for task in emu.tasks.values()) == [f"no {n}" for n in range(JOBS)]
    files = [file for outcome in found for file in outcome.files]
    assert len(set(files)) == JOBS and all(file.stat().st_size for file in files)
    for pool in ("video", "image"):
        spent = sum(float(task.units) for task in emu.tasks.values() if task.pool == pool)
        assert report.units[pool] == pytest.approx(spent)
    assert report.advice == ""
    # a create that hangs keeps its slot until its own time limit; later looks find what other clients made
    await until(lambda: not client._engine.queue.in_flight and not client.unresolved(), 10_000)
    for task in client.tasks():  # which another run saw ended
        await task.refresh()
    assert all(pool.held == 0 for pool in client.account.limits().values())
    assert [o.resumed for o in await run_batch(client, [request(n) for n in range(JOBS)], **options)] == [
        True
    ] * JOBS


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a case takes half a second
)
@given(
    runs=st.lists(run, min_size=1, max_size=4), slots=st.integers(1, 4), seconds=st.sampled_from([1, 20, 90])
)
async def test_whatever_happens_every_job_is_made_once(
    runs: list[dict[str, Any]], slots: int, seconds: float
) -> None:
    """Over several runs of one journal every job is made once."""
    with tempfile.TemporaryDirectory() as name:
        options: dict[str, Any] = {
            "journal": Path(name) / "jobs.sqlite",
            "download_to": Path(name) / "out",
            "name": "{index}",
            "max_units": 1000,
        }
        async with pair({"video": slots, "image": 9}, seconds=seconds) as (emu, client):
            for drawn in runs:
                for on, fault in drawn["faults"]:
                    emu.fault(on, times=1, **fault)
                emu.set_foreign("video", min(slots, drawn["foreign"]))
                if drawn["fresh"]:
                    async with client_of(emu) as other:
                        await interrupted(other, options, drawn)
                else:
                    await interrupted(client, options, drawn)
            emu.set_foreign("video", 0)
            emu.faults.clear()
            await judge(emu, client, options)
