"""Holds: tell of creates that wait because all like them were refused, to the log, to events, to batches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kling_async.core.breaker import HoldStep
from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.core.breaker import Hold, HoldChange
    from kling_async.core.queue import Kind
    from kling_async.errors import KlingError
    from kling_async.events import Hooks

__all__ = ["HoldListener", "HoldNotices"]

log = logging.getLogger("kling_async.orchestrator")


class HoldListener(Protocol):
    """A part of the program that acts when creates are held."""

    def on_hold(self, kind: Kind, error: KlingError) -> None:
        """Note that creates of this endpoint and model wait, since all were refused with that error."""


class _Place(NamedTuple):
    """The endpoint of a hold."""

    name: str
    pool: str


class _HeldCreates(NamedTuple):
    """The creates of one endpoint and model, as the subject of an event."""

    endpoint: _Place
    external_task_id: None = None
    task_id: None = None


class HoldNotices:
    """Tells of each hold once: a warning and an event when it begins, another when it ends.

    Args:
        hooks: Takes the events ``held`` and ``released``.
        host: The host that refuses.
    """

    def __init__(self, hooks: Hooks, host: str) -> None:
        self._hooks = hooks
        self._host = host
        self._listeners: list[HoldListener] = []

    def subscribe(self, listener: HoldListener, holds: Iterable[Hold]) -> None:
        """Tell a listener of these holds at once, then of those that begin or go on."""
        self._listeners.append(listener)
        for hold in holds:
            listener.on_hold(hold.kind, hold.error)

    def unsubscribe(self, listener: HoldListener) -> None:
        """Tell a listener no more; harmless to repeat."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def words(self, hold: Hold) -> str:
        """Say who refuses what, how often."""
        return f"{hold.refusals} creates of {hold.kind} in a row were refused by {self._host}: {hold.refusal}"

    def changed(self, change: HoldChange, now: float) -> None:
        """Tell of a hold that began, goes on or has ended."""
        step, hold = change
        subject = _HeldCreates(_Place(hold.kind.endpoint, hold.kind.pool))
        if step is HoldStep.ENDED:
            self._hooks.emit("released", subject, detail=f"creates of {hold.kind} go again")
            return
        pause = f"one goes in {hold.probe_at - now:.0f} s as a probe"
        if step is HoldStep.BEGUN:
            self._hooks.emit(
                "held",
                subject,
                error=type(hold.error).__name__,
                detail=f"{self.words(hold)}; others wait, {pause}, account.reopen() ends this: {hold.error}",
            )
        else:
            text = "creates of %s are still refused (%s): %s"
            log.info(text, hold.kind, hold.refusal, pause, extra=facts(subject))
        for listener in list(self._listeners):
            listener.on_hold(hold.kind, hold.error)
