"""orchestrator/limiter.py: the pools' driver keeps timers, tells who queues, and survives its loop."""

from __future__ import annotations

import asyncio
import random

import pytest

from kling_async import ConfigurationError, RequestInvalid, v1
from kling_async.catalog import endpoint_of
from kling_async.core.admission import Phase, Ticket
from kling_async.errors import ClientClosed, KlingError
from kling_async.events import Hooks
from kling_async.orchestrator.limiter import Limiter
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.runtime.loop import LoopScope
from tests.support import Recorder, settle

pytestmark = pytest.mark.anyio


class Desk:
    """A limiter with everybody who listens to it."""

    def __init__(
        self, limits: dict[str, int] | None = None, *, life: float = 7200, gate: bool = True
    ) -> None:
        self.events = Recorder()
        self.scope = LoopScope(lambda: 1_000_000.0)
        self.limiter = Limiter(
            self.scope,
            Hooks(self.events, self.scope.time),
            random.Random(1),
            limits=limits,
            life=life,
            gate=gate,
        )
        self.admitted: list[Ticket] = []
        self.purged: list[tuple[Ticket, KlingError]] = []
        self.contention: list[tuple[str, bool]] = []
        self.limiter.subscribe(self)
        self.scope.enter()

    def on_contention(self, pool: str, contended: bool) -> None:
        self.contention.append((pool, contended))

    def enter(self, weight: int = 1, pool: str = "video") -> Ticket:
        ticket = Ticket(weight)
        self.limiter.enter(pool, ticket, Claim(self, ticket))
        return ticket

    def accepted(self, ticket: Ticket, name: str = "mine") -> None:
        """The create of a ticket made a task."""
        task = TrackedTask(endpoint_of(v1.TextToVideo), name, named=True)
        self.limiter.accepted(ticket, task)


class Claim:
    """Writes down what the limiter says of a ticket."""

    def __init__(self, desk: Desk, ticket: Ticket) -> None:
        self._desk = desk
        self._ticket = ticket
        self.subject = TrackedTask(endpoint_of(v1.TextToVideo), "create", named=True)

    def admitted(self) -> None:
        self._desk.admitted.append(self._ticket)

    def purged(self, error: KlingError) -> None:
        self._desk.purged.append((self._ticket, error))


async def test_defaults_until_somebody_tells() -> None:
    """Rule 4: careful sizes of their own for the known pools, 1 for any other; the caller's limit wins."""
    limiter = Desk({"video": 20}).limiter
    assert {n: limiter.pool(n).limit for n in ("video", "image", "virtual_try_on", "other")} == {
        "video": 20,
        "image": 9,
        "virtual_try_on": 1,
        "other": 1,
    }
    limiter.resize("video", 5, "packs")
    limiter.resize("image", 18, "packs")
    limiter.resize("other", 3, "default")
    assert {n: (p.limit, p.source) for n, p in limiter.pools.items()} == {
        "video": (20, "caller"),
        "image": (18, "packs"),
        "virtual_try_on": (1, "default"),
        "other": (3, "default"),
    }


async def test_a_guess_does_not_undo_what_was_learned() -> None:
    """Rule 4: what 1303 taught ranks above a careful default."""
    desk = Desk()
    tickets = [desk.enter() for _ in range(6)]
    for ticket in tickets[:5]:
        desk.accepted(ticket)
    assert desk.admitted == tickets  # the sixth is a probe beyond the default
    desk.accepted(tickets[5])
    desk.limiter.resize("video", 1, "default")
    pool = desk.limiter.pool("video")
    assert (pool.limit, pool.source) == (6, "learned")


async def test_admitted_as_soon_as_there_is_room() -> None:
    """Within enter where there is room, within release where there was none."""
    desk = Desk({"video": 1})
    first, second = desk.enter(), desk.enter()
    assert desk.admitted == [first]
    desk.accepted(first)
    desk.limiter.release(first)
    assert desk.admitted == [first, second]
    desk.limiter.release(first)  # a second time it is nothing


async def test_a_refused_ticket_is_sent_again_by_the_clock() -> None:
    """Nobody has to call: the timer probes after the pause."""
    desk = Desk({"video": 1})
    ticket = desk.enter()
    desk.limiter.refused(ticket, drop=False)
    assert desk.admitted == [ticket]
    await asyncio.sleep(0.9)
    assert desk.admitted == [ticket]
    await asyncio.sleep(0.4)
    assert desk.admitted == [ticket, ticket]


async def test_leaving_lets_the_next_one_forward_a_moment_later() -> None:
    """Not at once: a loop that is ending cancels everybody, and must not start anything new."""
    desk = Desk({"image": 9})
    held = desk.enter(5, "image")
    heavy, light = desk.enter(9, "image"), desk.enter(2, "image")
    desk.limiter.leave(heavy)
    await settle()
    assert desk.admitted == [held]
    await asyncio.sleep(0.1)
    assert desk.admitted == [held, light]


async def test_requeue_withdrawn_unknown_occupy() -> None:
    """Each frees or keeps what it should, and the queue moves on."""
    desk = Desk({"video": 2})
    tickets = [desk.enter() for _ in range(4)]
    desk.limiter.requeue(tickets[0], 3.0, drop=False, opens=True)
    assert desk.admitted == tickets[:2]
    await asyncio.sleep(3.1)
    assert desk.admitted == [*tickets[:2], tickets[0]]
    desk.limiter.free(tickets[0])
    assert desk.admitted[-1] is tickets[2]
    desk.limiter.unknown(tickets[2])
    await asyncio.sleep(1)
    assert desk.limiter.pool("video").held == 2 and tickets[3].phase is Phase.QUEUED
    found = desk.limiter.occupy("video", 1, 10.0, Claim(desk, tickets[0]).subject)
    assert desk.limiter.pool("video").held == 3 and found.phase is Phase.HELD


async def test_a_limit_that_shrinks_fails_what_can_never_fit() -> None:
    """Rule 4: queued requests heavier than a newly known limit fail, new ones at once."""
    desk = Desk()
    held = desk.enter(9, "image")
    heavy, light = desk.enter(6, "image"), desk.enter(2, "image")
    desk.limiter.resize("image", 4, "packs")
    assert [t for t, _ in desk.purged] == [heavy] and isinstance(desk.purged[0][1], RequestInvalid)
    with pytest.raises(RequestInvalid, match="has 4 in all"):
        desk.enter(5, "image")
    desk.limiter.free(held)
    assert desk.admitted == [held, light]


async def test_closing_one_pool_or_all() -> None:
    """Rule 5: each that queued gets an error of its own, new ones the same; reopen lets them through."""
    desk = Desk({"video": 1, "image": 9})
    desk.enter()
    queued = desk.enter()
    desk.enter(1, "image")
    reason = KlingError("no")
    desk.limiter.close(reason, "video")
    assert [t for t, _ in desk.purged] == [queued] and desk.purged[0][1] is not reason
    with pytest.raises(KlingError, match="no"):
        desk.enter()
    desk.enter(1, "image")
    desk.limiter.close(reason)
    with pytest.raises(KlingError, match="no"):
        desk.enter(1, "image")
    desk.limiter.reopen()
    desk.enter(1, "image")


async def test_expired_slots_are_told() -> None:
    """Rule 1: after max_task_life, by the timer, with an event that names the create."""
    desk = Desk(life=50)
    ticket = desk.enter()
    desk.accepted(ticket, "mine")
    await asyncio.sleep(51)
    (event,) = desk.events.events
    assert (event.kind, event.external_task_id, event.pool) == ("slot_expired", "mine", "video")
    assert desk.limiter.pool("video").held == 0


async def test_contention_is_told_when_it_changes() -> None:
    """Whoever asks about tasks learns whether submits wait for their slots; a late listener learns it too."""
    desk = Desk({"video": 1})
    desk.enter()
    assert desk.contention == []
    waiting = desk.enter(), desk.enter()
    assert desk.contention == [("video", True)]
    desk.limiter.subscribe(desk)
    assert desk.contention == [("video", True)] * 2
    for ticket in waiting:
        desk.limiter.leave(ticket)
    await asyncio.sleep(0.1)
    assert desk.contention[2:] == [("video", False)] * 2, "once for each subscription"


async def test_silent_once_the_client_is_closed() -> None:
    """No timer, nothing admitted."""
    desk = Desk({"video": 1})
    ticket = desk.enter()
    desk.limiter.refused(ticket, drop=False)
    desk.limiter.stop_timers()
    desk.scope.closed = True
    desk.limiter.release(ticket)
    await asyncio.sleep(100)
    assert desk.admitted == [ticket]
    with pytest.raises(ClientClosed):
        desk.scope.enter()


@pytest.mark.parametrize("limits", [{"video": 0}, {"video": -1}, {"video": True}, {"video": "5"}])
async def test_limits_must_be_whole_numbers(limits: dict[str, int]) -> None:
    """Named with the pool."""
    with pytest.raises(ConfigurationError, match="video"):
        Desk(limits)


def test_a_new_loop_finds_the_slots_but_not_the_queue() -> None:
    """Rule 17: who queued in a loop that ended is gone; held slots are kept, and the timers run again."""
    desks: list[Desk] = []

    async def first() -> None:
        desk = Desk({"video": 1}, life=100)
        desks.append(desk)
        held = desk.enter()
        desk.accepted(held)
        desk.enter()

    async def second() -> None:
        desk = desks[0]
        desk.scope.enter()
        pool = desk.limiter.pool("video")
        assert (pool.held, pool.queued) == (1, 0)

    asyncio.run(first())
    asyncio.run(second())
