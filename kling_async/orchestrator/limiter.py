"""Drives the pools: admits what `core.admission` says, keeps its timers, tells who queues.

This is the ledger of slots as the rest sees it, and all calls go through these few methods, so that a ledger
shared between processes can stand in their place later.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from kling_async.core.admission import Pool, Ticket
from kling_async.core.pool_sizes import DEFAULTS, POOLS
from kling_async.errors import ConfigurationError, KlingError, Problem, RequestInvalid
from kling_async.events import facts
from kling_async.runtime.loop import Timer
from kling_async.wire.checks import warn_once

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from kling_async.events import Hooks
    from kling_async.runtime.loop import LoopScope

__all__ = ["Limiter"]

log = logging.getLogger("kling_async.orchestrator")

_MOMENT: Final = 0.05


class Limiter:
    """The slots of one account, as this process sees them."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        rng: random.Random,
        *,
        limits: Mapping[str, int] | None,
        life: float,
        gate: bool,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._rng = rng
        self._life = life
        self._gate = gate
        self._limits = dict(limits or {})
        for name in self._limits.keys() - POOLS:  # a `RawTask` may name a pool of its own
            warn_once(f"limits[{name!r}] is none of the pools known here: {', '.join(POOLS)}")
        for name, limit in self._limits.items():
            if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                raise ConfigurationError(f"limits[{name!r}] is {limit!r}; use a whole number above 0")
        self._pools: dict[str, Pool] = {}
        self._alarms: dict[str, Timer] = {}
        self._noted: dict[str, tuple[int, str, bool]] = {}
        """What the log last said of each pool: limit, source, whether it is closed."""
        self.on_admit: Callable[[Ticket], None] = lambda _: None
        self.on_purged: Callable[[Ticket, KlingError], None] = lambda _, __: None
        self.on_crowd: list[Callable[[str, bool], None]] = []
        """Told whether anybody queues for a pool, whenever that may have changed."""
        scope.on_loop_replaced.append(self._moved)

    def pool(self, name: str) -> Pool:
        """Return a pool, made when first asked for."""
        pool = self._pools.get(name)
        if pool is None:
            limit, source = self._limits.get(name), "caller"
            if limit is None:
                limit, source = DEFAULTS.get(name, 1), "default"
            pool = Pool(name, limit, source=source, life=self._life, gate=self._gate)
            self._pools[name] = pool
            self._noted[name] = limit, source, False
            self._alarms[name] = Timer(self._scope, lambda now: self._pump(pool, now))
        return pool

    @property
    def pools(self) -> Mapping[str, Pool]:
        """All pools used so far."""
        return self._pools

    def enter(self, name: str, ticket: Ticket) -> None:
        """Queue for slots; ``on_admit`` is called when they are taken, perhaps at once.

        Raises:
            KlingError: The pool is closed: the error that closed it.
            RequestInvalid: The pool can never hold that many.
        """
        pool = self.pool(name)
        if not pool.fits_ever(ticket.weight):
            raise too_heavy(pool, ticket)
        error = pool.enter(ticket, self._scope.time())
        if error is not None:
            raise error.again()
        if pool.queued == 1 or pool.is_next(ticket):  # else it changes nothing for anybody
            self._pump(pool)

    def leave(self, name: str, ticket: Ticket) -> None:
        """Queue no longer.

        Those behind are let forward a moment later: if everybody is being cancelled because the loop ends,
        nothing new must be started in it.
        """
        self.pool(name).leave(ticket)
        self._alarms[name].advance(self._scope.time() + _MOMENT)

    def accepted(self, name: str, ticket: Ticket) -> None:
        """The create made a task, which now holds the slots."""
        pool = self.pool(name)
        pool.accepted(ticket, self._scope.time())
        self._pump(pool)

    def refused(self, name: str, ticket: Ticket, *, drop: bool) -> None:
        """1303: the ticket is back in its place, unless dropped or the pool no longer takes it."""
        pool = self.pool(name)
        returned = pool.refused(ticket, self._scope.time(), self._rng.random(), drop=drop)
        self._returned(pool, ticket, returned or drop)

    def requeue(self, name: str, ticket: Ticket, after: float, *, drop: bool, opens: bool) -> None:
        """The create was surely not made: back in its place, the pool waits ``after`` seconds."""
        pool = self.pool(name)
        returned = pool.requeue(ticket, self._scope.time(), after, drop=drop, opens=opens)
        self._returned(pool, ticket, returned or drop)

    def _returned(self, pool: Pool, ticket: Ticket, returned: bool) -> None:
        """Fail what came back to a pool that has closed or shrunk meanwhile; go on."""
        if not returned:
            self.on_purged(ticket, too_heavy(pool, ticket) if pool.closed is None else pool.closed.again())
        self._pump(pool)

    def withdrawn(self, name: str, ticket: Ticket, *, opens: bool = True) -> None:
        """The create was refused for its own sake."""
        pool = self.pool(name)
        pool.withdrawn(ticket, opens=opens)
        self._pump(pool)

    def unknown(self, name: str, ticket: Ticket) -> None:
        """The create's fate is unknown: its slots stay held."""
        self.pool(name).unknown(ticket, self._scope.time())
        self._alarms[name].advance(self._scope.time() + _MOMENT)

    def resume(self, name: str, ticket: Ticket) -> bool:
        """A create whose fate was looked up is sent again in the slots it holds; False if it has none."""
        return self.pool(name).resume(ticket, self._scope.time())

    def occupy(self, name: str, weight: int, age: float, owner: object) -> Ticket:
        """A running task that was not created here holds slots too."""
        ticket = Ticket(weight, owner=owner)
        pool = self.pool(name)
        pool.occupy(ticket, self._scope.time(), age)
        self._pump(pool)
        return ticket

    def release(self, name: str, ticket: Ticket) -> None:
        """The task was seen ended, or given up: its slots are free."""
        pool = self.pool(name)
        if pool.release(ticket, self._scope.time()):
            self._pump(pool)

    def resize(self, name: str, limit: int, source: str) -> None:
        """Take what the packs say; a caller's limit stays, a guess does not undo what was learned."""
        pool = self.pool(name)
        if pool.source == "caller" or (source == "default" and pool.source == "learned"):
            return
        for ticket in pool.resize(limit, source):
            self.on_purged(ticket, too_heavy(pool, ticket))
        self._pump(pool)

    def close(self, error: KlingError, name: str | None = None) -> None:
        """Close one pool, or all: what queues there fails with that error."""
        for pool in [self.pool(name)] if name else list(self._pools.values()):
            for ticket in pool.close(error, self._scope.time()):
                self.on_purged(ticket, error.again())
            self._pump(pool)

    def reopen(self, name: str | None = None) -> None:
        """Let creates through again at once.

        Raises:
            ConfigurationError: No such pool was used.
        """
        if name is not None and name not in self._pools:
            raise ConfigurationError(f"no pool {name!r} in use; there are {', '.join(self._pools) or 'none'}")
        for pool in [self.pool(name)] if name else list(self._pools.values()):
            pool.reopen()
            self._pump(pool)

    def silence(self) -> None:
        """Set no more timers: the client is closed."""
        for alarm in self._alarms.values():
            alarm.clear()

    def _pump(self, pool: Pool, now: float | None = None) -> None:
        if self._scope.closed:
            return
        now = self._scope.time() if now is None else now
        self._note(pool)
        for ticket in pool.expire(now):
            detail = f"not seen ended in {pool.life:g} s, its slots count no longer"
            self._hooks.emit("slot_expired", ticket.owner, detail=detail)
        for ticket in pool.admit(now):
            self.on_admit(ticket)
        self._alarms[pool.name].set(pool.next_time())
        for listener in self.on_crowd:
            listener(pool.name, pool.queued > 0)

    def _note(self, pool: Pool) -> None:
        """Log what has changed of the pool as such, whatever changed it."""
        limit, source, closed = self._noted[pool.name]
        state = pool.limit, pool.source, pool.closed is not None
        if state == (limit, source, closed):
            return
        self._noted[pool.name] = state
        known = facts(pool=pool.name)
        if pool.closed is not None and not closed:
            log.info("pool %s is closed: %s", pool.name, pool.closed, extra=known)
        elif pool.closed is None and closed:
            log.info("pool %s is open again", pool.name, extra=known)
        if state[:2] != (limit, source):
            text = "the limit of pool %s is %d (%s), it was %d (%s)"
            log.info(text, pool.name, pool.limit, pool.source, limit, source, extra=known)

    def _moved(self) -> None:
        """The loop was replaced: its timers are gone, and so are those who queued in it."""
        for name, pool in self._pools.items():
            self._alarms[name].clear()
            for ticket in pool.tickets():
                if ticket.queued:
                    pool.leave(ticket)
            self._pump(pool)


def too_heavy(pool: Pool, ticket: Ticket) -> RequestInvalid:
    """Return the error for a request that needs more slots than its pool has."""
    text = f"takes {ticket.weight} {pool.name} slots; this account has {pool.limit} in all"
    return RequestInvalid("request", [Problem("n" if pool.name == "image" else "weight", text)])
