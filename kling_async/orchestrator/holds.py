"""Holds: tell of creates that wait because all like them were refused, to the log, to events, to batches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kling_async.core.breaker import HoldStep
from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kling_async.core.breaker import Hold, HoldChange
    from kling_async.core.queue import Kind, Ticket
    from kling_async.errors import KlingError
    from kling_async.events import Hooks
    from kling_async.runtime.loop import LoopScope

__all__ = ["HoldListener", "Holds"]

log = logging.getLogger("kling_async.orchestrator")


class HeldKinds(Protocol):
    """The holds of one pool (`core.breaker.Breakers`, or what a ledger says of them)."""

    def all_holds(self) -> list[Hold]:
        """Return the holds as they stand."""
        ...


class HoldingPool(Protocol):
    """A pool, as far as its holds are told."""

    @property
    def breakers(self) -> HeldKinds:
        """Its holds."""
        ...


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


class Holds:
    """The holds of a client, each told once: an event and a log line when it begins, and when it ends.

    Args:
        scope: The client's clock.
        hooks: Takes the events ``held`` and ``released``.
        host: The host that refuses.
        pools: Returns the pools in use.
    """

    def __init__(
        self, scope: LoopScope, hooks: Hooks, host: str, pools: Callable[[], Iterable[HoldingPool]]
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._host = host
        self._pools = pools
        self._listeners: list[HoldListener] = []

    def __iter__(self) -> Iterator[Hold]:
        """The holds as they stand."""
        return iter([hold for pool in self._pools() for hold in pool.breakers.all_holds()])

    def subscribe(self, listener: HoldListener) -> None:
        """Tell a listener of each hold that begins, goes on, or lasts; not of one that now wants a probe."""
        self._listeners.append(listener)
        for hold in self:
            if hold.probe_at > self._scope.time():
                listener.on_hold(hold.kind, hold.error)

    def unsubscribe(self, listener: HoldListener) -> None:
        """Tell a listener no more; harmless to repeat."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def reason(self, ticket: Ticket) -> str:
        """Say why a ticket waits though there may be slots; empty: its creates are not held."""
        return next((self._words(hold) for hold in self if hold.kind == ticket.kind), "")

    def _words(self, hold: Hold) -> str:
        return f"{hold.refusals} creates of {hold.kind} in a row were refused by {self._host}: {hold.refusal}"

    def changed(self, change: HoldChange) -> None:
        """Tell of a hold that began, goes on or has ended."""
        step, hold = change
        subject = _HeldCreates(_Place(hold.kind.endpoint, hold.kind.pool))
        if step is HoldStep.ENDED:
            self._hooks.emit("released", subject, detail=f"creates of {hold.kind} go again")
            return
        pause = f"one goes in {hold.probe_at - self._scope.time():.0f} s as a probe"
        if step is HoldStep.BEGUN:
            self._hooks.emit(
                "held",
                subject,
                error=type(hold.error).__name__,
                detail=f"{self._words(hold)}; others wait, {pause}, account.reopen() ends this: {hold.error}",
            )
        else:
            text = "creates of %s are still refused (%s): %s"
            log.info(text, hold.kind, hold.refusal, pause, extra=facts(subject))
        for listener in list(self._listeners):
            listener.on_hold(hold.kind, hold.error)
