"""Test batch/budget.py: reserved and spent units never pass the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kling_async.batch.budget import Budget


def test_a_reservation_counts_until_it_is_settled() -> None:
    """A reservation counts until it is settled; a cheaper task gives units back."""
    budget = Budget(10)
    budget.reserve("video", 6)
    assert not budget.fits("video", 5) and budget.fits("video", 4)
    assert budget.may_fit_later("video", 5)
    budget.settle("video", reserved=6, spent=5)
    assert budget.fits("video", 5) and not budget.fits("video", 5.5)
    assert not budget.may_fit_later("video", 5.5)
    assert (budget.spent, budget.reserved) == ({"video": 5.0}, {"video": 0.0})


def test_each_pool_has_units_of_its_own() -> None:
    """A number limits each pool by itself, a mapping only the pools that it names."""
    budget = Budget(10)
    budget.reserve("video", 10)
    assert budget.fits("image", 10)
    budget = Budget({"video": 1})
    assert budget.limited and budget.fits("image", 1e9) and not budget.fits("video", 2)
    assert not Budget(None).limited and Budget(None).fits("video", 1e9)


def test_sums_of_tenths_are_exact() -> None:
    """Ten times 0.1 fits into 1."""
    budget = Budget(1)
    for _ in range(10):
        assert budget.fits("video", 0.1)
        budget.reserve("video", 0.1)
    assert not budget.fits("video", 0.1)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), max_size=60))
def test_the_limit_holds_whatever_tasks_cost(tasks: list[tuple[float, float]]) -> None:
    """Reserving only what fits and spending at most that never passes the limit."""
    budget = Budget(20)
    open_: list[tuple[float, float]] = []
    for most, share in tasks:
        if budget.fits("video", most):
            budget.reserve("video", most)
            open_.append((most, most * share))
        elif open_:
            reserved, spent = open_.pop(0)
            budget.settle("video", reserved, spent)
        assert budget.spent.get("video", 0) + budget.reserved.get("video", 0) <= 20 + 1e-4
