"""orchestrator/limiter.py: the driver of the pools keeps timers, tells claimants, and survives its loop."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import TYPE_CHECKING

import pytest

from kling_async import ConfigurationError, RequestInvalid, v1
from kling_async.catalog import endpoint_of
from kling_async.core.admission import Phase, Ticket
from kling_async.errors import ClientClosed, KlingError
from kling_async.events import Hooks
from kling_async.options import SlotOptions
from kling_async.orchestrator.limiter import Limiter
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.runtime.loop import LoopScope
from tests.support import Recorder, settle

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Setup:
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
            SlotOptions(limits, queueing=gate, max_task_life=life),
            host="api.example",
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
        """Say that the create of a ticket made a task."""
        task = TrackedTask(endpoint_of(v1.TextToVideo), name, by_external_id=True)
        self.limiter.accepted(ticket, task)


class Claim:
    """Writes down what the limiter says of a ticket."""

    def __init__(self, setup: Setup, ticket: Ticket) -> None:
        self._desk = setup
        self._ticket = ticket
        self.subject = TrackedTask(endpoint_of(v1.TextToVideo), "create", by_external_id=True)

    def admitted(self) -> None:
        self._desk.admitted.append(self._ticket)

    def purged(self, error: KlingError) -> None:
        self._desk.purged.append((self._ticket, error))


async def test_defaults_until_somebody_tells() -> None:
    """Rule 4: the known pools have careful sizes, any other has 1; the caller's limit wins."""
    limiter = Setup({"video": 20}).limiter
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
    setup = Setup()
    tickets = [setup.enter() for _ in range(6)]
    for ticket in tickets[:5]:
        setup.accepted(ticket)
    assert setup.admitted == tickets  # the sixth is a probe beyond the default
    setup.accepted(tickets[5])
    setup.limiter.resize("video", 1, "default")
    pool = setup.limiter.pool("video")
    assert (pool.limit, pool.source) == (6, "learned")


async def test_admitted_as_soon_as_there_is_room() -> None:
    """A ticket is admitted within `enter` where there is room, else within the `release` that makes it."""
    setup = Setup({"video": 1})
    first, second = setup.enter(), setup.enter()
    assert setup.admitted == [first]
    setup.accepted(first)
    setup.limiter.release(first)
    assert setup.admitted == [first, second]
    setup.limiter.release(first)  # a second time it is nothing


async def test_a_refused_ticket_is_sent_again_by_the_clock() -> None:
    """The timer sends a probe after the pause; nobody has to call."""
    setup = Setup({"video": 1})
    ticket = setup.enter()
    setup.limiter.refused(ticket, drop=False)
    assert setup.admitted == [ticket]
    await asyncio.sleep(0.9)
    assert setup.admitted == [ticket]
    await asyncio.sleep(0.4)
    assert setup.admitted == [ticket, ticket]


async def test_leaving_lets_the_next_one_forward_a_moment_later() -> None:
    """A loop that is ending cancels all submits, and none of them may start a new create meanwhile."""
    setup = Setup({"image": 9})
    held = setup.enter(5, "image")
    heavy, light = setup.enter(9, "image"), setup.enter(2, "image")
    setup.limiter.leave(heavy)
    await settle()
    assert setup.admitted == [held]
    await asyncio.sleep(0.1)
    assert setup.admitted == [held, light]


async def test_requeue_withdrawn_unknown_occupy() -> None:
    """Each call frees or keeps the slots it should, and the queue moves on."""
    setup = Setup({"video": 2})
    tickets = [setup.enter() for _ in range(4)]
    setup.limiter.requeue(tickets[0], 3.0, drop=False, opens=True)
    assert setup.admitted == tickets[:2]
    await asyncio.sleep(3.1)
    assert setup.admitted == [*tickets[:2], tickets[0]]
    setup.limiter.free(tickets[0])
    assert setup.admitted[-1] is tickets[2]
    setup.limiter.unknown(tickets[2])
    await asyncio.sleep(1)
    assert setup.limiter.pool("video").held == 2 and tickets[3].phase is Phase.QUEUED
    found = setup.limiter.occupy("video", 1, 10.0, Claim(setup, tickets[0]).subject)
    assert setup.limiter.pool("video").held == 3 and found.phase is Phase.HELD


async def test_a_limit_that_shrinks_fails_what_can_never_fit() -> None:
    """Rule 4: queued requests heavier than a newly known limit fail, new ones at once."""
    setup = Setup()
    held = setup.enter(9, "image")
    heavy, light = setup.enter(6, "image"), setup.enter(2, "image")
    setup.limiter.resize("image", 4, "packs")
    assert [t for t, _ in setup.purged] == [heavy] and isinstance(setup.purged[0][1], RequestInvalid)
    with pytest.raises(RequestInvalid, match="has 4 in all"):
        setup.enter(5, "image")
    setup.limiter.free(held)
    assert setup.admitted == [held, light]


async def test_closing_one_pool_or_all() -> None:
    """Rule 5: each queued ticket gets an error of its own, a new one the same, until `reopen`."""
    setup = Setup({"video": 1, "image": 9})
    setup.enter()
    queued = setup.enter()
    setup.enter(1, "image")
    reason = KlingError("no")
    setup.limiter.close(reason, "video")
    assert [t for t, _ in setup.purged] == [queued] and setup.purged[0][1] is not reason
    with pytest.raises(KlingError, match="no"):
        setup.enter()
    setup.enter(1, "image")
    setup.limiter.close(reason)
    with pytest.raises(KlingError, match="no"):
        setup.enter(1, "image")
    setup.limiter.reopen()
    setup.enter(1, "image")


async def test_expired_slots_are_told() -> None:
    """Rule 1: the timer frees slots after max_task_life, with an event that names the create."""
    setup = Setup(life=50)
    ticket = setup.enter()
    setup.accepted(ticket, "mine")
    await asyncio.sleep(51)
    (event,) = setup.events.events
    assert (event.kind, event.external_task_id, event.pool) == ("slot_expired", "mine", "video")
    assert setup.limiter.pool("video").held == 0


async def test_contention_is_told_when_it_changes() -> None:
    """Listeners learn whether submits wait for a pool, once per change; a late one is told at once."""
    setup = Setup({"video": 1})
    setup.enter()
    assert setup.contention == []
    waiting = setup.enter(), setup.enter()
    assert setup.contention == [("video", True)]
    setup.limiter.subscribe(setup)
    assert setup.contention == [("video", True)] * 2
    for ticket in waiting:
        setup.limiter.leave(ticket)
    await asyncio.sleep(0.1)
    assert setup.contention[2:] == [("video", False)] * 2, "once for each subscription"


async def test_silent_once_the_client_is_closed() -> None:
    """No timer fires, and nothing is admitted."""
    setup = Setup({"video": 1})
    ticket = setup.enter()
    setup.limiter.refused(ticket, drop=False)
    setup.limiter.stop_timers()
    setup.scope.closed = True
    setup.limiter.release(ticket)
    await asyncio.sleep(100)
    assert setup.admitted == [ticket]
    with pytest.raises(ClientClosed):
        setup.scope.enter()


def unknown(setup: Setup, ticket: Ticket) -> None:
    """The create's answer is lost."""
    setup.limiter.unknown(ticket)


def found(setup: Setup, ticket: Ticket) -> None:
    """The task of a lost create is found."""
    setup.limiter.held_by(ticket, Claim(setup, ticket).subject)


def released(setup: Setup, ticket: Ticket) -> None:
    """The task has ended."""
    setup.limiter.release(ticket)


def freed(setup: Setup, ticket: Ticket) -> None:
    """The create surely made nothing."""
    setup.limiter.free(ticket)


def refused(setup: Setup, ticket: Ticket) -> None:
    """The account was full."""
    setup.limiter.refused(ticket, drop=False)


def left(setup: Setup, ticket: Ticket) -> None:
    """The caller left the queue."""
    setup.limiter.leave(ticket)


def refused_and_dropped(setup: Setup, ticket: Ticket) -> None:
    """The account was full, and the caller has left."""
    setup.limiter.refused(ticket, drop=True)


def put_off_and_dropped(setup: Setup, ticket: Ticket) -> None:
    """The create was too fast, and the caller has left."""
    setup.limiter.requeue(ticket, 1.0, drop=True, opens=True)


def pool_closed(setup: Setup, _: Ticket) -> None:
    """Another create closed the pool."""
    setup.limiter.close(KlingError("no"))


def client_closed(setup: Setup, _: Ticket) -> None:
    """The client fails all that queues."""
    setup.limiter.fail_queued(KlingError("closed"))


@pytest.mark.parametrize(
    "steps",
    [
        [Setup.accepted, released],
        [Setup.accepted],  # its slots expire
        [unknown],  # likewise
        [unknown, found, released],
        [unknown, freed],
        [freed],
        [refused_and_dropped],
        [put_off_and_dropped],
        [refused, left],
        [pool_closed, refused],
        [refused, client_closed],
    ],
    ids=lambda steps: ", ".join(step.__name__ for step in steps),
)
async def test_a_ticket_that_is_gone_is_forgotten(steps: list[Callable[[Setup, Ticket], None]]) -> None:
    """Whatever became of it: a client that lives for months keeps nothing of the tasks of its first day."""
    setup = Setup({"video": 1}, life=50)
    ticket = setup.enter()
    assert setup.admitted == [ticket]
    for step in steps:
        step(setup, ticket)
    await asyncio.sleep(60)
    assert ticket.phase is Phase.GONE
    gone = weakref.ref(ticket)
    setup.admitted.clear()
    setup.purged.clear()
    del ticket
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("limits", [{"video": 0}, {"video": -1}, {"video": True}, {"video": "5"}])
async def test_limits_must_be_whole_numbers(limits: dict[str, int]) -> None:
    """The error names the pool."""
    with pytest.raises(ConfigurationError, match="video"):
        Setup(limits)


def test_a_new_loop_finds_the_slots_but_not_the_queue() -> None:
    """Rule 17: submits queued in a loop that ended are gone; held slots stay held."""
    setups: list[Setup] = []

    async def first() -> None:
        setup = Setup({"video": 1}, life=100)
        setups.append(setup)
        held = setup.enter()
        setup.accepted(held)
        setup.enter()

    async def second() -> None:
        setup = setups[0]
        setup.scope.enter()
        pool = setup.limiter.pool("video")
        assert (pool.held, pool.queued) == (1, 0)

    asyncio.run(first())
    asyncio.run(second())
