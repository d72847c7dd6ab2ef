"""Poll groups: the tasks that one status query asks about, and when that query is worth its price."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from kling_async.core.durations import KNOWN
from kling_async.core.queries import IDS_MAX

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from kling_async.core.callbacks import ExpectedCallback
    from kling_async.core.durations import Law
    from kling_async.core.queries import Form

__all__ = ["IdleEstimate", "PollGroup", "PolledTask"]

_TOLERANCE: Final = 0.02
"""Relative error allowed in the idleness at a due time: the cost is flat around its optimum."""
_STEPS: Final = 16
"""Steps of the search for a due time; what the last one finds is taken as it is."""
_FREE_STEPS: Final = 4
"""Steps after which each must halve the bracket: one step in between halves it, if it does not."""
_GAP_MIN: Final = 0.1
"""Seconds: the shortest pause from which the search begins."""
_STEP_MAX: Final = 1e3
"""Largest factor of one step: where next to nothing is idle, the slope says nothing."""
_SLOPE_MIN: Final = 0.1
"""Least slope assumed: under callbacks the idleness may stand still, and a step would overflow."""
_TINY: Final = 1e-12
"""Stands for a zero that would be divided by."""
_OMISSIONS_MAX: Final = 2
"""Group answers without the task after which it is asked alone for good."""
_UNATTENDED: Final = 2.0
"""Request prices: a task that idled for more while nobody wanted it was not looked at in time."""


class IdleEstimate:
    """Estimates the slot-seconds that a task has idled, ended but not yet seen to be, since its last look."""

    __slots__ = ("attended", "callback", "law", "looked", "resumed", "started", "weight")

    def __init__(
        self,
        law: Law,
        weight: int,
        started: float,
        *,
        attended: bool,
        callback: ExpectedCallback | None = None,
    ) -> None:
        self.law = law
        self.callback = callback
        """The callback that is to tell the end; it has not come yet."""
        self.weight = weight
        self.started = started
        self.looked = started
        """The last time at which it is known to have run."""
        self.attended = attended
        """Whether it was looked at in time since ``looked``; else its end would teach a wrong duration."""
        self.resumed = False
        """Whether it came to be wanted since the last query, perhaps after a long time unwatched."""

    def at(self, time: float) -> tuple[float, float]:
        """Return the idle slot-seconds expected between the last look and that time, and their growth."""
        if time <= self.looked:
            return 0.0, 0.0
        idle, growth = self.law.idle(self.looked - self.started, time - self.started)
        if self.callback is not None:
            idle, growth = self.callback.channel.given_silence(idle, growth)
        return idle * self.weight, growth * self.weight

    def latest_look(self, max_interval: float) -> float:
        """Return the time by which to look again, whatever is expected.

        A law that was learned by a wrong clock would expect no end for hours: no cap is ever lifted wholly.
        """
        return self.looked + (max_interval if self.law.known < KNOWN else self.law.patience)

    def ask(self, now: float, request_cost: float) -> None:
        """Note that a query goes out; one that comes late for want of waiters will teach nothing."""
        if self.resumed and self.at(now)[0] > _UNATTENDED * request_cost:
            self.attended = False
        self.resumed = False

    def seen_running(self, at: float) -> None:
        """Note that the task ran at that time."""
        self.looked, self.attended = at, True

    def seen_ended(self, at: float, now: float, *, hinted: bool) -> None:
        """Teach the duration: the end lies between the last look and this one.

        Args:
            at: When the query was sent that showed the end.
            now: The time.
            hinted: Whether a callback that was not believed was why it was sent: then that told the end.
        """
        if self.attended:
            self.law.learn(self.looked - self.started, at - self.started)
        if self.callback is not None:
            channel, name = self.callback
            (channel.told if hinted else channel.found)(name, now)

    def told_ended(self, now: float) -> None:
        """Teach the duration of a task whose end a callback tells."""
        latency = 0.0
        if self.callback is not None:
            channel, name = self.callback
            channel.told(name, now)
            latency = channel.latency
        if self.attended:
            age = now - latency - self.started
            self.law.learn(age, age)


class Omissions:
    """The answers of group queries that left a task out."""

    __slots__ = ("count", "far_behind", "form")

    def __init__(self) -> None:
        self.count = 0
        self.far_behind = False
        """Whether so many tasks were made since that a list would have to be long to show this one."""
        self.form: Form | None = None
        """The form that left it out last, until the task was asked alone."""

    @property
    def ask_alone(self) -> bool:
        """Whether to ask about it alone: once after each omission, for good after some or far behind."""
        return self.far_behind or self.form is not None or self.count >= _OMISSIONS_MAX

    def add(self, form: Form) -> None:
        """Count an answer that left the task out."""
        self.count += 1
        self.form = form

    def clear(self) -> None:
        """Forget them: a group's answer held the task."""
        self.count, self.form = 0, None


class PolledTask:
    """A task in the schedule; `Schedule.add_waiter` hands it out as the token of one waiter."""

    __slots__ = (
        "active", "group", "hinted_at", "idleness", "key", "omissions", "own_group",
        "path", "pool", "query", "rank", "urgent", "waiters",
    )  # fmt: skip

    def __init__(self, key: Hashable, pool: str, path: str, idleness: IdleEstimate, rank: int) -> None:
        self.key = key
        self.pool = pool
        self.path = path
        self.rank = rank
        """Its place among the tasks of its path, by time."""
        self.idleness = idleness
        self.omissions = Omissions()
        self.waiters = 0
        self.active = False
        """Whether it is wanted, hence in a group or being asked about."""
        self.urgent = False
        """Whether to ask about it as soon as the rates allow."""
        self.hinted_at = math.inf
        """When somebody hinted that it has changed, and no query asked since has seen it run; else inf."""
        self.query = 0
        """Number of the query that is out about it; 0: none."""
        self.group: PollGroup | None = None
        self.own_group: PollGroup | None = None
        """The group of its own, while it is asked alone."""


class PollGroup:
    """The tasks that one status query asks about."""

    __slots__ = ("changes", "due", "failures", "form", "last_gap", "not_before", "path", "price", "tasks")

    def __init__(self, form: Form, path: str) -> None:
        self.form: Form = form
        self.path = path
        self.tasks: dict[PolledTask, None] = {}  # a set that keeps the order, so that runs can be repeated
        self.due = math.inf
        self.not_before = -math.inf
        """When the pause after a failure is over."""
        self.failures = 0
        """Failed queries in a row."""
        self.changes = 0
        """Tasks that came or went since the due time was computed."""
        self.last_gap = 0.0
        """The last pause between two looks, where the search for the next due time begins."""
        self.price = 1.0
        """Price of one request in units of `Polling.request_cost`: 1 with jitter."""

    def idle(self, at: float, enough: float) -> tuple[float, float]:
        """Return the idle slot-seconds expected at that time, and their growth; stop adding at ``enough``."""
        if self.form == "ids" and len(self.tasks) > IDS_MAX:
            most = heapq.nlargest(IDS_MAX, ((*task.idleness.at(at), task.rank) for task in self.tasks))
            return sum(item[0] for item in most), sum(item[1] for item in most)
        total = growth = 0.0
        for task in self.tasks:
            idle, more = task.idleness.at(at)
            total += idle
            growth += more
            if total > enough:
                break
        return total, growth

    def due_time(self, price: float, earliest: float, max_interval: float) -> float:
        """Return when the idleness reaches the price, or the longest pause of an unknown kind is over."""
        if any(task.urgent for task in self.tasks):
            return earliest
        latest = min(task.idleness.latest_look(max_interval) for task in self.tasks)
        if self.idle(earliest, price)[0] >= price:
            return earliest
        return max(self._solve(price, earliest, latest), earliest)

    def _solve(self, price: float, earliest: float, latest: float) -> float:
        """Find when the idleness reaches the price, by Newton's method in logarithms, kept in a bracket.

        Idleness grows like a power of the time since the last look, whose exponent falls slowly: in
        logarithms it is nearly straight, and its slope is growth x time / idleness.
        """
        estimates = [task.idleness for task in self.tasks]
        origin = min(*(estimate.looked for estimate in estimates), earliest - 1e-3)
        start = _first_ends(estimates)
        low, high = max(earliest, start), math.inf
        guess = start + max(self.last_gap, _GAP_MIN) if self.due == math.inf else self.due
        at = min(max(low, guess), latest)
        before = math.inf
        for step in range(_STEPS):
            idle, growth = self.idle(at, _STEP_MAX * price)
            if abs(idle - price) <= _TOLERANCE * price or (at == latest and idle <= price):
                break
            low, high = (at, high) if idle < price else (low, at)
            width = at - origin
            slope = max(growth * width / max(idle, _TINY), _SLOPE_MIN)
            at = origin + width * min((price / max(idle, _TINY)) ** (1 / slope), _STEP_MAX)
            slow, before = step >= _FREE_STEPS and high - low > before / 2, high - low
            if slow or not low < at < high:
                at = (low + min(high, latest, low + 2 * width)) / 2
            at = min(at, latest)
        return at

    def most_pressing(self, now: float, max_interval: float) -> list[PolledTask]:
        """Return the tasks to ask about: all; by ids, those with the most idleness expected."""
        if self.form != "ids" or len(self.tasks) <= IDS_MAX:
            return list(self.tasks)

        def pressing(task: PolledTask) -> float:
            overdue = task.urgent or task.idleness.latest_look(max_interval) <= now
            return math.inf if overdue else task.idleness.at(now)[0]

        return heapq.nlargest(IDS_MAX, self.tasks, key=pressing)


def _first_ends(estimates: Iterable[IdleEstimate]) -> float:
    """Return when the first of these tasks may practically end, or was looked at if that is later."""
    return min(max(e.looked, e.started + e.law.early) for e in estimates)
