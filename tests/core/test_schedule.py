"""When to ask about which task: due times, demand, and the rates that bind."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.core.schedule import INTERVAL, Schedule
from kling_async.options import Polling, Retry

if TYPE_CHECKING:
    from collections.abc import Hashable

FAST: dict[str, Any] = {"min_interval": 0.0, "requests_per_second": 1e3}


def made(*keys: str, wanted: bool = True, retry: Retry | None = None, **polling: Any) -> Schedule:
    """A schedule with these tasks, added at 0."""
    schedule = Schedule(Polling(**{**FAST, **polling}), retry or Retry())
    for key in keys:
        schedule.add(key, "video", 0.0)
        if wanted:
            schedule.want(key)
    return schedule


def drain(schedule: Schedule, now: float, until: float) -> list[tuple[float, Hashable]]:
    """Ask whenever there may be something; return when what was asked. Nothing is answered."""
    asked: list[tuple[float, Hashable]] = []
    for _ in range(10_000):
        if now > until:
            return asked
        asked += [(now, key) for key in schedule.ask(now)]
        following = schedule.next_time()
        assert following > now, "nothing to do at this time any more"
        now = following
    raise AssertionError("it spins")


@pytest.mark.parametrize(
    ("polling", "interval"),
    [
        ({}, INTERVAL),
        ({"min_interval": 8.0, "max_interval": 20.0}, 8.0),
        ({"max_interval": 2.0}, 2.0),
    ],
    ids=["plain", "not below min_interval", "not above max_interval"],
)
def test_a_task_is_due_an_interval_after_it_began_and_after_each_answer(
    polling: dict[str, Any], interval: float
) -> None:
    """Counted from the answer, not from the question."""
    schedule = made("a", **polling)
    assert schedule.next_time() == interval
    assert schedule.ask(interval - 0.01) == []
    assert schedule.ask(interval) == ["a"]
    schedule.answered("a", interval + 1.0)
    assert schedule.next_time() == max(2 * interval + 1.0, interval + polling.get("min_interval", 0.0))


def test_what_is_not_known_yet_is_asked_at_once() -> None:
    """An attached task need not wait for its first interval."""
    schedule = made()
    schedule.add("a", "video", 3.0, at_once=True)
    schedule.want("a")
    assert schedule.ask(3.0) == ["a"]


def test_a_task_is_not_asked_about_again_before_its_answer() -> None:
    """However long the answer takes and however many wait."""
    schedule = made("a")
    assert schedule.ask(5.0) == ["a"]
    schedule.want("a")
    schedule.hurry("a", 100.0)
    assert (schedule.ask(1000.0), schedule.next_time()) == ([], math.inf)


def test_the_longest_due_is_asked_first() -> None:
    """Then in the order in which they came."""
    schedule = made("a", "b")
    schedule.add("old", "video", -1.0)
    schedule.want("old")
    assert [key for _, key in drain(schedule, 6.0, 7.0)] == ["old", "a", "b"]


# -- demand


def unwant(schedule: Schedule, key: str) -> None:
    """One waiter of a task leaves."""
    schedule.unwant(schedule._entries[key])


def test_a_wish_for_a_task_that_was_forgotten_harms_no_later_one() -> None:
    """Forgotten and looked after again: who waited before leaves late, who waits now stays."""
    schedule = Schedule(Polling(), Retry())
    schedule.add("a", "video", 0.0)
    old = schedule.want("a")
    schedule.remove("a")
    schedule.add("a", "video", 10.0)
    schedule.want("a")
    schedule.unwant(old)
    assert schedule.next_time() == 15.0


def test_nobody_waits_nothing_is_asked() -> None:
    """Neither before the first waiter nor after the last one, of several, left."""
    schedule = made("a", wanted=False)
    assert (schedule.ask(1.0), schedule.next_time()) == ([], math.inf)
    schedule.want("a")
    schedule.want("a")
    unwant(schedule, "a")
    assert schedule.next_time() == 5.0
    unwant(schedule, "a")
    assert (schedule.next_time(), schedule.ask(100.0), len(schedule)) == (math.inf, [], 1)


def test_a_waiter_who_comes_late_finds_the_task_overdue() -> None:
    """The due time passed while nobody waited: it is asked at once, and once."""
    schedule = made("a")
    unwant(schedule, "a")
    assert schedule.ask(50.0) == []
    schedule.want("a")
    assert schedule.ask(50.0) == ["a"]
    assert schedule.next_time() == math.inf


def test_an_answer_nobody_waits_for_any_more_leads_to_no_next_question() -> None:
    """Demand is looked at again after each answer."""
    schedule = made("a")
    schedule.ask(5.0)
    unwant(schedule, "a")
    schedule.answered("a", 6.0)
    assert schedule.next_time() == math.inf


def test_a_crowded_pool_wants_all_its_tasks_and_no_others() -> None:
    """Somebody queues for a slot: any of its tasks may free one, until nobody queues."""
    schedule = made("a", "b", wanted=False)
    schedule.add("image", "image", 0.0)
    schedule.crowd("video", crowded=True)
    schedule.crowd("video", crowded=True)
    assert [key for _, key in drain(schedule, 5.0, 6.0)] == ["a", "b"]
    for key in ("a", "b"):
        schedule.answered(key, 6.0)
    schedule.crowd("video", crowded=False)
    assert schedule.next_time() == math.inf
    schedule.crowd("video", crowded=False)
    schedule.crowd("image", crowded=True)
    assert schedule.ask(6.0) == ["image"]


def test_a_forgotten_task_is_not_asked_about() -> None:
    """Queued or being asked; what comes afterwards for it has no effect, also in a crowded pool."""
    schedule = made("a", "b")
    schedule.crowd("video", crowded=True)
    schedule.remove("a")
    assert [key for _, key in drain(schedule, 5.0, 6.0)] == ["b"]
    schedule.remove("b")
    schedule.remove("b")
    schedule.answered("b", 6.0)
    schedule.hurry("b", 6.0)
    assert schedule.failed("b", 6.0, 0.5) == 0
    assert (len(schedule), schedule.ask(100.0), schedule.next_time()) == (0, [], math.inf)


def test_a_hurried_task_is_asked_about_at_once_and_goes_on_from_there() -> None:
    """Its old due time asks nothing more and loses nothing; the next is an interval after the answer."""
    schedule = made("a")
    schedule.add("b", "video", -2.0)
    schedule.want("b")
    schedule.hurry("a", 1.0)
    schedule.hurry("a", 2.0)
    assert schedule.ask(1.0) == ["a"]
    schedule.answered("a", 1.5)
    assert drain(schedule, 1.5, 20.0) == [(3.0, "b"), (6.5, "a")]


def test_an_old_due_time_that_comes_true_again_asks_only_once() -> None:
    """Hurried at 0 and answered at 0, it is due at 5 as it was before."""
    schedule = made("a")
    schedule.add("b", "video", -2.0)
    schedule.want("b")
    schedule.hurry("a", 0.0)
    assert schedule.ask(0.0) == ["a"]
    schedule.answered("a", 0.0)
    assert drain(schedule, 0.0, 20.0) == [(3.0, "b"), (5.0, "a")]


@pytest.mark.parametrize("step", ["answered", "failed"])
def test_an_answer_that_was_not_asked_for_does_not_lose_the_task(step: str) -> None:
    """As with a task forgotten and added again while its question was on its way: it is asked again."""
    schedule = made("a")
    if step == "answered":
        schedule.answered("a", 1.0)
    else:
        schedule.failed("a", 1.0, 0.5)
    assert schedule.next_time() < math.inf


# -- rates


def test_rounds_are_at_least_min_interval_apart() -> None:
    """What becomes due meanwhile waits for the next round, and goes together there."""
    schedule = made("a", min_interval=1.0)
    schedule.add("b", "video", 0.4)
    schedule.add("c", "video", 0.9)
    schedule.want("b")
    schedule.want("c")
    assert schedule.ask(5.0) == ["a"]
    assert schedule.next_time() == 6.0
    assert schedule.ask(5.999) == []
    assert [key for _, key in drain(schedule, 6.0, 6.5)] == ["b", "c"]


def test_a_round_larger_than_the_rate_goes_on_without_a_new_interval() -> None:
    """All that was due is one round: only the rate spaces it, and the interval follows its end."""
    schedule = made(*"abcd", min_interval=3.0, requests_per_second=2)
    assert drain(schedule, 5.0, 7.0) == [(5.0, "a"), (5.5, "b"), (6.0, "c"), (6.5, "d")]
    schedule.answered("a", 2.0)
    assert schedule.next_time() == 9.5


def test_a_min_interval_of_0_is_allowed() -> None:
    """Then only the rate binds."""
    schedule = made("a", min_interval=0.0, max_interval=0.0)
    assert schedule.ask(0.0) == ["a"]
    schedule.answered("a", 0.0)
    assert schedule.next_time() == pytest.approx(0.001)


@given(
    rate=st.sampled_from([0.3, 1.0, 3.0, 7.0, 10.0, 100.0]),
    start=st.sampled_from([0.0, 0.1, 12_345.6789, 3e6]),
    wakes=st.lists(st.floats(0.0, 2.0), max_size=30),
    count=st.integers(1, 40),
)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_no_window_of_a_second_has_more_questions_than_the_rate(
    rate: float, start: float, wakes: list[float], count: int
) -> None:
    """Whenever the driver happens to ask: at next_time, earlier or later; never below one in all."""
    schedule = Schedule(Polling(min_interval=0.0, max_interval=0.0, requests_per_second=rate), Retry())
    for number in range(count):
        schedule.add(number, "video", start)
        schedule.want(number)
    now, asked, waits = start, list[float](), iter(wakes)
    for _ in range(4 * count):
        for key in schedule.ask(now):
            asked.append(now)
            schedule.answered(key, now)
        now = max(now, min(schedule.next_time(), now + next(waits, math.inf)))
    window = max(1.0, 1 / rate) - 1e-5
    allowed = math.ceil(rate * window)
    for place, first in enumerate(asked):
        assert sum(first <= when < first + window for when in asked[place:]) <= allowed
    assert len(asked) >= (2 if not wakes else 1)


SPEEDS = [(10.0, 0.0), (3.0, 1e7), (1e3, 1e6), (1e9, 1e3)]


@pytest.mark.parametrize(
    ("rate", "start"),
    [
        *SPEEDS[:3],
        pytest.param(
            *SPEEDS[3],
        ),
    ],
    ids=["plain", "months", "fast", "as good as no rate"],
)
def test_next_time_never_spins(rate: float, start: float) -> None:
    """At it there is something to ask, or it moves on: else a driver on a virtual clock loops for ever."""
    schedule = made(requests_per_second=rate)
    for number in range(300):
        schedule.add(number, "video", start, at_once=True)
        schedule.want(number)
    now, idle, count = start, 0, 0
    while (following := schedule.next_time()) < math.inf:
        now = max(now, following)
        asked = schedule.ask(now)
        count += len(asked)
        idle = 0 if asked else idle + 1
        assert idle < 3, f"nothing asked at {now}"
    assert count == 300


# -- failures


def test_a_question_that_failed_is_asked_again_after_a_pause_that_doubles_up_to_the_cap() -> None:
    """It says how often in a row; an answer begins anew."""
    schedule = made("a", retry=Retry(base=1.0, cap=10.0))
    now, pauses, counts = 5.0, [], []
    for _ in range(6):
        assert schedule.ask(now) == ["a"]
        counts.append(schedule.failed("a", now, 1.0))
        pauses.append(schedule.next_time() - now)
        now = schedule.next_time()
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert counts == [1, 2, 3, 4, 5, 6]
    schedule.ask(now)
    schedule.answered("a", now)
    now = schedule.next_time()
    schedule.ask(now)
    assert (schedule.failed("a", now, 1.0), schedule.next_time()) == (1, now + 1.0)


def test_a_thousand_failures_in_a_row_still_pause_for_the_cap() -> None:
    """No power grows out of the range of numbers."""
    schedule, now = made("a", retry=Retry(base=0.5, cap=30.0)), 5.0
    for _ in range(1100):
        schedule.ask(now)
        schedule.failed("a", now, 1.0)
        now = schedule.next_time()
    schedule.ask(now)
    assert schedule.failed("a", now, 1.0) == 1101
    assert schedule.next_time() == now + 30.0


@pytest.mark.parametrize(
    ("jitter", "after", "pause"),
    [(0.0, None, 2.0), (0.5, None, 3.0), (1.0, None, 4.0), (1.0, 9.0, 9.0), (1.0, 0.0, 4.0)],
    ids=["half", "three quarters", "whole", "the server asks for more", "the server asks for less"],
)
def test_the_pause_has_jitter_and_the_servers_wish_may_lengthen_it(
    jitter: float, after: float | None, pause: float
) -> None:
    """The caller's random number takes up to half off; Retry-After never shortens."""
    schedule = made("a", retry=Retry(base=4.0))
    schedule.ask(5.0)
    schedule.failed("a", 5.0, jitter, after)
    assert schedule.next_time() == 5.0 + pause
