"""The account behind a client: its packs, its slots, its closed pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kling_async.calls import read
from kling_async.catalog import ACCOUNT_COSTS
from kling_async.errors import KlingError
from kling_async.limits import costs_query
from kling_async.results import answer_of

if TYPE_CHECKING:
    from kling_async.engine import Engine
    from kling_async.v1 import Costs

__all__ = ["Account", "PoolState"]


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """The slots of one pack type at one moment."""

    limit: int
    """Size of the pool, as far as known."""
    source: str
    """Who said so: ``caller``, ``packs``, ``learned`` (from 1303) or ``default``."""
    held: int
    """Slots of our tasks, creates on their way included."""
    queued: int
    """Submits that wait."""
    foreign: int
    """Slots we believe others hold; only refusals tell, so it may be out of date."""
    closed: KlingError | None
    """Why creates fail at once; None if they do not."""


class Account:
    """``client.account``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def costs(self, resource_pack_name: str | None = None) -> Costs:
        """Return the account's resource packs of the last 400 days; free, at most one call a second."""
        query = costs_query(self._engine.home.now(), resource_pack_name)
        return answer_of(ACCOUNT_COSTS, await read(self._engine, "GET", ACCOUNT_COSTS.path, query))

    def limits(self) -> dict[str, PoolState]:
        """Return the state of every pool used so far, without asking anybody."""
        self._engine.home.notice()
        return {
            name: PoolState(
                limit=pool.limit,
                source=pool.source,
                held=pool.held,
                queued=pool.queued,
                foreign=max(0, pool.limit - max(pool.belief, pool.held)),
                closed=pool.closed,
            )
            for name, pool in self._engine.limiter.pools.items()
        }

    def reopen(self, pool: str | None = None) -> None:
        """Let creates through again at once: units were bought, the key was mended. None: all pools."""
        self._engine.limiter.reopen(pool)
        self._engine.packs.again()
