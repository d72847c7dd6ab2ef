"""Show the pools of a client to its user: how many slots there are, who holds them, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.core.pool_sizes import LimitSource
from kling_async.errors import KlingError
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from kling_async.orchestrator.slot_keeper import SlotKeeper

__all__ = ["PoolState", "pool_states"]


class PoolState(Serializable, frozen=True, kw_only=True):
    """The slots of one pack type at one moment."""

    limit: int
    """Size of the pool, as far as known."""
    source: LimitSource
    """Source of the limit: ``caller``, ``packs``, ``learned`` (from 1303) or ``default``."""
    held: int
    """Slots of this client's tasks, creates on their way included."""
    queued: int
    """Submits that wait for slots, or for the end of a hold (``stats().holds``)."""
    foreign: int
    """Slots that other programs are believed to hold: known from refusals (1303) alone, so maybe outdated."""
    closed: KlingError | None
    """The error with which creates fail at once; None while the pool is open."""


def pool_states(limiter: SlotKeeper) -> dict[str, PoolState]:
    """Return the state of every pool used so far."""
    return {
        name: PoolState(
            limit=pool.limit,
            source=pool.source,
            held=pool.held,
            queued=pool.queued,
            # a refusal lowers the belief below the limit by the slots that others hold
            foreign=max(0, pool.limit - max(pool.belief, pool.held)),
            closed=pool.closed,
        )
        for name, pool in limiter.pools.items()
    }
