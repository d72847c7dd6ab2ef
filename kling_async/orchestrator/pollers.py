"""Pollers: all pollers of an account, made and freed as clients come to use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from kling_async.core.callbacks import CallbackChannels
from kling_async.orchestrator.contention import ContentionListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.options import Polling, Retry, Timeouts
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.runtime.loop import LoopScope

__all__ = ["PollerFactory", "Pollers", "PollsTasks"]


class PollsTasks(ContentionListener, Protocol):
    """A poller (`kling_async.orchestrator.poller.Poller`), as far as it is kept here."""

    def on_loop_replaced(self) -> None:
        """Start anew in another loop."""


P = TypeVar("P", bound=PollsTasks)
P_co = TypeVar("P_co", bound=PollsTasks, covariant=True)


class PollerFactory(Protocol[P_co]):
    """Makes a poller."""

    def __call__(self, polling: Polling, retry: Retry, timeouts: Timeouts, home: Any, /) -> P_co:
        """Return a new poller with these settings."""
        ...


class Pollers(Generic[P]):
    """The pollers of one account: one for each `Polling` in use, however many clients use it.

    A poller that no client uses any more is freed once its last task was seen ended.

    Args:
        scope: The client's loop and clock.
        limiter: Tells which pools submits queue for.
        new_poller: Makes a poller.
    """

    def __init__(self, scope: LoopScope, limiter: SlotKeeper, new_poller: PollerFactory[P]) -> None:
        self._new_poller = new_poller
        self.channels = CallbackChannels()
        """The receivers of callbacks."""
        self._contended: set[str] = set()
        self._busy: set[P] = set()
        """Pollers with tasks not seen ended, which must live on without a client."""
        self._pollers: WeakValueDictionary[Polling, P] = WeakValueDictionary()
        limiter.subscribe(self)
        scope.subscribe(self)

    def __iter__(self) -> Iterator[P]:
        """All pollers in use."""
        return iter(list(self._pollers.values()))

    def subscribe(self, listener: ContentionListener) -> None:
        """Tell a new poller which pools submits queue for; it hears of changes while it lives."""
        for pool in self._contended:
            listener.on_contention(pool, True)

    def keep(self, poller: P, busy: bool) -> None:
        """Take whether a poller has tasks not seen ended: then it lives on though no client uses it."""
        (self._busy.add if busy else self._busy.discard)(poller)

    def on_contention(self, pool: str, contended: bool) -> None:
        """Note whether submits queue for the slots of a pool, and tell the pollers."""
        (self._contended.add if contended else self._contended.discard)(pool)
        for poller in self:
            poller.on_contention(pool, contended)

    def on_loop_replaced(self) -> None:
        """Have the pollers start anew in another loop."""
        for poller in self:
            poller.on_loop_replaced()

    def obtain(self, polling: Polling, retry: Retry, timeouts: Timeouts) -> P:
        """Return the poller of these settings, made when first asked for."""
        poller = self._pollers.get(polling)
        if poller is None:
            poller = self._pollers[polling] = self._new_poller(polling, retry, timeouts, self)
        return poller
