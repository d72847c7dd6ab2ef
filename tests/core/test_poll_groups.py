"""core/poll_groups.py: when a group is due, and which tasks it asks about."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.callbacks import CallbackChannel, ExpectedCallback
from kling_async.core.durations import Law
from kling_async.core.poll_groups import IdleEstimate, PolledTask, PollGroup
from kling_async.core.queries import IDS_MAX
from tests.profiles import same_draws

if TYPE_CHECKING:
    from collections.abc import Hashable


def known_law(median: float = 90.0) -> Law:
    law = Law(median)
    for _ in range(100):
        law.learn(median, median)
    return law


def task_of(key: Hashable, law: Law, weight: int, started: float, rank: int = 0) -> PolledTask:
    """Return a task that began then."""
    return PolledTask(key, "video", "/v1", IdleEstimate(law, weight, started, attended=True), rank)


def group_of(*started: float, law: Law, form: str = "list", weight: int = 1) -> PollGroup:
    """Return a group with one task for each of these beginnings."""
    group = PollGroup("ids" if form == "ids" else "list", "/v1")
    for place, begun in enumerate(started):
        group.tasks[task_of(place, law, weight, begun, place)] = None
    return group


@pytest.mark.parametrize("gap", [0.0, 1e-12, 0.5, 500.0], ids=["none yet", "hardly any", "short", "long"])
@pytest.mark.parametrize("price", [0.02, 0.2, 50.0])
def test_the_due_time_is_found_wherever_the_search_begins(gap: float, price: float) -> None:
    """The last pause is only a start; the integral of a narrow distribution is flat, then steep."""
    group = group_of(0.0, 3.0, 40.0, law=known_law())
    group.last_gap = gap
    due = group.due_time(price, 5.0, math.inf)
    assert group.idle(due, math.inf)[0] == pytest.approx(price, rel=0.05)


@given(
    told=st.sampled_from([1, 10, 400]),
    found=st.sampled_from([0, 5]),
    latency=st.sampled_from([0.0, 0.3, 1.0, 5.0, 30.0]),
    sigma=st.sampled_from([0.05, 0.35, 1.0]),
    ages=st.lists(st.floats(0.0, 120.0), min_size=1, max_size=20),
    gap=st.sampled_from([0.0, 1.0, 10.0, 100.0]),
    price=st.sampled_from([0.02, 0.2, 5.0]),
)
@same_draws(150)
def test_the_due_time_is_found_under_callbacks(
    told: int, found: int, latency: float, sigma: float, ages: list[float], gap: float, price: float
) -> None:
    """Rule 18: where silence holds the idleness down, even below the price for ever, the search ends well."""
    channel = CallbackChannel()
    for number in range(found):
        channel.found(number, -100.0)
    for number in range(told):
        channel.told(("told", number), 0.0)
    channel.latency = latency
    law = Law(90.0)
    for z in (-1, 1) * 20:
        duration = 90.0 * math.exp(sigma * z)
        law.learn(duration, duration)
    group = PollGroup("list", "/v1")
    for place, age in enumerate(ages):
        estimate = IdleEstimate(
            law, 1, -age, attended=True, callback=ExpectedCallback(channel, place) if place % 5 < 4 else None
        )
        group.tasks[PolledTask(place, "video", "/v1", estimate, place)] = None
    group.last_gap = gap
    due = group.due_time(price, 0.0, 15.0)
    latest = min(task.idleness.latest_look(15.0) for task in group.tasks)
    assert 0.0 <= due <= latest
    if due > 0.0:
        idle = group.idle(due, math.inf)[0]
        assert idle <= 1.3 * price
        assert idle >= 0.7 * price or due == latest


def test_a_search_that_is_cut_short_is_late_or_early_but_never_in_the_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However odd the distributions: the last value found is taken."""
    monkeypatch.setattr("kling_async.core.poll_groups._STEPS", 1)
    group = group_of(0.0, 3.0, 40.0, law=known_law())
    group.last_gap = 500.0
    assert 50.0 <= group.due_time(0.2, 50.0, math.inf) < math.inf


def test_a_group_is_due_at_once_if_the_price_is_reached() -> None:
    """A due time never lies in the past."""
    group = group_of(0.0, law=known_law())
    assert group.due_time(0.2, 500.0, math.inf) == 500.0


def test_an_urgent_task_makes_its_group_due_at_once() -> None:
    """The idleness of the others does not matter."""
    group = group_of(0.0, 1.0, law=known_law())
    next(iter(group.tasks)).urgent = True
    assert group.due_time(0.2, 2.0, math.inf) == 2.0


def test_by_ids_only_those_count_that_can_be_asked_together() -> None:
    """Of forty tasks, a query of twenty ids is worth what the twenty most idle are."""
    law = known_law()
    both = group_of(*[0.0] * IDS_MAX, *[60.0] * IDS_MAX, law=law, form="ids")
    old = group_of(*[0.0] * IDS_MAX, law=law, form="ids")
    assert both.idle(80.0, math.inf) == pytest.approx(old.idle(80.0, math.inf))
    assert both.due_time(0.2, 1.0, math.inf) == pytest.approx(old.due_time(0.2, 1.0, math.inf))
    assert {task.idleness.started for task in both.most_pressing(80.0, math.inf)} == {0.0}


def test_overdue_tasks_go_first() -> None:
    """Urgent tasks, and those of unknown kinds past their longest pause, precede all that are only likely."""
    group = group_of(*[0.0] * 40, law=known_law(), form="ids")
    urgent = list(group.tasks)[-1]
    urgent.urgent = True
    unknown = task_of("unknown", Law(5000.0), 1, 60.0)
    group.tasks[unknown] = None
    assert {urgent, unknown} <= set(group.most_pressing(80.0, 15.0))


def test_a_task_looked_at_later_is_not_idle_yet() -> None:
    """No idleness is expected before the last look."""
    estimate = IdleEstimate(known_law(), 3, 100.0, attended=True)
    assert estimate.at(50.0) == (0.0, 0.0)
    assert estimate.at(190.0)[0] == pytest.approx(3 * estimate.law.idle(0.0, 90.0)[0])
