"""Watch over the way to a database server: news between two errands, and the time that an errand takes.

No thread waits for the server: its connection is one of those that the loop listens to while no errand is
under way.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from kling_async.orchestrator.ledger.facts import LedgerPace  # noqa: TC001 - sphinx reads the annotation
from kling_async.runtime.boot_time import boot_time

if TYPE_CHECKING:
    import asyncio
    import weakref
    from collections.abc import Callable


__all__ = ["Watch"]

_LOOK: Final = 1.0
"""Seconds between two looks whether the server still answers: a connection may be cut without a sign."""


class Watch:
    """Watches over one process's way to the ledger, as far as it leads to a server.

    Loop and collector may hold it for longer than a client that was dropped: it holds nothing of that.

    Args:
        pace: Tells whether there is a lease, that is, a server.
        wake: Goes to the ledger at once.
    """

    def __init__(self, pace: LedgerPace, wake: weakref.ref[Callable[[], None]]) -> None:
        self.pace = pace
        self._wake = wake
        self._began = (0.0, 0.0)
        """(client's time, seconds asleep) when the errand under way began."""
        self._beat = (-float("inf"), 0.0)
        """The same of the last errand that reached the ledger."""
        self._look: asyncio.TimerHandle | None = None
        self._listening: tuple[asyncio.AbstractEventLoop, int] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, now: float, interrupt: Callable[[], None]) -> None:
        """Begin to take the time of an errand.

        Args:
            loop: The running loop.
            now: The client's time.
            interrupt: Ends an errand if the server does not answer.
        """
        self.end()
        self._began = now, _asleep()
        if self.pace.lease is not None:
            self._look_later(loop, interrupt)

    def _look_later(self, loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> None:
        def look() -> None:
            interrupt()
            self._look_later(loop, interrupt)

        self._look = loop.call_later(_LOOK, look)

    def listen(self, loop: asyncio.AbstractEventLoop, descriptor: int | None, *, reached: bool) -> None:
        """Listen for news: an errand is back.

        Args:
            loop: The running loop.
            descriptor: Of the connection; None: there is none.
            reached: Whether the errand reached the ledger.
        """
        self.end()
        if reached:
            self._beat = self._began
        if descriptor is not None:
            with contextlib.suppress(NotImplementedError):  # on Windows: news come with the next beat
                loop.add_reader(descriptor, self._on_news)
                self._listening = loop, descriptor

    def _on_news(self) -> None:
        self.end()
        wake = self._wake()
        if wake is not None:
            wake()

    def end(self) -> None:
        """Neither listen nor take the time."""
        if self._look is not None:
            self._look.cancel()
        listening, self._listening, self._look = self._listening, None, None
        if listening is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                listening[0].remove_reader(listening[1])

    def send_by(self) -> float | None:
        """Return until when a create may send its first byte, half a lease after the last sign of life."""
        if self.pace.lease is None:
            return None
        when, asleep = self._beat
        return when + self.pace.lease / 2 - (_asleep() - asleep)


def _asleep() -> float:
    """Return the seconds for which the machine was suspended, which the loop's clock leaves out."""
    return boot_time() - time.monotonic()
