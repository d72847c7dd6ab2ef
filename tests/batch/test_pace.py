"""pace.py: how long the rest of a batch may take, by what was seen of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.batch.pace import Load, Pace

CLIP = Load("video", "clip", 1, None)
STILL = Load("image", "still", 3, None)


def pace(**seconds: float) -> Pace:
    """Return a pace that has seen one clip and one still of three slots end."""
    found = Pace()
    for name, load in (("clip", CLIP), ("still", STILL)):
        if name in seconds:
            found.begin(load.pool)
            found.end(load, seconds[name])
    return found


def test_nothing_is_said_before_a_task_has_ended() -> None:
    """With work in a pool of which no task was seen to end the time is not known; without work it is 0."""
    assert Pace().seconds_left([], 0, {}) == 0
    assert Pace().seconds_left([CLIP], 0, {"video": 5}) is None
    assert Pace().seconds_left([], 3, {"video": 5}) is None
    assert pace(clip=10).seconds_left([CLIP, STILL], 0, {"video": 5, "image": 9}) is None
    assert pace(clip=10, still=5).seconds_left([CLIP, STILL], 0, {"video": 5, "image": 9}) == 10


def test_the_longest_pool_counts_and_its_slots() -> None:
    """Ten clips in five slots take two turns; stills of three slots beside them do not add to that."""
    found = pace(clip=10, still=6)
    assert found.seconds_left([CLIP] * 10, 0, {"video": 5}) == 20
    assert found.seconds_left([CLIP] * 10 + [STILL] * 2, 0, {"video": 5, "image": 9}) == 20
    assert found.seconds_left([STILL] * 30, 0, {"image": 9}) == pytest.approx(60)


def test_unread_jobs_are_spread_as_those_read_were() -> None:
    """Of one clip and one still begun, ten unread ones count as five of each."""
    assert pace(clip=10, still=2).seconds_left([], 10, {"video": 5, "image": 9}) == pytest.approx(10)


@given(
    ages=st.lists(st.floats(0, 100) | st.none(), max_size=12),
    unread=st.integers(0, 50),
    slots=st.integers(1, 9),
    usual=st.floats(0.1, 60),
)
def test_the_rest_shrinks_as_tasks_go_on(
    ages: list[float | None], unread: int, slots: int, usual: float
) -> None:
    """Never below a running task's own rest; a second later it is not more; more slots help."""
    found = pace(clip=usual)

    def left(ages: list[float | None], slots: int) -> float:
        value = found.seconds_left([CLIP._replace(age=age) for age in ages], unread, {"video": slots})
        assert value is not None
        return value

    now = left(ages, slots)
    assert now >= 0
    assert now >= max((usual - age for age in ages if age is not None), default=0) - 1e-9
    assert left([None if age is None else age + 1 for age in ages], slots) <= now + 1e-9
    assert left(ages, slots + 1) <= now + 1e-9
    assert (now > 0) == bool(ages or unread)
