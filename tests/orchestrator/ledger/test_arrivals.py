"""Rule 19: which time of arrival counts for a ticket, so that nobody shuts the others out."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.queue import Ticket
from kling_async.orchestrator.ledger.shared_pool import SharedPool
from kling_async.orchestrator.ledger.steps import PoolFacts
from tests.orchestrator.ledger.test_clients import clients
from tests.support import clip, until

if TYPE_CHECKING:
    from pathlib import Path

FACTS = PoolFacts(5, "caller", 5, 0, 0, None, math.inf, math.inf)


def arrive(pool: SharedPool, now: float) -> Ticket:
    ticket = Ticket(1)
    ticket.sequence = pool.arrival(now)
    pool.put(ticket)
    return ticket


def test_whoever_queues_much_at_once_counts_as_coming_one_by_one() -> None:
    """Eight at once, then four a second."""
    pool = SharedPool("video", FACTS)
    arrivals = [arrive(pool, 10.0).sequence / 1e9 for _ in range(12)]
    assert [round(when, 3) for when in arrivals] == [*[10.0] * 8, 10.25, 10.5, 10.75, 11.0]


def test_nothing_is_held_against_a_process_that_queues_nothing_more() -> None:
    """A thousand that were served long before their time do not delay the next one."""
    pool = SharedPool("video", FACTS)
    for ticket in [arrive(pool, 0.0) for _ in range(1000)]:
        pool.take(ticket)
    assert arrive(pool, 20.0).sequence == 20_000_000_000


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), max_size=60))
def test_a_process_s_own_are_first_come_first_served(steps: list[tuple[float, int]]) -> None:
    """However many come and go: who waits goes before whoever comes, and nobody counts as early."""
    pool, now, waiting = SharedPool("video", FACTS), 100.0, list[Ticket]()
    for passed, served in steps:
        now += passed
        for _ in range(min(served, len(waiting))):
            pool.take(waiting.pop(0))
        ticket = arrive(pool, now)
        assert all(other.sequence < ticket.sequence for other in waiting)
        assert ticket.sequence >= int(now * 1e9)
        waiting.append(ticket)


@pytest.mark.real
@pytest.mark.anyio
async def test_a_place_is_told_as_it_is_over_all_processes(tmp_path: Path) -> None:
    """From the first moment it counts what others queue, and it only falls while nobody urgent comes."""
    async with clients(tmp_path, slots=1, seconds=0.6, limits={"video": 1}) as (_, (a, b)):
        tasks = [await a.enqueue(clip(f"a{n}")) for n in range(8)]
        await until(lambda: a.account.limits()["video"].queued == 7, 5)
        mine = await b.enqueue(clip("b"))
        seen: list[int] = []
        await until(lambda: (mine.position or 0) > 2, 5, step=0.01)
        while mine.status == "queued":
            if mine.position is not None and seen[-1:] != [mine.position]:
                seen.append(mine.position)
            await asyncio.sleep(0.02)
        assert seen == sorted(seen, reverse=True)
        assert len(seen) > 1
        for task in (*tasks, mine):
            await asyncio.wait_for(task.wait(), 10)
