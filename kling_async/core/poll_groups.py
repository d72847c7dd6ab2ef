"""Tasks at desks: what one question asks about, and when that is worth its price."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from kling_async.core.durations import KNOWN
from kling_async.core.queries import IDS_MAX

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kling_async.core.durations import Law
    from kling_async.core.queries import Form

__all__ = ["PollGroup", "PolledTask"]

_CLOSE: Final = 0.02
"""A due time is found when its idleness is that near to the price."""
_STEPS: Final = 12


class PolledTask:
    """A task in the schedule; to a waiter, the proof of its wish."""

    __slots__ = (
        "active", "alone", "attended", "desk", "forgotten", "joined", "key", "law", "looked",
        "missed", "misses", "number", "own", "path", "pool", "rank", "started", "urgent", "wants", "weight",
    )  # fmt: skip

    def __init__(self, key: Hashable, pool: str, path: str, law: Law, weight: int, started: float) -> None:
        self.key = key
        self.pool = pool
        self.path = path
        self.law = law
        self.weight = weight
        self.started = self.looked = started
        """It ran at these times, for all we know."""
        self.wants = 0
        self.rank = 0
        """Its place among the tasks of its path, by time."""
        self.active = False
        """Wanted, hence at a desk or being asked about."""
        self.desk: PollGroup | None = None
        self.own: PollGroup | None = None
        """The desk that it has to itself, if it is asked alone."""
        self.number = 0
        """The question that is out about it; 0: none."""
        self.misses = 0
        self.missed: Form | None = None
        """The form whose last answer left it out."""
        self.alone = self.forgotten = self.joined = self.urgent = False
        self.attended = True
        """Whether it was looked at in time since ``looked``: else its end would teach a wrong duration."""

    def idle(self, at: float) -> tuple[float, float]:
        """Return the idle slot-seconds expected at that time since the last look, and their growth."""
        if at <= self.looked:
            return 0.0, 0.0
        idle, growth = self.law.idle(self.looked - self.started, at - self.started)
        return idle * self.weight, growth * self.weight


class PollGroup:
    """Tasks that one question asks about."""

    __slots__ = ("changes", "due", "failures", "form", "gap", "path", "price", "resume", "tasks")

    def __init__(self, form: Form, path: str) -> None:
        self.form: Form = form
        self.path = path
        self.tasks: dict[PolledTask, None] = {}
        self.due = math.inf
        self.changes = 0
        self.gap = 0.0
        """The last pause between two looks, where the search for the next begins."""
        self.price = 1.0
        """Of one request in request_cost: jitter."""
        self.failures = 0
        self.resume = -math.inf

    def idle(self, at: float, enough: float) -> tuple[float, float]:
        """Return the idleness expected at that time, and its growth; stop counting at ``enough``."""
        if self.form == "ids" and len(self.tasks) > IDS_MAX:
            worst = heapq.nlargest(IDS_MAX, ((*task.idle(at), task.rank) for task in self.tasks))
            return sum(item[0] for item in worst), sum(item[1] for item in worst)
        total = growth = 0.0
        for task in self.tasks:
            idle, more = task.idle(at)
            total += idle
            growth += more
            if total > enough:
                break
        return total, growth

    def when(self, price: float, earliest: float, gap_max: float) -> float:
        """Return when the idleness reaches the price, or the longest pause of an unknown kind is over."""
        if any(task.urgent for task in self.tasks):
            return earliest
        caps = (task.looked + gap_max for task in self.tasks if task.law.known < KNOWN)
        latest = min(caps, default=math.inf)
        if self.idle(earliest, price)[0] >= price:
            return earliest
        origin = min(*(task.looked for task in self.tasks), earliest - 1e-3)
        start = min(max(task.looked, task.started + task.law.early) for task in self.tasks)
        low, high = max(earliest, start), math.inf
        guess = start + max(self.gap, 0.1) if self.due == math.inf else self.due
        at = min(max(low, guess), latest)
        for _ in range(_STEPS):
            idle, growth = self.idle(at, 1e3 * price)
            if abs(idle - price) <= _CLOSE * price or (at == latest and idle <= price):
                break
            low, high = (at, high) if idle < price else (low, at)
            width = at - origin  # idle grows like a power of it, whose exponent falls slowly
            steep = max(growth, 1e-12) * width / max(idle, 1e-12)
            at = origin + width * min((price / max(idle, 1e-12)) ** (1 / steep), 1e3)
            if not low < at < high:
                at = (low + min(high, latest, low + 2 * width)) / 2
            at = min(at, latest)
        return max(at, earliest)

    def worst(self, now: float, gap_max: float) -> list[PolledTask]:
        """Return whom to ask about: all; by ids, those with the most expected idleness."""
        if self.form != "ids" or len(self.tasks) <= IDS_MAX:
            return list(self.tasks)

        def pressing(task: PolledTask) -> float:
            late = task.urgent or (task.law.known < KNOWN and task.looked + gap_max <= now)
            return math.inf if late else task.idle(now)[0]

        return heapq.nlargest(IDS_MAX, self.tasks, key=pressing)
