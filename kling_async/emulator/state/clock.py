"""The emulator's two times: the loop's for what happens, the wall's for what is written and signed."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Wall time moves with the loop's time, so that a virtual clock moves both; ``skew`` shifts the wall."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.skew = 0.0
        """Seconds by which the server's wall clock is ahead of the true one."""
        self._now = now
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_zero = self._wall_zero = 0.0

    def start(self) -> None:
        """Tie the wall clock to the running loop's clock; after a loop that ended, go on by the wall clock.

        Raises:
            RuntimeError: it is tied to another loop that still runs.
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
        """The loop this clock was started on."""
        if self._loop is None:
            raise RuntimeError("the emulator has not been started")
        return self._loop

    def time(self) -> float:
        """Seconds since the start, by the loop's clock."""
        return self.loop.time() - self._loop_zero

    def wall(self) -> float:
        """Seconds since 1970, by the server's own idea of them."""
        return self._wall_zero + self.time() + self.skew

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as the API writes them."""
        return int(self.wall() * 1000)

    def at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at a time of `time`."""
        return self.loop.call_at(self._loop_zero + when, callback)

    def http_date(self) -> str:
        """Return the wall time in the form of the Date header."""
        return formatdate(self.wall(), usegmt=True)
