"""Numbers of what a client has done and is doing: ``client.stats()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kling_async.account import PoolState
from kling_async.events import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.orchestrator.engine import Engine

__all__ = ["Stats", "stats_of"]


class Stats(Counts, frozen=True, kw_only=True):  # type: ignore[misc] # a copy of the counts may be frozen
    """Numbers of a client: what it has done since it was made, and what it is doing now.

    Clients that share slots (``with_options``) are counted together. Counts only grow, over event loops too,
    so the difference of two is what happened in between. An `Event` is counted when it is told.
    """

    # -- now, besides the counts
    queued: int = 0
    """Submits that wait for slots, in all pools."""
    oldest_wait: float = 0.0
    """Seconds since the submit of the one that waits longest; 0 if none does."""
    in_flight: int = 0
    """Creates on their way, or being looked for after their answer was lost."""
    running: int = 0
    """Tasks looked after and not yet seen ended, attached ones included."""
    unresolved: int = 0
    """Creates of unknown fate; see ``client.unresolved()``."""
    pools: dict[str, PoolState] = msgspec.field(default_factory=dict)
    """The slots, as ``client.account.limits()`` shows them."""

    @property
    def waited_mean(self) -> float:
        """Mean seconds of the waits in ``waited``; 0 before the first."""
        return self.waited / max(1, self.created + self.adopted)


def stats_of(engine: Engine, pools: Mapping[str, PoolState]) -> Stats:
    """Put the counts together with the numbers of this moment."""
    return Stats(
        **engine.hooks.counts.copied(),
        queued=sum(pool.queued for pool in pools.values()),
        oldest_wait=engine.limiter.oldest_wait(),
        in_flight=engine.submitter.in_flight,
        running=sum(poller.running for poller in engine.pollers),
        unresolved=len(engine.recovery.entries()),
        pools=dict(pools),
    )
