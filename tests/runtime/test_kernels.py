"""Kernels: the tick that lets an interrupted cell notice it, and only in a kernel, while a client is open."""

from __future__ import annotations

import asyncio
import sys
import warnings
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from kling_async import KlingWarning
from kling_async.runtime import kernels
from tests.clock import new_event_loop
from tests.support import pair, still

pytestmark = pytest.mark.anyio


def kernel(*, running: bool = True) -> Any:
    """Make a module of ipykernel's whose kernel runs, or was only imported."""
    return SimpleNamespace(IPKernelApp=SimpleNamespace(initialized=lambda: running))


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of all ticks, in what looks like a kernel."""
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", kernel())
    times: list[float] = []
    tick = kernels._tick

    def noted(loop: asyncio.AbstractEventLoop) -> None:
        times.append(loop.time())
        tick(loop)

    monkeypatch.setattr(kernels, "_tick", noted)
    return times


async def test_the_loop_of_a_kernel_ticks_while_a_client_is_open(ticks: list[float]) -> None:
    """Once a second, however many clients; no more once all are closed."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with pair(seconds=30) as (emu, client), pair() as (_, other):
        del emu
        await other.run(still())
        await client.run(still())
        gaps = [after - before for before, after in pairwise(ticks)]
        assert gaps and max(gaps) == pytest.approx(1.0) and min(gaps) == pytest.approx(1.0)
        assert len(ticks) >= 0.9 * (loop.time() - began)
    await asyncio.sleep(1.5)
    number = len(ticks)
    await asyncio.sleep(60)
    assert len(ticks) == number
    assert loop not in kernels._awake


async def test_a_client_that_is_dropped_ends_the_ticks(ticks: list[float]) -> None:
    """The tick keeps no client alive, and ends when none is left."""

    class Scope:
        closed = False

    scope = Scope()
    kernels.keep_awake(asyncio.get_running_loop(), scope)
    await asyncio.sleep(2.5)
    del scope
    await asyncio.sleep(60)
    assert len(ticks) == 3


@pytest.mark.parametrize("module", [None, kernel(running=False), SimpleNamespace()])
async def test_elsewhere_nothing_ticks(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that only imports ipykernel is no kernel; nor is one whose module is another."""
    if module is None:
        monkeypatch.delitem(sys.modules, "ipykernel.kernelapp", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", module)
    async with pair() as (_, client):
        await client.run(still())
        assert asyncio.get_running_loop() not in kernels._awake
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernels.show_warning("of a client that was dropped")


def test_a_warning_is_shown_in_a_kernel(ticks: list[float]) -> None:
    """Logging is silent there unless it is set up, a warning stands below the cell."""
    with pytest.warns(KlingWarning, match="dropped"):
        kernels.show_warning("a client was dropped")


def test_each_loop_of_a_kernel_ticks(ticks: list[float]) -> None:
    """A loop that replaces another gets a tick of its own; the old one's ends with it."""

    class Scope:
        closed = False

    scope = Scope()

    async def wait() -> None:
        kernels.keep_awake(asyncio.get_running_loop(), scope)
        await asyncio.sleep(3.5)

    for n in (1, 2):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(wait())
        assert len(ticks) == 3 * n
