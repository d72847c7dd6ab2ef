"""core/vendor_clock.py: ages do not depend on a right local clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.vendor_clock import VendorClock
from kling_async.records import TaskRecord

NOW = 1_790_000_000.0


def made(seconds_ago: float) -> TaskRecord:
    return TaskRecord(endpoint="x", task_id="1", created_at=int((NOW - seconds_ago) * 1000))


@given(st.floats(-1e9, 1e9), st.floats(0, 7000))
def test_the_age_is_right_whatever_the_local_clock_shows(off: float, age: float) -> None:
    """The Date of one answer is enough, hours or years off."""
    clock = VendorClock()
    clock.seen(NOW, NOW + off)
    assert clock.age(made(age), NOW + off) == pytest.approx(age, abs=2.01)


@given(st.floats(-1e9, 1e9))
def test_without_a_date_the_age_is_bounded(off: float) -> None:
    """A clock that is hours off makes no task older than tasks get."""
    clock = VendorClock()
    clock.seen(None, NOW + off)
    assert 0 <= clock.age(made(60), NOW + off) <= 7200


def test_an_unknown_creation_has_no_age() -> None:
    """Nothing is guessed."""
    assert VendorClock().age(None, NOW) == VendorClock().age(TaskRecord(endpoint="x", task_id="1"), NOW) == 0
