"""Draining: before a client is closed, let what is under way end, while nothing more is admitted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from kling_async.errors import ClientClosed
from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.orchestrator.poller import Poller
    from kling_async.orchestrator.queueing import SubmitQueue
    from kling_async.runtime.loop import DownloadSlots, LoopScope

__all__ = ["DrainedClient", "drain"]

log = logging.getLogger("kling_async")

_LOOK: Final = 0.05
"""Seconds between two looks at what is under way."""
_QUIET: Final = 5
"""Looks in a row that must find nothing: a program that was woken by the end of a task has begun by then what
it does next, such as its download."""


class DrainedClient(Protocol):
    """The parts of a client that have an end to wait for (`kling_async.orchestrator.engine.Engine`)."""

    @property
    def scope(self) -> LoopScope:
        """The loop and the clocks."""
        ...

    @property
    def queue(self) -> SubmitQueue:
        """The submissions that wait for slots, and the creates on their way."""
        ...

    @property
    def pollers(self) -> Iterable[Poller]:
        """The tasks that are waited for."""
        ...

    @property
    def download_slots(self) -> DownloadSlots:
        """The files that are fetched."""
        ...


async def drain(client: DrainedClient, grace: float) -> None:
    """Admit nothing more; return once nothing is under way, or the client was closed.

    Under way are creates, waits for running tasks, downloads and streams. What queues, and what is submitted
    from now on, fails with `ClientClosed`.

    Args:
        client: It stays open, but for its queue.
        grace: Longest time in seconds.
    """
    if client.scope.closed:
        return
    client.scope.refresh()
    client.queue.stop(ClientClosed("the client is being closed; nothing was sent"))
    looks = 0
    with anyio.move_on_after(grace) as limit:
        while looks < _QUIET and not client.scope.closed:
            await anyio.sleep(_LOOK)
            looks = 0 if _under_way(client) else looks + 1
    if limit.cancelled_caught and (left := _under_way(client)):
        log.warning("the client is closed after %g s of grace, with %s", grace, left, extra=facts())


def _under_way(client: DrainedClient) -> str:
    """Return in words what has not ended, empty if all has."""
    waits = sum(bool(tracked.waiters) for poller in client.pollers for tracked in poller)
    counts = {"creates on their way": client.queue.in_flight, "tasks that are waited for": waits}
    words = [f"{count} {name}" for name, count in counts.items() if count]
    if client.download_slots.busy:
        words.append("downloads")
    return ", ".join(words)
