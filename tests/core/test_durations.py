"""core/durations.py: learning durations from intervals, and the distribution made of three numbers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.durations import KINDS_MAX, KNOWN, Durations, Law
from tests.profiles import same_draws


def taught(*durations: float, prior: float = 90.0) -> Law:
    """Return a distribution that learned exactly these durations."""
    law = Law(prior)
    for duration in durations:
        law.learn(duration, duration)
    return law


LAWS = {
    "fresh": taught(),
    "hardly known": taught(80.0, 110.0),
    "known": taught(*(90.0 * math.exp(0.35 * z) for z in (-1, 1) * 20)),
    "narrow": taught(*[60.0] * 60),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 70.0), (0.0, 95.0), (60.0, 66.0), (100.0, 140.0), (400.0, 420.0)]
)
def test_idle_is_the_integral_of_the_chance_to_have_ended(law: Law, low: float, high: float) -> None:
    """It agrees with a fine sum over the survival; its growth is P(ended) at the last age."""
    steps = 4000
    width = (high - low) / steps
    exact = sum(1 - law.survival(low + (step + 0.5) * width, low) for step in range(steps)) * width
    idle, growth = law.idle(low, high)
    assert idle == pytest.approx(exact, rel=0.1, abs=0.01)
    assert growth == pytest.approx(1 - law.survival(high, low))


@given(
    low=st.floats(0, 1e5),
    gaps=st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=8),
    law=st.sampled_from(list(LAWS.values())),
)
@same_draws(100)
def test_idle_never_falls_and_never_passes_the_time_gone_by(low: float, gaps: list[float], law: Law) -> None:
    """True at all ages: else due times could be missed or never come."""
    age, before = low, 0.0
    for gap in gaps:
        age += gap
        idle, growth = law.idle(low, age)
        assert before - 1e-9 <= idle * (1 + 1e-3) and idle <= age - low + 1e-9
        assert -1e-9 <= growth <= 1
        before = idle


def test_the_prior_weighs_half_a_task() -> None:
    """The first duration moves the median two thirds of the way, in logarithms."""
    law = taught(900.0, prior=90.0)
    assert law.quantile(0.5) == pytest.approx(90.0 * 10 ** (2 / 3))
    assert law.known == 1


def test_it_learns_median_and_spread() -> None:
    """Log-normal durations are learned as well as their number allows; a wrong prior is forgotten."""
    rng = random.Random(1)
    law = taught(*(rng.lognormvariate(math.log(40), 0.3) for _ in range(300)), prior=2000.0)
    assert law.quantile(0.5) == pytest.approx(40, rel=0.15)
    assert law.quantile(0.84) / law.quantile(0.16) == pytest.approx(math.exp(0.6), rel=0.25)


def test_the_end_lies_in_the_middle_between_two_looks() -> None:
    """The middle of the interval is taken as the duration."""
    law, other = Law(90.0), Law(90.0)
    law.learn(50.0, 70.0)
    other.learn(60.0, 60.0)
    assert law.quantile(0.3) == other.quantile(0.3)


def test_it_follows_a_shift() -> None:
    """After all tasks take twice as long, forty of them move the median most of the way."""
    law = taught(*[60.0] * 500, *[120.0] * 40)
    assert law.quantile(0.5) == pytest.approx(120.0, rel=0.12)


def test_doubt_makes_a_young_task_of_a_new_kind_more_likely_to_end() -> None:
    """With a prior much too long a look comes nevertheless; the doubt fades as the kind becomes known."""
    fresh, known = Law(10_000.0), taught(*[10_000.0] * KNOWN, prior=10_000.0)
    assert fresh.idle(0, 60)[0] > 2.0
    assert known.idle(0, 60)[0] < 1e-6


@given(share=st.floats(0.01, 0.99), given_age=st.floats(0, 1e4))
@same_draws(100)
def test_a_quantile_is_the_age_that_survival_reaches(share: float, given_age: float) -> None:
    """True also for a task that has run for a while."""
    law = LAWS["known"]
    age = law.quantile(share, given_age)
    assert age >= given_age * (1 - 1e-9)
    assert law.survival(age, given_age) == pytest.approx(1 - share, abs=1e-6)


def test_absurd_durations_do_not_break_the_law() -> None:
    """Zero, negative by rounding, endless: all numbers stay finite."""
    law = taught(0.0, -1.0, 1e300, 0.0, prior=0.0)
    assert all(
        math.isfinite(number) for number in (*law.idle(0, 1e7), *law.idle(1e7, 1e8), law.quantile(0.99))
    )
    narrow = taught(*[0.0] * 50)
    assert narrow.idle(1e7, 1e7 + 10)[0] >= 0


def test_a_kind_has_one_law() -> None:
    """The prior counts only when a kind is first seen."""
    durations = Durations()
    law = durations.law(("video", "pro", 5), 90.0)
    assert durations.law(("video", "pro", 5), 7.0) is law
    assert durations.law("other", 7.0).quantile(0.5) == pytest.approx(7.0)


def test_kinds_are_bounded() -> None:
    """The oldest kind is forgotten; users may make up kinds without end."""
    durations = Durations()
    first = durations.law(0, 90.0)
    for kind in range(1, KINDS_MAX + 1):
        durations.law(kind, 90.0)
    assert len(durations._laws) == KINDS_MAX
    assert durations.law(0, 90.0) is not first


def test_a_law_says_what_it_knows() -> None:
    """The repr is one line for debugging."""
    assert repr(Law(90.0)) == "Law(median 90 s, sigma 0.50, 0 known)"
