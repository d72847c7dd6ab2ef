"""Reads the account's resource packs, which tell how large its pools are: seldom, and never in the way."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from kling_async.catalog import ACCOUNT_COSTS
from kling_async.core.pool_sizes import POOLS, pool_sizes
from kling_async.core.verdict import Got, Missing
from kling_async.errors import KlingError
from kling_async.events import facts
from kling_async.orchestrator.results import answer_of
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.http.transport import Transport
    from kling_async.options import Timeouts
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.runtime.loop import LoopScope
    from kling_async.v1 import Costs

__all__ = ["PackReader", "costs_query"]

log = logging.getLogger("kling_async.orchestrator")

_WINDOW: Final = 400 * 86400
_SPACING: Final = 1.05  # the vendor asks for at most one call a second
_CLOCKS: Final = 2.0  # the vendor's clock and ours differ
_WHILE_QUEUED: Final = 600.0
_AFTER_FAILURE: Final = 60.0


def costs_query(now: float, name: str | None = None) -> dict[str, str]:
    """Return the query for all packs bought in the last 400 days."""
    query = {"start_time": str(int((now - _WINDOW) * 1000)), "end_time": str(int(now * 1000))}
    return query if name is None else {**query, "resource_pack_name": name}


class PackReader:
    """Keeps the pools' limits in step with the packs.

    Read at the first submit (which does not wait for it), when a pack that counts ends or a bought one
    begins, after the units ran out, and every ten minutes while somebody queues.
    """

    def __init__(self, scope: LoopScope, transport: Transport, limiter: Limiter, timeouts: Timeouts) -> None:
        self._scope = scope
        self._transport = transport
        self._limiter = limiter
        self._timeouts = timeouts
        self._crowded: set[str] = set()
        self._started = False
        self._reading = False
        self._last = -math.inf
        self._failed = False
        self._until = math.inf
        self._alarm = Timer(scope, lambda _: self._read())
        limiter.on_crowd.append(self._crowd)
        scope.on_loop_replaced.append(self._moved)

    def start(self, pool: str) -> None:
        """A submit to this pool is under way: find out its size, unless somebody said it or it is known."""
        if not self._started and pool in POOLS and self._limiter.pool(pool).source != "caller":
            self._started = True
            self._read()

    async def known(self, pools: Iterable[str]) -> None:
        """Return when the size of these is known as far as it can be: the packs were read, or that failed."""
        told = [pool for pool in pools if pool in POOLS and self._limiter.pool(pool).source == "default"]
        if told and not self._started:
            self._started = self._reading = True
            await self._run()

    def again(self) -> None:
        """Something changed: read soon."""
        if self._started and not self._scope.closed:
            self._until = self._scope.time()
            self._plan()

    def silence(self) -> None:
        """Set no more timers: the client is closed."""
        self._alarm.clear()

    def _read(self) -> None:
        if self._reading or self._scope.closed:
            return
        if self._scope.time() < self._last + _SPACING:
            self._alarm.set(self._last + _SPACING)
            return
        self._reading = True
        self._scope.spawn(self._run(), "packs")

    async def _run(self) -> None:
        self._last, self._until, self._failed = self._scope.time(), math.inf, True
        try:
            query = costs_query(self._scope.now())
            verdict = await self._transport.read(
                "GET", ACCOUNT_COSTS.path, params=query, timeouts=self._timeouts
            )
            if isinstance(verdict, Got):
                self._take(answer_of(ACCOUNT_COSTS, verdict))
                self._failed = False
            else:
                reason = verdict.message if isinstance(verdict, Missing) else verdict.error
                self._unread(reason)
        except KlingError as error:
            self._unread(error)
        finally:
            self._reading = False
            self._last = self._scope.time()
        self._plan()

    def _unread(self, reason: object) -> None:
        log.info("the account's packs cannot be read, limits stay as they are: %s", reason, extra=facts())

    def _take(self, costs: Costs) -> None:
        now = self._scope.now()
        sizes = pool_sizes(costs.packs, now)
        for pool, limit in sizes.limits.items():
            self._limiter.resize(pool, limit, "packs")
        for pool, limit in sizes.guesses.items():
            self._limiter.resize(pool, limit, "default")
        self._until = self._scope.time() + (sizes.until - now) + _CLOCKS

    def _plan(self) -> None:
        when = self._until
        if self._crowded:
            when = min(when, self._last + (_AFTER_FAILURE if self._failed else _WHILE_QUEUED))
        self._alarm.set(max(when, self._last + _SPACING) if when < math.inf else math.inf)

    def _crowd(self, pool: str, crowded: bool) -> None:
        if crowded == (pool in self._crowded):
            return
        (self._crowded.add if crowded else self._crowded.discard)(pool)
        if self._started and not self._reading and not self._scope.closed:
            self._plan()

    def _moved(self) -> None:
        self._alarm.clear()
        self._reading = False
        self._crowded.clear()
        if self._started:
            self._plan()
