"""The virtual clock of the tests: time passes at once where nothing else can happen."""

from __future__ import annotations

import asyncio

import looptime

__all__ = ["new_event_loop"]


class _VirtualClockLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """An event loop with a virtual clock, except where it waits for its threads to end."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads without a time limit.

        From 3.12 on `asyncio.Runner.close` gives them 300 s by the loop's clock, and the virtual one lets
        these pass at once: every thread still at work would be warned about.
        """
        await super().shutdown_default_executor()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop with a virtual clock."""
    return _VirtualClockLoop()
