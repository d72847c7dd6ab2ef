"""Schedules for tests: make one in a line, and let time pass until it sends a query."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from kling_async.core.durations import KNOWN, Durations
from kling_async.core.queries import QueryForms, StatusQuery
from kling_async.core.schedule import Schedule
from kling_async.core.schedule_parts import ScheduleParts
from kling_async.options import Polling, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable

FAST: dict[str, Any] = {"min_interval": 0.0, "requests_per_second": 1e3}
COST = Polling().request_cost
PATH = "/v1/videos/text2video"


class Even(random.Random):
    """A generator whose jitter is nothing."""

    def random(self) -> float:
        return 0.5


def known(median: float = 90.0, kind: str = "video") -> Durations:
    """Return durations that know one kind well."""
    durations = Durations()
    for z in (-1, 1) * KNOWN:
        duration = median * math.exp(0.35 * z)
        durations.law(kind, median).learn(duration, duration)
    return durations


def made(
    *keys: str,
    wanted: bool = True,
    retry: Retry | None = None,
    forms: QueryForms | None = None,
    durations: Durations | None = None,
    **polling: Any,
) -> Schedule:
    """Return a schedule with these tasks, added at 0."""
    parts = ScheduleParts(
        Polling(**{**FAST, **polling}),
        retry or Retry(),
        known() if durations is None else durations,
        forms or QueryForms(batch_ids=True),
        Even(),
    )
    schedule = Schedule(parts)
    add(schedule, keys, wanted=wanted)
    return schedule


def add(
    schedule: Schedule, keys: Iterable[str], *, now: float = 0.0, wanted: bool = True, **more: Any
) -> None:
    """Add tasks of one kind."""
    for key in keys:
        values: dict[str, Any] = {"pool": "video", "path": PATH, "kind": "video", "median": 90.0, **more}
        schedule.add(key, now=now, **values)
        if wanted:
            schedule.add_waiter(key)


def ask_next(schedule: Schedule) -> tuple[float, list[StatusQuery]]:
    """Let time pass until the schedule sends queries; return when, and which."""
    for _ in range(100):
        now = schedule.next_time()
        assert now < math.inf
        if queries := schedule.ask(now):
            return now, queries
    raise AssertionError("it spins")


def keys_of(queries: list[StatusQuery]) -> set[object]:
    return {key for query in queries for key in query.keys}


def names(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def without_ids() -> QueryForms:
    """Return the forms of an account under a JWT, which has no ``/tasks``."""
    return QueryForms(batch_ids=False)


def singles() -> QueryForms:
    """Return the forms where nothing but single GETs works."""
    forms = QueryForms(batch_ids=False)
    forms.mark_broken("list", PATH, 0.0)
    return forms
