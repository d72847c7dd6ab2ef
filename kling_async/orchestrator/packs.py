"""Packs: read, seldom and never in the way, the resource packs that tell how large an account's pools are."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Protocol

from kling_async.catalog import ACCOUNT_COSTS
from kling_async.core.pool_sizes import POOLS, pool_sizes
from kling_async.core.verdict import Got, Missing
from kling_async.errors import KlingError, TransportError
from kling_async.events import facts
from kling_async.http.retry import not_found
from kling_async.orchestrator.results import answer_of
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kling_async.core.pool_sizes import Pack
    from kling_async.http.transport import Transport
    from kling_async.options import Timeouts
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.runtime.loop import LoopScope

__all__ = ["PackReader", "PackSource", "costs_query", "read_packs"]

log = logging.getLogger("kling_async.orchestrator")

_WINDOW: Final = 400 * 86400
"""Seconds of the past in which packs are looked for: they are sold for a year at most."""
_SPACING: Final = 1.05
"""Seconds between two readings: the vendor asks for at most one a second."""
_CLOCKS: Final = 2.0
"""Seconds to wait beyond the end or the begin of a pack: the vendor's clock and ours differ."""
_WHILE_QUEUED: Final = 600.0
"""Seconds between readings while submits wait for slots: somebody may have bought a pack."""
_AFTER_FAILURE: Final = 60.0
"""Seconds until the next reading after one that failed, while submits wait for slots."""


def costs_query(now: float, name: str | None = None) -> dict[str, str]:
    """Return the query for all packs bought in the last 400 days, or those of one name."""
    query = {"start_time": str(int((now - _WINDOW) * 1000)), "end_time": str(int(now * 1000))}
    return query if name is None else {**query, "resource_pack_name": name}


class PackSource(Protocol):
    """Ask the account for its packs, once."""

    async def __call__(self, query: Mapping[str, str], /) -> Iterable[Pack]:
        """Return the packs; raise `KlingError` if they cannot be read."""
        ...


class PackReader:
    """Keeps the pools' limits in step with the packs.

    Packs are read at the first submit (which does not wait for it), when a pack that counts ends or a bought
    one begins, after the units ran out, and every ten minutes while somebody queues.
    """

    def __init__(self, scope: LoopScope, limiter: SlotKeeper, source: PackSource) -> None:
        self._scope = scope
        self._limiter = limiter
        self._source = source
        self._contended: set[str] = set()
        """Pools that submits wait for."""
        self._started = False
        self._reading = False
        self._failed = False
        self._last = -math.inf
        self._until = math.inf
        """When what was read may be out of date."""
        self._timer = Timer(scope, lambda _: self._read())
        limiter.subscribe(self)
        scope.subscribe(self)

    def start(self, pool: str) -> None:
        """Begin to read at the first submit to a pool whose size the packs tell and the caller did not."""
        if not self._started and pool in POOLS and self._limiter.pool(pool).source != "caller":
            self._started = True
            self._read()

    async def known(self, pools: Iterable[str]) -> None:
        """Return when the size of these pools is as well known as it can be: read, or the reading failed."""
        guessed = [name for name in pools if name in POOLS and self._limiter.pool(name).source == "default"]
        if guessed and not self._started:
            self._started = self._reading = True
            await self._run()

    def units_changed(self) -> None:
        """Read soon: units ran out, or were bought."""
        if self._started and not self._scope.closed:
            self._until = self._scope.time()
            self._plan()

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._timer.clear()

    def _read(self) -> None:
        if self._reading or self._scope.closed:
            return
        if self._scope.time() < self._last + _SPACING:
            self._timer.set(self._last + _SPACING, idle=True)
            return
        self._reading = True
        self._scope.spawn(self._run(), "packs")

    async def _run(self) -> None:
        self._last, self._until, self._failed = self._scope.time(), math.inf, True
        try:
            self.take(await self._source(costs_query(self._scope.now())))
            self._failed = False
        except KlingError as error:
            text = "the account's packs cannot be read, limits stay as they are: %s"
            log.info(text, error, extra=facts())
        finally:
            self._reading = False
            self._last = self._scope.time()
        self._plan()

    def take(self, packs: Iterable[Pack]) -> None:
        """Set the limits that all packs of the account tell."""
        now = self._scope.now()
        sizes = pool_sizes(packs, now)
        for pool, limit in sizes.limits.items():
            self._limiter.resize(pool, limit, "packs")
        for pool, limit in sizes.guesses.items():
            self._limiter.resize(pool, limit, "default")
        self._until = self._scope.time() + (sizes.until - now) + _CLOCKS

    def _plan(self) -> None:
        when = self._until
        if self._contended:
            when = min(when, self._last + (_AFTER_FAILURE if self._failed else _WHILE_QUEUED))
        self._timer.set(max(when, self._last + _SPACING) if when < math.inf else math.inf, idle=True)

    def on_contention(self, pool: str, contended: bool) -> None:
        """Read from time to time while submits wait for slots."""
        (self._contended.add if contended else self._contended.discard)(pool)
        if self._started and not self._reading and not self._scope.closed:
            self._plan()

    def on_loop_replaced(self) -> None:
        """Forget a reading of the loop that ended, and who queued there."""
        self._timer.clear()
        self._reading = False
        self._contended.clear()
        if self._started:
            self._plan()


async def read_packs(transport: Transport, timeouts: Timeouts, query: Mapping[str, str]) -> Iterable[Pack]:
    """Ask for the account's packs once: the next reading comes soon enough by itself."""
    if not transport.dialects.current.account:
        raise TransportError("gateways of this dialect do not show them", sent=False)
    verdict = await transport.read("GET", ACCOUNT_COSTS.path, params=query, timeouts=timeouts)
    if isinstance(verdict, Got):
        return answer_of(ACCOUNT_COSTS, verdict).packs
    raise not_found(verdict, "") if isinstance(verdict, Missing) else verdict.error
