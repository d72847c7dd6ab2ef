"""Scheduling of tracked tasks: the facts about a task that the schedule of status queries needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kling_async.core.callbacks import ExpectedCallback
from kling_async.core.vendor_clock import VendorClock

if TYPE_CHECKING:
    from kling_async.core.callbacks import CallbackChannels
    from kling_async.core.schedule import Schedule
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.runtime.loop import LoopScope

__all__ = ["TaskScheduling", "receiver_of"]


class TaskScheduling:
    """Adds tracked tasks to a schedule: when each began, what its duration depends on, who is called back.

    Args:
        scope: The clocks.
        channels: The receivers of callbacks.
    """

    def __init__(self, scope: LoopScope, channels: CallbackChannels) -> None:
        self._scope = scope
        self._channels = channels
        self._clock = VendorClock()

    def seen(self, date: float | None) -> None:
        """Take the Date of an answer that came just now; None: it had none."""
        self._clock.seen(date, self._scope.now())

    def add(self, schedule: Schedule, task: TrackedTask, *, at_once: bool) -> None:
        """Add a task; with ``at_once`` it is asked about as soon as the rates allow."""
        endpoint, request = task.endpoint, task.request
        kind = "attached" if request is None else endpoint.kind(request)
        schedule.add(
            task,
            pool=endpoint.pool,
            path=endpoint.path,
            kind=(endpoint.name, kind),
            median=endpoint.median,
            now=self._scope.time(),
            weight=1 if request is None else max(1, endpoint.weight(request)),
            started=self.started(task),
            at_once=at_once,
            callback=self._callback(task),
        )

    def started(self, task: TrackedTask) -> float:
        """Return when a task began, by the client's clock."""
        if task.started is not None:
            return task.started
        started = self._scope.time() - self._clock.age(task.record, self._scope.now())
        task.started = None if task.record is None else started
        return started

    def _callback(self, task: TrackedTask) -> ExpectedCallback | None:
        receiver = receiver_of(task.callback_url or "")
        return ExpectedCallback(self._channels.channel(receiver), task.id) if receiver else None

    def told_late(self, task: TrackedTask) -> None:
        """Take a callback about a task that is known to have ended."""
        self._channels.told_late(task.id, self._scope.time())


def receiver_of(callback_url: str) -> str:
    """Return the host and port of an address, which stand for a receiver; "" if there are none.

    Paths and queries may hold a token, or differ from task to task; a user's name and password are left out.
    """
    match = re.match(r"https?://(?:[^/?#]*@)?([^/?#]+)", callback_url, re.IGNORECASE)
    return match[1].lower() if match else ""
