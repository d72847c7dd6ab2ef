"""core/rechecks.py: planned looks at an unresolved create, and those that hints ask for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.rechecks import LOOKS, PAUSE, RECHECK_MAX, RECHECKS, RecheckPlan


def look(
    plan: RecheckPlan, *, missed: bool | None = True, contended: bool = False, seconds: float = 0.5
) -> float:
    """Take the look that is due; return when it ended."""
    at = plan.due
    plan.begin()
    if missed is None:
        plan.unanswered()
    else:
        plan.answered(missed=missed)
    plan.end(at + seconds, contended=contended)
    return at + seconds


def test_planned_looks_are_further_apart_each_time() -> None:
    """10 s after the loss, then 20, 40, ... up to 300 s after the one before; six misses exhaust it."""
    plan, now, pauses = RecheckPlan(100.0), 100.0, []
    for _ in range(RECHECKS):
        assert not plan.exhausted(contended=False)
        pauses.append(plan.due - now)
        now = look(plan)
    assert pauses == [10, 20, 40, 80, 160, 300] and plan.exhausted(contended=False)


def test_looks_are_soon_and_fewer_where_others_wait_for_the_slots() -> None:
    """10 s apart, and three suffice."""
    plan, now, pauses = RecheckPlan(100.0), 100.0, []
    for _ in range(LOOKS):
        assert not plan.exhausted(contended=True)
        pauses.append(plan.due - now)
        now = look(plan, contended=True)
    assert pauses == [10, 10, 10] and plan.exhausted(contended=True)


def test_a_look_without_a_plain_miss_begins_the_count_anew() -> None:
    """Neither an answer that leaves it open nor a failure is a miss."""
    for missed in (False, None):
        plan = RecheckPlan(0.0)
        for _ in range(RECHECKS - 1):
            look(plan)
        look(plan, missed=missed)
        assert plan.misses == 0


def test_a_loop_that_ended_changes_no_count() -> None:
    """The look under way is taken again soon."""
    plan = RecheckPlan(0.0)
    look(plan)
    plan.begin()
    plan.restart(50.0)
    assert plan.due == 50.0 + PAUSE and plan.misses == 1


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_hints_neither_count_nor_delay_planned_looks(steps: list[tuple[float, bool]]) -> None:
    """However many hints come and whenever: a look at once, and the planned ones stay as they are."""
    plan, alone, now = RecheckPlan(0.0), RecheckPlan(0.0), 0.0
    for seconds, hinted in steps:
        now += seconds
        if hinted:
            plan.hinted(now)
            assert plan.due <= now
        while plan.due <= now:
            at = plan.due
            planned = at == alone.due
            plan.begin()
            assert plan.due == math.inf
            plan.hinted(now)  # one under way is enough
            assert plan.due == math.inf
            plan.answered(missed=True)
            plan.end(at, contended=False)
            if planned and plan.misses > alone.misses:
                alone.begin()
                alone.answered(missed=True)
                alone.end(at, contended=False)
        assert plan.misses == alone.misses
        assert plan.due <= alone.due <= now + RECHECK_MAX
