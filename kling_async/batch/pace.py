"""Learn how long the tasks of a batch take, and estimate how long the rest will.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.catalog import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from kling_async.batch.entry import Entry
    from kling_async.core.queue import Kind
    from kling_async.wire.requests import TaskRequest

__all__ = ["Load", "Pace", "load_of", "task_seconds"]

_OVERDUE: Final = 0.1
"""Part of the usual time that a task which has taken longer is still given."""


class Load(NamedTuple):
    """One job under way, as far as its time is concerned."""

    pool: str
    kind: Hashable
    """Jobs of one kind take equally long: same endpoint, model and length."""
    slots: int
    """How many slots of the pool its task takes."""
    age: float | None
    """Seconds since the create of its task was sent; None: there is no task yet."""


def load_of(kind: Kind, request: TaskRequest[Any], entry: Entry, now: float | None) -> Load:
    """Return the load of a job.

    Args:
        kind: Endpoint, model and pool of the request.
        request: The request.
        entry: The job's, with the time of its create.
        now: The wall clock; None: the job has no task.
    """
    # tasks of weight 0 (custom elements) take time as well, so each counts as one slot
    slots = max(1, endpoint_of(request).weight(request))
    sent = entry.times.planned or entry.times.created or now
    age = None if now is None or sent is None else max(0.0, now - sent)
    return Load(kind.pool, (kind, getattr(request, "duration", None)), slots, age)


def task_seconds(entry: Entry, began: float) -> float | None:
    """Return how long a job's task took; None if it did not end, or was made before this batch began."""
    sent, ended = entry.times.planned, entry.times.ended
    if sent is None or ended is None or entry.task_id is None or not began <= sent <= ended:
        return None
    return ended - sent


class _Mean:
    """The mean of some times."""

    __slots__ = ("count", "total")

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds

    @property
    def value(self) -> float:
        return self.total / self.count


class Pace:
    """Times of the tasks that a batch has seen from create to end, and where its jobs ran."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Mean] = {}
        self._pools: dict[str, _Mean] = {}
        self._slot_seconds: dict[str, _Mean] = {}
        self._begun: dict[str, int] = {}

    def begin(self, pool: str) -> None:
        """Count a job that begins: those yet to be read will be spread over the pools alike."""
        self._begun[pool] = self._begun.get(pool, 0) + 1

    def end(self, load: Load, seconds: float) -> None:
        """Note how long the task of a job took."""
        self._kinds.setdefault(load.kind, _Mean()).add(seconds)
        self._pools.setdefault(load.pool, _Mean()).add(seconds)
        self._slot_seconds.setdefault(load.pool, _Mean()).add(seconds * load.slots)

    def seconds_left(self, loads: Iterable[Load], unread: int, slots: Mapping[str, int]) -> float | None:
        """Return the seconds until all jobs may have ended.

        Args:
            loads: The jobs under way.
            unread: Number of jobs yet to be read.
            slots: How many slots of each pool this client may use.

        Returns:
            None while no task was seen to end of each pool that has work.
        """
        work: dict[str, float] = {}
        longest: dict[str, float] = {}
        for load in loads:
            usual = self._usual(load)
            if usual is None:
                return None
            rest = usual if load.age is None else max(usual - load.age, _OVERDUE * usual)
            work[load.pool] = work.get(load.pool, 0.0) + rest * load.slots
            longest[load.pool] = max(longest.get(load.pool, 0.0), rest)
        begun = sum(self._begun.values())
        if unread and not begun:
            return None
        for pool, count in self._begun.items() if unread else ():
            mean = self._slot_seconds.get(pool)
            if mean is None:
                return None
            work[pool] = work.get(pool, 0.0) + unread * count / begun * mean.value
        times = (
            max(seconds / max(1, slots.get(pool, 1)), longest.get(pool, 0.0))
            for pool, seconds in work.items()
        )
        return max(times, default=0.0)

    def _usual(self, load: Load) -> float | None:
        found = self._kinds.get(load.kind) or self._pools.get(load.pool)
        return None if found is None else found.value
