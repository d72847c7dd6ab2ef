"""Shared pools: the pools of the ledger, as this process last heard of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kling_async.core.pool_sizes import DEFAULTS
from kling_async.errors import ConfigurationError
from kling_async.orchestrator.holds import Holds
from kling_async.orchestrator.ledger.shared_pool import SharedPool
from kling_async.orchestrator.ledger.steps import Close, Hint, PoolFacts, Reopen, Resize
from kling_async.orchestrator.pool_limits import checked_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.core.pool_sizes import LimitSource
    from kling_async.core.queue import Ticket
    from kling_async.errors import KlingError
    from kling_async.events import Hooks
    from kling_async.options import SlotOptions
    from kling_async.orchestrator.contention import ContentionListener
    from kling_async.orchestrator.ledger.steps import Step, Synced
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["SharedPools"]


class SharedPools:
    """The pools of one account in a ledger, and what this process queues for them.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the events ``held`` and ``released``.
        options: Sizes of pools, and how long a slot counts.
        host: The host that creates are sent to.
        post: Says a step to the ledger.
    """

    shared = True

    def __init__(
        self, scope: LoopScope, hooks: Hooks, options: SlotOptions, host: str, post: Callable[[Step], None]
    ) -> None:
        self._scope = scope
        self._post = post
        limits = checked_limits(options.limits or {})
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}
        self.life = options.max_task_life
        self._pools: dict[str, SharedPool] = {}
        self._listeners: list[ContentionListener] = []
        self.holds = Holds(scope, hooks, host, lambda: list(self._pools.values()))

    def subscribe(self, listener: ContentionListener) -> None:
        """Tell a listener whenever submits of this process begin or cease to wait for a pool."""
        self._listeners.append(listener)

    @property
    def pools(self) -> Mapping[str, SharedPool]:
        """All pools used so far."""
        return self._pools

    def pool(self, name: str) -> SharedPool:
        """Return a pool, made when first asked for."""
        pool = self._pools.get(name)
        if pool is None:
            source: LimitSource = "caller" if name in self._limits else "default"
            limit = self._limits.get(name, DEFAULTS.get(name, 1))
            facts = PoolFacts(limit, source, limit, 0, 0, None, math.inf, math.inf)
            pool = self._pools[name] = SharedPool(name, facts)
        return pool

    def why_held(self, ticket: Ticket) -> str:
        """Return why creates like this one are held, empty if they are not."""
        return self.holds.reason(ticket)

    def position(self, ticket: Ticket) -> int | None:
        """Return how many tickets go before one that waits, about; None for any other."""
        pool = self._pools.get(ticket.pool)
        return None if pool is None else pool.position(ticket)

    @property
    def queued(self) -> int:
        """How many tickets of this process wait."""
        return sum(pool.queued_here for pool in self._pools.values())

    def oldest_wait(self) -> float:
        """Return the seconds since the ticket of this process entered that waits longest; 0 if none does."""
        entered = [ticket.entered for pool in self._pools.values() for ticket in pool.ahead]
        return self._scope.time() - min(entered) if entered else 0.0

    # -- what the caller, the packs and the vendor say

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Take sizes from the caller, for all processes; None: forget the caller's."""
        for name, limit in limits.items():
            if limit is not None:
                self._resize(Resize(name, limit, "caller"))
            elif self.pool(name).source == "caller":
                self._resize(Resize(name, DEFAULTS.get(name, 1), "default", forced=True))

    def _resize(self, step: Resize) -> None:
        pool = self.pool(step.pool)
        pool.facts = pool.facts._replace(limit=step.limit, source=step.source)
        self._post(step)

    def resize(self, name: str, limit: int, source: LimitSource) -> None:
        """Take what the packs say; a caller's limit stays, a guess does not undo what was learned."""
        pool = self.pool(name)
        if pool.source == "caller" or (source == "default" and pool.source == "learned"):
            return
        self._resize(Resize(name, limit, source))

    def close(self, error: KlingError, name: str | None = None) -> None:
        """Close one pool, or all: what queues there fails with that error."""
        for pool in [self.pool(name)] if name else list(self._pools.values()):
            pool.facts = pool.facts._replace(closed=error, half_open_at=math.inf)
        self._post(Close(error, name))

    def reopen(self, name: str | None = None) -> None:
        """Let creates through again at once.

        Raises:
            ConfigurationError: No such pool was used.
        """
        if name is not None and name not in self._pools:
            in_use = ", ".join(self._pools) or "none"
            raise ConfigurationError(f"no pool {name!r} in use; there are {in_use}")
        for pool in [self.pool(name)] if name else list(self._pools.values()):
            pool.facts = pool.facts._replace(closed=None, half_open_at=math.inf)
        self._post(Reopen(name))

    # -- what the ledger is told, and says

    def hint(self, *names: str, record: TaskRecord | None = None) -> None:
        """Tell other processes that a task of these ids may have changed, perhaps as a callback shows it."""
        if names:
            self._post(Hint(names, record))

    def curious(self) -> bool:
        """Tell whether any pool is in use or closed, as far as heard."""
        known = [pool.facts for pool in self._pools.values()]
        return any(facts.held or facts.queued or facts.closed for facts in known)

    def _hear_pools(self, synced: Synced) -> None:
        for name, facts in synced.pools.items():
            for change in self.pool(name).hear(facts, self._scope.time() - synced.now):
                self.holds.changed(change)

    def _tell_contention(self, pool: SharedPool) -> None:
        contended = pool.queued_here > 0
        if contended != pool.contended and not self._scope.closed:
            pool.contended = contended
            for listener in self._listeners:
                listener.on_contention(pool.name, contended)
