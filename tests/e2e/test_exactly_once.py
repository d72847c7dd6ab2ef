"""Exactly once: whatever befalls a create, one submit is one task, no stranger's, and no slot is lost."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import AmbiguousCreate, APIError, Client, KlingError, Retry, Task, TransportError
from kling_async.testing import Emulator
from tests.clock import new_event_loop
from tests.support import client_of, clip, until

if TYPE_CHECKING:
    from collections.abc import Sequence

Faults = list[dict[str, Any]]

REFUSED: Final[dict[str, Any]] = {"kind": "refused"}
"""Not a fault of the server's: nobody listens for a while."""

CREATE: Final[dict[str, Faults]] = {
    "well": [],
    "cut before": [{"kind": "lost_before"}],
    "cut after": [{"kind": "lost_after"}],
    "silence": [{"kind": "hang"}],
    "silence after": [{"kind": "hang", "acts": True}],
    "too slow": [{"kind": "slow", "seconds": 100}],
    "half an answer": [{"kind": "half_body"}],
    "cut JSON": [{"kind": "truncated_json"}],
    "nothing": [{"kind": "empty"}],
    "wrong types": [{"kind": "wrong_types", "value": [1]}],
    "HTML": [{"kind": "html"}],
    "HTML after": [{"kind": "html", "acts": True}],
    "5000": [{"code": 5000}],
    "5001 after": [{"code": 5001, "acts": True}],
    "5002 after": [{"code": 5002, "acts": True}],
    "refused connection": [REFUSED],
    "1201 already exists": [{"code": 1201, "message": "external_task_id already exists"}],
    "1302": [{"code": 1302}],
    "1303": [{"code": 1303}],
    "expired token": [{"code": 1004}],
    "lost, then again lost": [{"kind": "lost_before"}, {"kind": "lost_after"}],
    "lost, then 1303": [{"kind": "lost_before"}, {"code": 1303}],
    "lost, then 1302": [{"kind": "lost_before"}, {"code": 1302}],
    "lost, then 1201": [
        {"kind": "lost_before"},
        {"code": 1201, "message": "external_task_id already exists"},
    ],
    "1201 not found": [
        {"kind": "lost_before"},
        {"code": 1201, "message": "Task not found by id/external id"},
    ],
}
LOOK: Final[dict[str, Faults]] = {
    "seen": [],
    "not seen yet": [{"code": 1201, "message": "Task not found by id/external id"}],
    "server error": [{"code": 5001}],
    "cut": [{"kind": "lost_after"}],
    "HTML": [{"kind": "html"}],
    "unreadable": [{"kind": "wrong_types", "value": 7}],
}
STAYS: Final = {"waits": None, "leaves early": 0.01, "leaves late": 31, "loop ends": 15}
"""What the caller does, and after how many seconds."""
CALLER: Final = tuple(STAYS)
PRODUCT: Final = list(itertools.product(CREATE, LOOK, CALLER))


class Wall:
    """A wall clock that goes on over the loops."""

    def __init__(self) -> None:
        self.base = 1_790_000_000.0
        self.loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> float:
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.base += self.loop.time() if self.loop is not None else 0.0
            self.loop = loop
        return self.base + loop.time()


def runner() -> asyncio.Runner:
    """Return a runner of a loop of its own, with a virtual clock."""
    return asyncio.Runner(loop_factory=new_event_loop)


async def cut_down(emu: Emulator) -> None:
    """Cancel all that runs when a loop ends, as `asyncio.run` does; the emulator lives on."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await emu.stop()


class World:
    """An emulator and a client that uses a key pair, so that tokens expire too; several loops in a row."""

    def __init__(
        self, creates: Sequence[dict[str, Any]], looks: Sequence[dict[str, Any]], caller: str
    ) -> None:
        self.creates, self.looks, self.caller = creates, looks, caller
        self.outcome: object = None

    def play(self) -> None:
        """Run a story; where the loop ends, run it in two loops, as two `asyncio.run` would."""
        wall = Wall()
        emu = Emulator(slots={"video": 5}, now=wall)
        with runner() as first:
            client = first.run(self.begin(emu, wall))
            if self.caller != "loop ends":
                first.run(self.end(emu, client))
                return
            first.run(cut_down(emu))
        with runner() as second:
            second.run(self.end(emu, client))

    async def begin(self, emu: Emulator, wall: Wall) -> Client:
        await emu.start()
        emu.set_duration(20_000)
        pair = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        client = client_of(emu, **pair, retry=Retry(max_tries=4), limits={"video": 5}, now=wall)
        for fault in self.creates:
            if fault != REFUSED:
                emu.fault("create", **fault)
        for fault in self.looks:
            emu.fault("query", **fault)
        if REFUSED in self.creates:
            await emu.stop()
            asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(emu.start()))
        await self.act(client)
        return client

    async def end(self, emu: Emulator, client: Client) -> None:
        if self.caller == "loop ends":
            await emu.start()
        try:
            await until(lambda: not (client.unresolved() or client._engine.scope._work), 4000, step=20)
            self.judge(emu, client)
        finally:
            emu.faults.clear()
            await client.aclose()
            await emu.stop()

    async def act(self, client: Client) -> None:
        submit = asyncio.create_task(client.submit(clip(), external_task_id="ours"))
        await asyncio.wait([submit], timeout=STAYS[self.caller])
        submit.cancel()
        await asyncio.wait([submit])
        self.outcome = None if submit.cancelled() else submit.exception() or submit.result()

    def judge(self, emu: Emulator, client: Client) -> None:
        """Check that one submit made at most one task, known if it exists, and that the slots agree."""
        made = [row.task_id for row in emu.ledger.created]
        assert len(set(made)) == len(emu.tasks) <= 1, "paid twice"
        assert len({row.body_sha256 for row in emu.ledger.creates}) <= 1, "other bytes"
        known = [task.id for task in client.tasks()]
        assert known == list(emu.tasks), "a paid task that nobody knows of, or one that is not ours"
        if isinstance(self.outcome, Task):
            assert [self.outcome.id] == made[-1:]
        elif isinstance(self.outcome, BaseException):
            assert isinstance(self.outcome, KlingError)
            assert isinstance(self.outcome, AmbiguousCreate | APIError | TransportError)
        if self.caller == "waits" and not isinstance(self.outcome, Task | AmbiguousCreate):
            assert not emu.tasks, "refused, and made all the same"
        assert client.unresolved() == []
        pool = client.account.limits().get("video")
        assert pool is None or pool.held == emu.ledger.used("video") == len(emu.tasks)
        assert pool is None or pool.queued == 0


def play(creates: Sequence[dict[str, Any]], looks: Sequence[dict[str, Any]], caller: str) -> World:
    world = World(creates, looks, caller)
    world.play()
    return world


@pytest.mark.parametrize("caller", CALLER)
@pytest.mark.parametrize("create", CREATE)
def test_the_whole_product(create: str, caller: str) -> None:
    """Play each fault of a create with each fault of its look-ups, whatever the caller does."""
    for look in LOOK:
        play(CREATE[create], LOOK[look], caller)


def test_who_waits_gets_its_task() -> None:
    """Where every fault passes in time, the caller never hears of it."""
    for create, look in itertools.product(CREATE, ("seen", "not seen yet")):
        if create.startswith("1201") or create == "lost, then 1201":
            continue
        assert isinstance(play(CREATE[create], LOOK[look], "waits").outcome, Task), (create, look)


SINGLE: Final = [faults[0] for faults in CREATE.values() if faults]


@pytest.mark.parametrize("caller", CALLER)
def test_any_sequence_of_faults(caller: str) -> None:
    """Play one to five faults in a row, on creates and look-ups: 250 sequences for each of four callers."""

    @settings(max_examples=250, deadline=None, derandomize=True)
    @given(
        creates=st.lists(st.sampled_from(SINGLE), min_size=1, max_size=5),
        looks=st.lists(st.sampled_from([f for faults in LOOK.values() for f in faults]), max_size=5),
    )
    def drawn(creates: Faults, looks: Faults) -> None:
        play(creates, looks, caller)

    drawn()


def test_it_says_how_much_was_covered(capsys: pytest.CaptureFixture[str]) -> None:
    """Every cell of the product is played above."""
    cells = len(CREATE) * len(LOOK) * len(CALLER)
    with capsys.disabled():
        print(  # noqa: T201 - the figure is what this test is for
            f"\nexactly once: {cells} of {len(PRODUCT)} combinations, and 1000 sequences"
        )
    assert cells == len(PRODUCT)
