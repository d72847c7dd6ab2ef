"""Turns: reads that wait until the rate of status queries lets them go, each kind in its own line."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from kling_async.core.schedule import Turns
    from kling_async.runtime.loop import LoopScope

__all__ = ["ReadTurns"]


class ReadTurns:
    """Reads beside the status queries of a poller; `core.schedule` decides whose turn it is.

    Args:
        scope: The loop.
        wake: Called when a read begins to wait.
    """

    def __init__(self, scope: LoopScope, wake: Callable[[], None]) -> None:
        self._scope = scope
        self._wake = wake
        self._lookups: deque[asyncio.Future[None]] = deque()
        self._refreshes: deque[asyncio.Future[None]] = deque()

    def waiting(self) -> tuple[int, int]:
        """Return how many look-ups and how many refreshes wait for their turn, at most."""
        return _length(self._lookups), _length(self._refreshes)

    async def lookup(self) -> None:
        """Wait until a look-up of a create in doubt may go; once the client is closing, at once."""
        await self._turn(self._lookups)

    async def refresh(self) -> None:
        """Wait until a refresh may go."""
        await self._turn(self._refreshes)

    async def _turn(self, line: deque[asyncio.Future[None]]) -> None:
        if self._scope.closed:  # creates in doubt have a few seconds left, and nobody else asks
            return
        turn: asyncio.Future[None] = self._scope.enter().create_future()
        line.append(turn)
        self._wake()
        await turn

    def admit(self, turns: Turns) -> None:
        """Let those go whose turn it is, each kind in the order in which they came."""
        for line, number in ((self._lookups, turns.lookups), (self._refreshes, turns.refreshes)):
            for _ in range(min(number, _length(line))):
                _admit_first(line)

    def release(self) -> None:
        """Let all look-ups go: the client is closing."""
        while _length(self._lookups):
            _admit_first(self._lookups)

    def clear(self) -> None:
        """Forget who waited in a loop that has ended."""
        self._lookups.clear()
        self._refreshes.clear()


def _length(line: deque[asyncio.Future[None]]) -> int:
    """Return how many wait in a line; 0 only if nobody does, for some may have left."""
    while line and not is_pending(line[0]):
        line.popleft()
    return len(line)


def _admit_first(line: deque[asyncio.Future[None]]) -> None:
    if _length(line):
        line.popleft().set_result(None)
