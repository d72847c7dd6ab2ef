"""The virtual clock of the tests: time passes at once where nothing else can happen."""

from __future__ import annotations

import asyncio
import select
import selectors
from typing import Any, Final

import looptime

__all__ = ["new_event_loop"]

GRACE: Final = 0.0001
"""Seconds of real time that the system has, before each jump of the clock, to deliver what was sent over
loopback. That is at once, except on a machine under load, which also needs the processor for it."""


class _VirtualClockLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """An event loop with a virtual clock, except where it waits for its threads to end.

    looptime gives the system time by 42 empty turns of the loop before each jump, which took most of the
    processor time of many tests. Here the process sleeps instead.
    """

    def __init__(self) -> None:
        selector: Any = selectors.DefaultSelector()
        fileno = getattr(selector, "fileno", None)  # as those of Linux, macOS and BSD have
        self._events: int = -1 if fileno is None else fileno()
        can_rest = fileno is not None
        super().__init__(selector, **({"noop_cycles": 0} if can_rest else {}))
        self._compacted = selector.select
        self._rested = False
        """Whether the process has slept already before the jump that comes next."""
        if can_rest:
            selector.select = self._select

    def _select(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        """Return what can be read and written; with nothing in sight, let the clock jump, after a rest."""
        rests = timeout is not None and timeout > 0 and not self._rested
        if rests:
            select.select([self._events], [], [], GRACE)
        self._rested = rests
        ready: list[tuple[Any, Any]] = self._compacted(timeout)
        return ready

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads without a time limit.

        From 3.12 on `asyncio.Runner.close` gives them 300 s by the loop's clock, and the virtual one lets
        these pass at once: every thread still at work would be warned about.
        """
        await super().shutdown_default_executor()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop with a virtual clock."""
    return _VirtualClockLoop()
