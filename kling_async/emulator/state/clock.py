"""The emulator's two times: the event loop's for what happens, wall time for dates and signatures."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Time since the emulator's start, and a wall time that advances with it.

    Both follow the event loop's clock, so that a virtual clock moves both.

    Args:
        now: Returns the true wall time; read at the start, and when another event loop takes over.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.skew = 0.0
        """Seconds by which the server's wall clock is ahead of the true one."""
        self._now = now
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_zero = self._wall_zero = 0.0

    def start(self) -> None:
        """Follow the running event loop; the time between two loops is taken from the wall clock.

        Raises:
            RuntimeError: The clock follows another event loop that still runs.
        """
        running = asyncio.get_running_loop()
        if self._loop is running:
            return
        stood = 0.0
        if self._loop is None:
            self._wall_zero = self._now()
        elif self._loop.is_running():
            raise RuntimeError("the emulator runs in another event loop")
        else:
            stood = max(self.time(), self._now() - self._wall_zero)
        self._loop, self._loop_zero = running, running.time() - stood

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that this clock follows."""
        if self._loop is None:
            raise RuntimeError("the emulator has not been started")
        return self._loop

    def time(self) -> float:
        """Return the seconds since the emulator's start."""
        return self.loop.time() - self._loop_zero

    def wall(self) -> float:
        """Return the server's wall time in seconds since 1970, skew included."""
        return self._wall_zero + self.time() + self.skew

    def wall_ms(self) -> int:
        """Return the server's wall time in ms since 1970, as the API writes times."""
        return int(self.wall() * 1000)

    def at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``callback`` at ``when``, in seconds since the emulator's start."""
        return self.loop.call_at(self._loop_zero + when, callback)

    def http_date(self) -> str:
        """Return the server's wall time in the format of the Date header."""
        return formatdate(self.wall(), usegmt=True)
