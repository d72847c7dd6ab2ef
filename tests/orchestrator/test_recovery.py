"""orchestrator/recovery.py: creates whose answer was lost. All combinations are in e2e/test_exactly_once."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kling_async import AmbiguousCreate, RequestRejected, Retry, v1
from kling_async.catalog import TASKS
from tests.support import client_of, clip, pair, still, until

if TYPE_CHECKING:
    from kling_async.orchestrator.submission import Submission

pytestmark = pytest.mark.anyio


async def test_looks_are_ten_seconds_apart_and_three() -> None:
    """Rule 7: not found three times, the same bytes go out again."""
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_before")
        await client.submit(clip())
        looks = [row.at for row in emu.ledger.queries]
        assert [round(b - a) for a, b in itertools.pairwise(looks)] == [10, 10]
        assert len(emu.ledger.creates) == 2 and len({r.body_sha256 for r in emu.ledger.creates}) == 1


async def test_a_server_that_loses_every_create_is_given_up_in_the_end() -> None:
    """Retry.max_tries bounds the repetitions; the create is then unresolved, and later forgotten."""
    async with pair(client={"retry": Retry(max_tries=3)}) as (emu, client):
        emu.fault("create", kind="lost_before", times=None)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        assert len(emu.ledger.creates) == 3
        await until(lambda: not client.unresolved(), 3000, step=10)
        assert client.account.limits()["video"].held == 0


async def test_an_endpoint_without_look_up_stays_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the catalog knows no way to find a create, nothing is sent again and nothing is asked."""
    row = TASKS[0]._replace(lookup="none")
    monkeypatch.setattr("kling_async.orchestrator.engine.endpoint_of", lambda _: row)
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_after")
        with pytest.raises(AmbiguousCreate, match="no way to look"):
            await client.submit(clip())
        await asyncio.sleep(1000)
        assert len(client.unresolved()) == 1
        assert emu.ledger.queries == [] and len(emu.ledger.creates) == 1


async def test_a_slot_that_expired_meanwhile_is_not_sent_into() -> None:
    """A create whose slots expired during the look-up holds none, so it must not be sent."""
    async with pair(client={"max_task_life": 5}) as (emu, client):
        emu.fault("create", kind="lost_before")
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        assert len(emu.ledger.creates) == 1


async def test_later_looks_find_a_stranger_and_let_go() -> None:
    """The id turns out to be another task's: ours was surely refused, and its slot is free."""
    async with pair(seconds=5000, client={"retry": Retry(max_tries=1)}) as (emu, client):
        async with client_of(emu) as stranger:
            await stranger.submit(clip("a stranger's"), external_task_id="same")
        await asyncio.sleep(60)
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip("ours"), external_task_id="same")
        await until(lambda: not client.unresolved())
        assert client.account.limits()["video"].held == 0 and client.tasks() == []


async def test_later_looks_go_on_through_failures() -> None:
    """A look that fails counts as no miss; the pause grows and the next look counts."""
    async with pair(seconds=5000, client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5001, times=3)
        emu.fault("query", kind="wrong_types", value=7)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        await until(client.tasks, 3000, step=5)
        assert client.unresolved() == [] and client.account.limits()["video"].held == 1


async def test_a_contested_refusal_is_believed_when_nothing_is_there() -> None:
    """After a lost answer any 1201 is looked up; if nothing is found it was about the request."""
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("create", code=1201, message="image_tail is not supported")
        with pytest.raises(RequestRejected):
            await client.submit(clip())
        assert client.account.limits()["video"].held == 0 and client.unresolved() == []


async def test_an_id_that_is_taken_and_yet_not_found_is_of_unknown_fate() -> None:
    """The vendor says that a task has our id, and shows none: nobody can say that nothing was made."""
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("create", code=1201, message="external_task_id already exists")
        with pytest.raises(AmbiguousCreate, match="already exists"):
            await client.submit(clip())
        assert client.account.limits()["video"].held == 1 and len(client.unresolved()) == 1


async def test_a_task_attached_to_while_its_create_was_in_doubt_holds_its_slots_once() -> None:
    """Both handles are one task in the end, and no slot is left held."""
    async with pair(seconds=100) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", kind="slow", seconds=20)
        submit = asyncio.create_task(client.submit(still(n=4)))
        await until(lambda: emu.tasks)
        attached = client.attach(v1.ImageGeneration, task_id=next(iter(emu.tasks)))
        await attached.refresh()
        assert client.account.limits()["image"].held == 5  # of the create in doubt, and of a task unknown
        task = await submit
        assert client.account.limits()["image"].held == 4
        assert await task.wait() == await attached.wait()
        assert client.account.limits()["image"].held == 0


async def test_closing_asks_no_more() -> None:
    """A closed client leaves no timer behind."""
    async with pair(client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        await client.aclose()
        asked = len(emu.ledger.queries)
        await asyncio.sleep(1000)
        assert len(emu.ledger.queries) == asked


LOOP_ENDS = """
import asyncio, threading
from kling_async import Client, Polling, v1
from kling_async.testing import Emulator

ready, stop, emulators = threading.Event(), threading.Event(), []

def serve():
    async def main():
        async with Emulator(slots={"video": 5}) as emu:
            emu.set_duration(0.3)
            emu.fault("create", kind="slow", seconds=60)
            emulators.append(emu)
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, stop.wait)
    asyncio.run(main())

threading.Thread(target=serve, daemon=True).start()
ready.wait()
polling = Polling(min_interval=0.05, max_interval=0.1)
client = Client(api_key="emulator-key", base_url=emulators[0].url, polling=polling, limits={"video": 5})

async def first():
    asyncio.create_task(client.submit(v1.TextToVideo(prompt="x"), external_task_id="mine"))
    while not emulators[0].tasks:  # of another thread: nothing tells this loop
        await asyncio.sleep(0.01)

async def second():
    assert [u.external_task_id for u in client.unresolved()] == ["mine"]
    assert client.account.limits()["video"].held == 1
    assert (await client.attach(v1.TextToVideo, external_task_id="mine").wait()).videos
    assert client.unresolved() == [] and client.account.limits()["video"].held == 0
    await client.aclose()

try:
    HOW
finally:
    stop.set()
print("fine")
"""
CANCELLED = "asyncio.run(first()); asyncio.run(second())"
DROPPED = "asyncio.new_event_loop().run_until_complete(first()); asyncio.run(second())"
CLOSED = (
    "loop = asyncio.new_event_loop(); loop.run_until_complete(first()); loop.close(); asyncio.run(second())"
)


@pytest.mark.real
@pytest.mark.parametrize(
    "how", [CANCELLED, DROPPED, CLOSED], ids=["asyncio.run ended", "left behind", "closed"]
)
def test_a_create_whose_loop_ended_is_found_in_the_next(how: str) -> None:
    """Rules 8 and 17: such a create is unresolved, holds its slot, and can be attached to."""
    done = subprocess.run(
        [sys.executable, "-c", LOOP_ENDS.replace("HOW", how)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


@pytest.mark.parametrize("end", [asyncio.CancelledError, ZeroDivisionError, GeneratorExit])
async def test_a_later_look_that_is_cancelled_or_breaks_is_made_again(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case gives itself back, whatever ended the look; the next one finds the task."""
    broken: list[Submission] = []
    async with pair(seconds=5000, client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        recovery = client._engine.recovery
        look = recovery._look

        async def breaks(submission: Submission) -> object:
            if broken:
                return await look(submission)
            broken.append(submission)
            raise end

        monkeypatch.setattr(recovery, "_look", breaks)
        await until(client.tasks)
        assert broken and client.unresolved() == []
        assert client.account.limits()["video"].held == 1


async def test_slots_of_creates_in_doubt_are_free_soon_where_others_wait() -> None:
    """A short outage leaves all slots in doubt: three misses 10 s apart free them, not six in ten minutes."""
    async with pair({"video": 5}, seconds=5000, client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_before", times=5)
        emu.fault("query", code=5000, times=5)
        lost = await asyncio.gather(*(client.submit(clip()) for _ in range(5)), return_exceptions=True)
        assert [type(error) for error in lost] == [AmbiguousCreate] * 5
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*(client.submit(clip()) for _ in range(5)))
        assert asyncio.get_running_loop().time() - begun < 45 and client.unresolved() == []


async def test_slots_of_creates_in_doubt_stay_held_while_nobody_waits() -> None:
    """Then there is time to be surer: six misses, with growing pauses."""
    async with pair(client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        await asyncio.sleep(200)
        assert client.unresolved()
        await until(lambda: not client.unresolved(), 1000)
