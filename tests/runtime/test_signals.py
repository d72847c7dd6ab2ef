"""Test runtime/signals.py: signals are heard where nobody else handles them; handlers are restored."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from kling_async.runtime.signals import SignalWatcher, _by_loop

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_are_reported_and_handlers_restored(number: signal.Signals) -> None:
    """SIGINT and SIGTERM are reported each time; afterwards the former handlers are back."""
    before = handlers()
    heard: list[str] = []
    done = asyncio.Event()

    def hear(name: str) -> None:
        heard.append(name)
        done.set()

    watcher = SignalWatcher(hear)
    watcher.start()
    for _ in range(2):
        done.clear()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(done.wait(), 5)
    watcher.stop()
    assert heard == [number.name] * 2
    assert handlers() == before


async def test_two_watchers_both_get_the_signal() -> None:
    """A watcher that stops leaves the other one listening; the last one restores the handlers."""
    before = handlers()
    heard: list[str] = []
    done = asyncio.Event()

    def hear(who: str) -> None:
        heard.append(who)
        done.set()

    first, second = SignalWatcher(lambda _: hear("first")), SignalWatcher(lambda _: hear("second"))
    first.start()
    second.start()
    for leaving in (first, second):
        done.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(done.wait(), 5)
        leaving.stop()
        leaving.stop()
    assert heard == ["first", "second", "second"]
    assert handlers() == before


async def test_somebody_else_s_handler_is_left_alone() -> None:
    """A web server with a SIGTERM handler of its own keeps it."""

    def own(*_: object) -> None:
        """Handle SIGTERM as a server would."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        watcher = SignalWatcher(lambda _: None)
        watcher.start()
        assert signal.getsignal(signal.SIGTERM) is own
        watcher.stop()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_handler_installed_meanwhile_stays() -> None:
    """A handler that replaced ours stays after the stop, and the loop is forgotten."""
    before = handlers()
    loop = asyncio.get_running_loop()
    watcher = SignalWatcher(lambda _: None)
    watcher.start()
    heard = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, heard.set)
    try:
        watcher.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(heard.wait(), 5)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    assert handlers() == before and loop not in _by_loop


def test_in_another_thread_nothing_is_touched() -> None:
    """Only the main thread can set handlers, so a watcher elsewhere sets none."""
    before = handlers()

    async def elsewhere() -> None:
        watcher = SignalWatcher(lambda _: None)
        watcher.start()
        watcher.stop()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    thread.join()
    assert handlers() == before


def test_the_handler_of_asyncio_run_counts_as_default() -> None:
    """The SIGINT handler that ``asyncio.run`` installs is replaced meanwhile and restored."""

    async def main() -> tuple[object, object, object]:
        first = signal.getsignal(signal.SIGINT)
        watcher = SignalWatcher(lambda _: None)
        watcher.start()
        between = signal.getsignal(signal.SIGINT)
        watcher.stop()
        return first, between, signal.getsignal(signal.SIGINT)

    first, between, last = asyncio.run(main())
    assert first == last != between
