"""orchestrator/submitter.py: listeners that raise what is no Exception damage no slot and lose no task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import clip, pair, settle

if TYPE_CHECKING:
    from kling_async.events import Event

pytestmark = pytest.mark.anyio


class Stop(BaseException):
    """Stands for SystemExit, which would end the tests."""


class Raising:
    """A listener that raises at the first event of a kind whose task it is told of.

    Args:
        kind: The kind.
        again: Raise at the second event of it.
    """

    def __init__(self, kind: str, *, again: bool) -> None:
        self.kind, self.left = kind, 1 + again
        self.raised = False

    def __call__(self, event: Event) -> None:
        self.left -= event.kind == self.kind
        if not self.left and not self.raised:
            self.raised = True
            raise Stop


FAULTS: dict[str, dict[str, Any]] = {
    "accepted": {},
    "full": {"code": 1303},
    "too fast": {"status": 429, "code": 1302},
    "rejected": {"code": 1201, "message": "prompt is empty"},
    "answer lost": {"kind": "lost_after"},
}
CASES = [
    (kind, again, fault)
    for kind in ("queued", "admitted", "created", "adopted", "refused", "left")
    for again in (False, True)
    for fault in FAULTS
]


@pytest.mark.parametrize(("kind", "again", "fault"), CASES)
async def test_a_listener_that_raises_at_any_event_damages_no_slot(
    kind: str, again: bool, fault: str
) -> None:
    """Whatever became of three submits: each caller returns, tasks are watched, and others get their turn."""
    listener = Raising(kind, again=again)
    options = {"on_event": listener, "limits": {"video": 1}}
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with pair({"video": 1}, seconds=20, client=options) as (emu, client):
        if FAULTS[fault]:
            emu.fault("create", **FAULTS[fault])
        submits = [asyncio.create_task(client.submit(clip())) for _ in range(3)]
        await settle()
        await asyncio.wait(submits, timeout=3600)
        assert all(submit.done() for submit in submits)
        await asyncio.sleep(60)
        await asyncio.gather(*(task.wait() for task in client.tasks()), return_exceptions=True)
        await client.run(clip("the next"))
        pool = client.account.limits()["video"]
        assert (pool.held, pool.queued, client.stats().in_flight, client.unresolved()) == (0, 0, 0, [])
        for submit in submits:
            submit.exception()


async def test_a_submit_whose_first_event_raises_never_enters_the_queue() -> None:
    """The exception is the caller's, as it was raised; there is no ticket to take back."""
    async with pair(client={"on_event": Raising("queued", again=False)}) as (emu, client):
        with pytest.raises(Stop):
            await client.submit(clip())
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.stats().in_flight) == (0, 0)


async def test_a_submit_whose_admission_raises_makes_no_task() -> None:
    """Its caller has the exception and awaits nothing any more: nothing is sent."""
    async with pair(client={"on_event": Raising("admitted", again=False)}) as (emu, client):
        with pytest.raises(Stop):
            await client.submit(clip())
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.stats().in_flight) == (0, 0)
        assert client.account.limits()["video"].held == 0
