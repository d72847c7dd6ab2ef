"""Test orchestrator/submitter.py: nothing is sent once more that another program may have taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.errors import JournalError
from kling_async.orchestrator.submission import SubmissionHooks
from tests.clock import new_event_loop
from tests.support import clip, pair, until

if TYPE_CHECKING:
    from kling_async.testing import Emulator


class Journaled(SubmissionHooks):
    """Hooks of a job that another program may take.

    Args:
        emu: The server.
        late: Whether the journal was reached too long ago, at each first byte.
        taken: At which check of the job it is another's; None: never.
    """

    def __init__(self, emu: Emulator, late: list[bool], taken: int | None) -> None:
        self._emu = emu
        self._late = late
        self._taken = taken
        self.checks = 0
        self.on_time = 0
        self.sent_before: int | None = None
        """Creates that the server had seen when the job was found taken."""

    def is_late(self) -> bool:
        """Tell the next of the script."""
        late = bool(self._late and self._late.pop(0))
        self.on_time += not late
        return late

    async def before_repeat(self) -> None:
        """Find that the job is another's, if it is."""
        self.checks += 1
        if self.checks - 1 == self._taken:
            self.sent_before = len(self._emu.ledger.creates)
            raise JournalError("another worker has this job", path="")


def repeats(lost: int, late: list[bool]) -> int:
    """Return how often something is sent once more, if nobody takes the job."""
    script = iter([*late, *[False] * (lost + 1)])
    return lost + sum(1 for _ in range(lost + 1) for _ in iter(lambda: next(script), False))


@given(
    lost=st.integers(0, 3),
    late=st.lists(st.booleans(), max_size=5),
    taken=st.none() | st.integers(0, 4),
)
@settings(max_examples=60)
def test_a_create_is_sent_only_while_its_job_is_ours(lost: int, late: list[bool], taken: int | None) -> None:
    """However many answers are lost, first bytes are late, and whenever the job is taken."""

    async def run() -> None:
        async with pair({"video": 2}, client={"limits": {"video": 2}}) as (emu, client):
            if lost:
                emu.fault("create", kind="lost_before", times=lost)
            hooks = Journaled(emu, list(late), taken)
            submission = await client._engine.new_submission(clip(), hooks=hooks)
            try:
                await client._engine.queue.submit(submission)
            except JournalError:
                assert taken is not None and taken < repeats(lost, late)
                assert len(emu.ledger.creates) == hooks.sent_before
                assert not emu.tasks  # a task that may exist is looked for before anything is repeated
                await until(lambda: client.account.limits()["video"].held == 0)
            else:
                assert taken is None or taken >= repeats(lost, late) == hooks.checks
                assert len(emu.tasks) == 1
            assert len(emu.ledger.creates) == hooks.on_time

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())


@pytest.mark.anyio
async def test_the_job_is_checked_before_each_repetition_alone() -> None:
    """The first send was just written down; after a late first byte, and in doubt, the job is checked."""
    async with pair() as (emu, client):
        for lost, late, checks in [(0, [], 0), (0, [True], 1), (1, [], 1), (1, [True, False, True], 3)]:
            if lost:
                emu.fault("create", kind="lost_before", times=lost)
            hooks = Journaled(emu, list(late), None)
            submission = await client._engine.new_submission(clip(), hooks=hooks)
            await client._engine.queue.submit(submission)
            assert hooks.checks == checks
