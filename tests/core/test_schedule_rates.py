"""Who is asked about at all, and how often at most: demand, rates, failures."""

from __future__ import annotations

import math
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms
from kling_async.options import Retry
from tests.core.schedules import add, ask_next, keys_of, made, names, singles, without_ids
from tests.profiles import same_draws

# -- demand


def test_nobody_waits_nothing_is_asked() -> None:
    """Neither before the first waiter nor after the last one, of several, left."""
    schedule = made("a", wanted=False)
    assert (schedule.ask(1.0), schedule.next_time()) == ([], math.inf)
    wishes = [schedule.want("a"), schedule.want("a")]
    schedule.unwant(wishes[0])
    assert schedule.next_time() < math.inf
    schedule.unwant(wishes[1])
    assert (schedule.next_time(), schedule.ask(100.0), len(schedule)) == (math.inf, [], 1)


def test_a_wish_for_a_task_that_was_forgotten_harms_no_later_one() -> None:
    """Forgotten and looked after again: who waited before leaves late, who waits now stays."""
    schedule = made(wanted=False)
    add(schedule, "a", wanted=False)
    old = schedule.want("a")
    schedule.remove("a")
    add(schedule, "a", now=10.0)
    schedule.unwant(old)
    assert schedule.next_time() < math.inf


def test_a_waiter_who_comes_late_finds_the_task_overdue() -> None:
    """It is asked at once, and once."""
    schedule = made("a", wanted=False)
    assert schedule.ask(500.0) == []
    schedule.want("a")
    assert keys_of(schedule.ask(500.0)) == {"a"}
    assert schedule.next_time() == math.inf


def test_an_answer_nobody_waits_for_any_more_leads_to_no_next_question() -> None:
    """Demand is looked at again after each answer."""
    schedule = made(wanted=False)
    add(schedule, "a", wanted=False)
    wish = schedule.want("a")
    now, (question,) = ask_next(schedule)
    schedule.unwant(wish)
    schedule.answered(question, ("a",), (), now)
    assert schedule.next_time() == math.inf


def test_the_first_in_the_queue_of_a_full_pool_asks_at_once_about_its_tasks_and_no_others() -> None:
    """Any of its tasks may free a slot; when nobody queues any more nothing is asked."""
    schedule = made("a", "b", wanted=False)
    add(schedule, ["image"], pool="image", wanted=False)
    schedule.ask(3.0)
    schedule.crowd("video", crowded=True)
    schedule.crowd("video", crowded=True)
    (question,) = schedule.ask(3.0)
    assert set(question.keys) == {"a", "b"}
    schedule.answered(question, question.keys, (), 3.0)
    assert schedule.next_time() > 30.0
    add(schedule, ["c"], now=4.0, wanted=False)
    assert keys_of(ask_next(schedule)[1]) == {"a", "b", "c"}
    schedule.crowd("video", crowded=False)
    schedule.crowd("video", crowded=False)
    assert schedule.next_time() == math.inf


def test_a_hurried_task_is_asked_about_at_once_and_goes_on_from_there() -> None:
    """As a wait on an attached task; one that is being asked about is not asked twice."""
    schedule = made("a")
    schedule.hurry("a", 1.0)
    (question,) = schedule.ask(1.0)
    schedule.hurry("a", 1.2)
    schedule.hurry("nobody", 1.2)
    assert schedule.next_time() == math.inf
    schedule.answered(question, ("a",), (), 1.5)
    assert schedule.next_time() > 30.0


def test_what_is_not_known_yet_is_asked_at_once() -> None:
    """An attached task."""
    schedule = made()
    add(schedule, ["a"], now=3.0, at_once=True)
    assert keys_of(schedule.ask(3.0)) == {"a"}


def test_an_answer_to_an_old_question_does_not_touch_a_task_added_anew() -> None:
    """Forgotten and added again while its question was out: the old answer is about the old one."""
    schedule = made("a")
    now, (question,) = ask_next(schedule)
    schedule.remove("a")
    add(schedule, "a", now=now)
    schedule.answered(question, (), ("a",), now)
    assert schedule.failed(question, now, 0.5) == 0
    assert len(schedule) == 1 and schedule.next_time() > now


# -- rates and failures


def test_rounds_are_min_interval_apart_and_take_along_what_would_be_due_before_the_next() -> None:
    """Two lists, due shortly after each other, go together."""
    schedule = made(forms=without_ids(), min_interval=2.0)
    add(schedule, names(5), path="/a")
    add(schedule, names(5, "b"), now=0.5, path="/b")
    now, questions = ask_next(schedule)
    if len(questions) < 2:  # the rate spaces them
        then, more = ask_next(schedule)
        assert then < now + 0.01
        questions += more
    assert {question.path for question in questions} == {"/a", "/b"}
    for question in questions:
        schedule.answered(question, question.keys, (), now)
    add(schedule, ["new"], now=now, path="/c", at_once=True)
    assert schedule.next_time() >= now + 2.0
    assert schedule.ask(now + 1.9) == []


def test_a_round_larger_than_the_rate_goes_on_without_a_new_interval() -> None:
    """All that was due is one round: only the rate spaces it, and the interval follows its end."""
    schedule = made(*"abcd", min_interval=3.0, requests_per_second=2, forms=singles())
    for key in "abcd":
        schedule.hurry(key, 5.0)
    times = [ask_next(schedule)[0] for _ in range(4)]
    assert [time - times[0] for time in times] == [0, 0.5, 1.0, 1.5]
    add(schedule, ["e"], now=times[0], at_once=True)
    assert ask_next(schedule)[0] >= times[0] + 1.5


def test_a_long_list_spends_the_rate_of_all_its_pages() -> None:
    """Three pages at two requests a second: the next question comes a second and a half later."""
    schedule = made(*names(1100), requests_per_second=2, forms=without_ids())
    now, (question,) = ask_next(schedule)
    assert question.requests == 3
    add(schedule, ["x"], now=now, at_once=True, path="/x")
    assert schedule.next_time() == pytest.approx(now + 1.5)


@pytest.mark.parametrize("form", ["ids", "list", "one"])
def test_a_question_that_failed_is_asked_again_after_a_pause_that_doubles_up_to_the_cap(form: str) -> None:
    """It says how often in a row; an answer begins anew. In every form."""
    forms = {"ids": QueryForms(batch_ids=True), "list": without_ids(), "one": singles()}[form]
    schedule = made(*("a" if form == "one" else "ab"), retry=Retry(base=1.0, cap=10.0), forms=forms)
    pauses, counts = [], []
    now, (question,) = ask_next(schedule)
    for _ in range(6):
        counts.append(schedule.failed(question, now, 1.0))
        then, (question,) = ask_next(schedule)
        pauses.append(then - now)
        now = then
    assert (counts, question.form) == ([1, 2, 3, 4, 5, 6], form)
    assert pauses == pytest.approx([1, 2, 4, 8, 10, 10])
    schedule.answered(question, question.keys, (), now)
    now, (question,) = ask_next(schedule)
    assert schedule.failed(question, now, 1.0) == 1


@pytest.mark.parametrize(
    ("jitter", "after", "pause"),
    [(0.0, None, 2.0), (0.5, None, 3.0), (1.0, None, 4.0), (1.0, 9.0, 9.0), (1.0, 0.0, 4.0)],
    ids=["half", "three quarters", "whole", "the server asks for more", "the server asks for less"],
)
def test_the_pause_has_jitter_and_the_servers_wish_may_lengthen_it(
    jitter: float, after: float | None, pause: float
) -> None:
    """The caller's random number takes up to half off; neither a hurry nor Retry-After shortens it."""
    schedule = made("a", retry=Retry(base=4.0))
    now, (question,) = ask_next(schedule)
    schedule.failed(question, now, jitter, after)
    schedule.hurry("a", now)
    assert schedule.next_time() == pytest.approx(now + pause)


@given(
    rate=st.sampled_from([0.3, 1.0, 3.0, 7.0, 10.0, 100.0]),
    start=st.sampled_from([0.0, 0.1, 12_345.6789, 3e6]),
    wakes=st.lists(st.floats(0.0, 2.0), max_size=30),
    count=st.integers(1, 40),
)
@same_draws(100)
def test_no_window_of_a_second_has_more_questions_than_the_rate(
    rate: float, start: float, wakes: list[float], count: int
) -> None:
    """Whenever the driver happens to ask: at next_time, earlier or later; and every task gets its turn."""
    schedule = made(forms=singles(), durations=Durations(), max_interval=0.0, requests_per_second=rate)
    add(schedule, names(count), now=start)
    now, asked, waits, turns = start, list[float](), iter(wakes), set[object]()
    for _ in range(4 * count + 40):
        for question in schedule.ask(now):
            asked.append(now)
            turns.update(question.keys)
            schedule.answered(question, question.keys, (), now)
        now = max(now, min(schedule.next_time(), now + next(waits, math.inf)))
    window = max(1.0, 1 / rate) - 1e-5
    allowed = math.ceil(rate * window)
    assert asked == sorted(asked)
    for place, first in enumerate(asked):
        assert bisect_left(asked, first + window) - place <= allowed
    assert len(turns) == count


def test_the_heap_stays_small() -> None:
    """Out of date due times do not pile up, however often they move."""
    schedule = made(*names(5))
    for number in range(2000):
        schedule.hurry("t0", number * 1e-3)
        for question in schedule.ask(number * 1e-3):
            schedule.answered(question, question.keys, (), number * 1e-3)
        schedule.next_time()
    assert len(schedule._heap) < 200
