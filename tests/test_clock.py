"""tests/clock.py: the virtual clock runs ahead of everything but threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.clock import new_event_loop


@pytest.mark.real
def test_a_thread_at_work_is_waited_for_as_its_loop_ends() -> None:
    """However long it takes: the clock lets no time limit pass meanwhile, so that nothing is warned about."""
    ended: list[bool] = []

    def work() -> None:
        threading.Event().wait(0.1)
        ended.append(True)

    async def leave_it_behind() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(leave_it_behind())
    assert ended == [True]


def test_an_hour_passes_at_once() -> None:
    """On the loop's own clock."""

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - start

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(wait()) == pytest.approx(3600)
