"""orchestrator/submitter.py: the age of a task that was found after its create's answer was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import AmbiguousCreate, Retry
from kling_async.orchestrator.attempts import Attempts, EarlierAttempt
from kling_async.orchestrator.status_reader import record_of
from tests.support import clip, pair, until, wall_clock

if TYPE_CHECKING:
    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


async def found_at_once(emu: Emulator, client: Client) -> None:
    emu.fault("create", kind="lost_after")
    await client.submit(clip())


async def found_later(emu: Emulator, client: Client) -> None:
    emu.fault("create", kind="lost_after")
    emu.fault("query", code=5000, times=4)
    with pytest.raises(AmbiguousCreate):
        await client.with_options(retry=Retry(max_tries=1)).submit(clip())
    await until(client.tasks, step=1)


async def made_by_the_second_attempt(emu: Emulator, client: Client) -> None:
    emu.fault("create", kind="lost_before")
    emu.fault("create", kind="lost_after")
    await client.submit(clip())


@pytest.mark.parametrize("how", [found_at_once, found_later, made_by_the_second_attempt])
@pytest.mark.parametrize("hours", [-8, 0, 8, 24 * 365])
@pytest.mark.parametrize("created_at", [None, 0, 1_700_000_000_000, 9_000_000_000_000])
async def test_our_own_clock_tells_the_age_of_an_adopted_task(
    how: Any, hours: int, created_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever `created_at` or the local wall clock says: it is as old as the attempt that made it."""
    wall = wall_clock()
    loop = asyncio.get_running_loop()
    options = {"now": lambda: wall() + hours * 3600}
    async with pair(seconds=1000, client=options) as (emu, client):
        if created_at is not None:
            monkeypatch.setattr(
                "kling_async.orchestrator.lookup.record_of",
                lambda *of: msgspec.structs.replace(record_of(*of), created_at=created_at),
            )
        begun = loop.time()  # of the emulator, too
        await how(emu, client)
        (tracked,), (made,) = client._engine.poller, emu.tasks.values()
        assert tracked.started is not None
        age = client._engine.scope.time() - tracked.started
        assert age == pytest.approx(loop.time() - begun - made.created, abs=1)


@pytest.mark.parametrize(
    ("first_sent", "now", "age"),
    [(1000.0, 1060.0, 60.0), (1000.0, 900.0, 0.0), (1000.0, 1e9, 7200.0), (0.0, 5.0, None)],
    ids=["a minute", "set back", "years", "unknown"],
)
def test_an_attempt_of_an_earlier_run_is_as_old_as_the_note_of_it(
    first_sent: float, now: float, age: float | None
) -> None:
    """Our own wall clock wrote the note; a clock that was set since then is bounded."""
    attempts = Attempts(EarlierAttempt(first_sent))
    assert attempts.age(17.0, now) == age


def test_after_a_doubt_is_over_the_next_attempt_counts() -> None:
    """Sent again in doubt, the first attempt may have made it; looked for in vain, only the next can."""
    attempts = Attempts(None)
    attempts.begin(1e9)
    attempts.sending(10.0)
    attempts.lost()
    attempts.sending(20.0)
    assert attempts.age(30.0, 1e9) == 20.0
    attempts.cleared()
    attempts.sending(25.0)
    assert attempts.age(30.0, 1e9) == 5.0
