"""Driven pool: a pool with its timer, and what was last said about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kling_async.events import facts

if TYPE_CHECKING:
    from kling_async.core.admission import Pool
    from kling_async.core.pool_sizes import LimitSource
    from kling_async.runtime.loop import Timer

__all__ = ["DrivenPool"]

log = logging.getLogger("kling_async.orchestrator")


class DrivenPool:
    """One pool of a `kling_async.orchestrator.limiter.Limiter`."""

    def __init__(self, pool: Pool, timer: Timer) -> None:
        self.pool = pool
        self.timer = timer
        self.contended = False
        """The state that listeners were last told."""
        self._logged = self._state

    @property
    def _state(self) -> tuple[int, LimitSource, bool]:
        return self.pool.limit, self.pool.source, self.pool.closed is not None

    def log_changes(self) -> None:
        """Log what has changed of the pool as such since the last call, whatever changed it."""
        if self._state == self._logged:
            return
        (limit, source, closed), self._logged = self._logged, self._state
        pool, known = self.pool, facts(pool=self.pool.name)
        if pool.closed is not None and not closed:
            log.info("pool %s is closed: %s", pool.name, pool.closed, extra=known)
        elif pool.closed is None and closed:
            log.info("pool %s is open again", pool.name, extra=known)
        if self._state[:2] != (limit, source):
            text = "the limit of pool %s is %d (%s), it was %d (%s)"
            log.info(text, pool.name, pool.limit, pool.source, limit, source, extra=known)
