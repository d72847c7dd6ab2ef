"""Server time: one clock for all machines, the database server's, whatever their own clocks show.

Numbers of tickets are times of arrival. A process numbers its tickets by a clock of its own, before it has
ever reached the server; what it says and hears is translated at the boundary, by an offset that is measured
once and never changes. The clock is steered afterwards, so that it runs as the server's does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.orchestrator.ledger.steps import PoolFacts, Step, Synced

__all__ = ["ServerTime", "SteeredClock"]

_NS = 1_000_000_000


class ServerTime(NamedTuple):
    """The SQL that reads the server's clock, in seconds since 1970."""

    now: str = "extract(epoch FROM clock_timestamp())::float8"
    started: str = "extract(epoch FROM pg_postmaster_start_time())::float8"
    """When the server began: nobody could show a sign of life before."""


class SteeredClock:
    """A monotonic clock of this process that keeps step with the server's.

    Args:
        local: The system's monotonic clock.
    """

    def __init__(self, local: Callable[[], float] = time.monotonic) -> None:
        self._local = local
        self._steered = 0.0
        self._offset: int | None = None
        """Nanoseconds from this clock to the server's; None: not measured yet."""

    def __call__(self) -> float:
        """Return the time."""
        return self._local() + self._steered

    def compare(self, before: float, server: float, after: float) -> None:
        """Take what the server's clock showed between two times of this one.

        Only what lies outside of these counts: a slow answer tells little.
        """
        if self._offset is None:
            self._offset = round((server - (before + after) / 2) * _NS)
            return
        shown = server - self._offset / _NS
        self._steered += max(0.0, shown - after) - max(0.0, before - shown)

    def to_server(self, step: Step) -> Step:
        """Return a step with its ticket numbered by the server's time; 0 stands for no ticket."""
        number: int = getattr(step, "number", 0)
        numbered: Any = step  # not all steps have a number, and those that have one are named tuples
        return numbered._replace(number=number + (self._offset or 0)) if number else step

    def number_here(self, number: int) -> int:
        """Return a ticket's number as it is by this clock."""
        return number - (self._offset or 0)

    def to_here(self, synced: Synced) -> Synced:
        """Return what was heard with all numbers and times by this clock."""
        offset = self._offset or 0
        seconds = offset / _NS
        return synced._replace(
            now=synced.now - seconds,
            news=[news._replace(number=news.number - offset) for news in synced.news],
            confirmed={number - offset: granted for number, granted in synced.confirmed.items()},
            pools={name: _pool_here(facts, seconds) for name, facts in synced.pools.items()},
            tasks=[held._replace(since=held.since - seconds) for held in synced.tasks],
            reads=[(turns, at - seconds) for turns, at in synced.reads],
            missing=[number - offset for number in synced.missing],
            places={number - offset: place for number, place in synced.places.items()},
        )


def _pool_here(facts: PoolFacts, seconds: float) -> PoolFacts:
    return facts._replace(
        half_open_at=facts.half_open_at - seconds,
        next_time=facts.next_time - seconds,
        holds=[hold._replace(probe_at=hold.probe_at - seconds) for hold in facts.holds],
    )
