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


def test_the_clock_waits_for_what_is_on_its_way_over_loopback() -> None:
    """An answer that takes no time comes before a timer that is due in a microsecond, every time."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()
        ended.set()

    async def talk() -> float:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        start = asyncio.get_running_loop().time()
        for number in range(300):
            writer.write(b"%d\n" % number)
            async with asyncio.timeout(1e-6):
                assert await reader.readline() == b"%d\n" % number
        writer.close()
        await writer.wait_closed()
        await ended.wait()
        server.close()
        return asyncio.get_running_loop().time() - start

    ended = asyncio.Event()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(talk()) == 0
