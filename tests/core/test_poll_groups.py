"""When a desk is due, and whom it asks about."""

from __future__ import annotations

import math

import pytest

from kling_async.core.durations import Law
from kling_async.core.poll_groups import PolledTask, PollGroup
from kling_async.core.queries import IDS_MAX


def known_law(median: float = 90.0) -> Law:
    law = Law(median)
    for _ in range(100):
        law.learn(median, median)
    return law


def desk_of(*started: float, law: Law, form: str = "list", weight: int = 1) -> PollGroup:
    """A desk with one task for each of these beginnings."""
    desk = PollGroup("ids" if form == "ids" else "list", "/v1")
    for place, begun in enumerate(started):
        task = PolledTask(place, "video", "/v1", law, weight, begun)
        task.rank = place
        desk.tasks[task] = None
    return desk


@pytest.mark.parametrize("gap", [0.0, 1e-12, 0.5, 500.0], ids=["none yet", "hardly any", "short", "long"])
@pytest.mark.parametrize("price", [0.02, 0.2, 50.0])
def test_the_due_time_is_found_wherever_the_search_begins(gap: float, price: float) -> None:
    """The last pause is only where it begins; a narrow law's integral is nothing for long, then all."""
    desk = desk_of(0.0, 3.0, 40.0, law=known_law())
    desk.gap = gap
    due = desk.when(price, 5.0, math.inf)
    assert desk.idle(due, math.inf)[0] == pytest.approx(price, rel=0.05)


def test_a_search_that_is_cut_short_is_late_or_early_but_never_in_the_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However odd the laws: what it found last is taken."""
    monkeypatch.setattr("kling_async.core.poll_groups._STEPS", 1)
    desk = desk_of(0.0, 3.0, 40.0, law=known_law())
    desk.gap = 500.0
    assert 50.0 <= desk.when(0.2, 50.0, math.inf) < math.inf


def test_it_is_due_at_once_if_the_price_is_reached() -> None:
    """Never in the past."""
    desk = desk_of(0.0, law=known_law())
    assert desk.when(0.2, 500.0, math.inf) == 500.0


def test_an_urgent_task_makes_its_desk_due_at_once() -> None:
    """Whatever the others are worth."""
    desk = desk_of(0.0, 1.0, law=known_law())
    next(iter(desk.tasks)).urgent = True
    assert desk.when(0.2, 2.0, math.inf) == 2.0


def test_by_ids_only_those_count_that_can_be_asked_together() -> None:
    """Forty tasks, twenty ids: the question is worth what its best twenty are."""
    law = known_law()
    both = desk_of(*[0.0] * IDS_MAX, *[60.0] * IDS_MAX, law=law, form="ids")
    old = desk_of(*[0.0] * IDS_MAX, law=law, form="ids")
    assert both.idle(80.0, math.inf) == pytest.approx(old.idle(80.0, math.inf))
    assert both.when(0.2, 1.0, math.inf) == pytest.approx(old.when(0.2, 1.0, math.inf))
    assert {task.started for task in both.worst(80.0, math.inf)} == {0.0}


def test_those_who_are_late_go_first() -> None:
    """Urgent ones, and those of unknown kinds whose longest pause is over, before all that is only likely."""
    desk = desk_of(*[0.0] * 40, law=known_law(), form="ids")
    urgent = list(desk.tasks)[-1]
    urgent.urgent = True
    unknown = PolledTask("unknown", "video", "/v1", Law(5000.0), 1, 60.0)
    desk.tasks[unknown] = None
    assert {urgent, unknown} <= set(desk.worst(80.0, 15.0))


def test_a_task_looked_at_later_is_not_idle_yet() -> None:
    """Before its last look nothing is expected."""
    task = PolledTask("a", "video", "/v1", known_law(), 3, 100.0)
    assert task.idle(50.0) == (0.0, 0.0)
    assert task.idle(190.0)[0] == pytest.approx(3 * task.law.idle(0.0, 90.0)[0])
