"""core/schedule.py under callbacks: told ends need no query, and silence lets queries wait (rule 18)."""

from __future__ import annotations

import math

import pytest

from kling_async.core.callbacks import CallbackChannel, ExpectedCallback
from kling_async.core.durations import Durations
from tests.core.schedules import add, ask_next, known, made, singles


def reliable(told: int = 200) -> CallbackChannel:
    """Return the channel of a receiver that was told so many ends in a row."""
    channel = CallbackChannel()
    for number in range(told):
        channel.told(f"earlier {number}", 0.0)
    return channel


def test_the_more_reliable_a_receiver_the_later_the_query() -> None:
    """Rule 18: a receiver that never told an end changes nothing."""
    due = []
    for told in (0, 1, 10, 200):
        schedule = made()
        add(schedule, ["a"], callback=ExpectedCallback(reliable(told), "a"))
        due.append(schedule.next_time())
    without = made("a").next_time()
    assert due[0] == without
    assert due == sorted(set(due))
    assert without + 600.0 >= due[3] > without + 60.0


def test_a_task_without_a_callback_is_polled_as_ever() -> None:
    """Rule 18: it counts for each task by itself, also beside others whose callbacks are relied upon."""
    schedule = made(forms=singles())
    add(schedule, ["called"], callback=ExpectedCallback(reliable(), "called"))
    add(schedule, ["polled"])
    now, (query,) = ask_next(schedule)
    assert query.keys == ("polled",)
    assert now == pytest.approx(made("polled").next_time())


@pytest.mark.parametrize("latency", [0.0, 4.0])
def test_a_told_end_teaches_its_duration_and_needs_no_query(latency: float) -> None:
    """Rule 18: the end is the callback's time less the receiver's latency; what is told twice counts once."""
    durations, channel = Durations(), CallbackChannel()
    channel.latency = latency
    schedule = made(durations=durations)
    add(schedule, ["a"], now=100.0, callback=ExpectedCallback(channel, "a"))
    schedule.told("a", 164.0)
    law = durations.law("video", 90.0)
    assert law.known == 1
    expected = Durations().law("video", 90.0)
    expected.learn(64.0 - latency, 64.0 - latency)
    assert law.quantile(0.5) == pytest.approx(expected.quantile(0.5))
    assert (len(schedule), schedule.next_time()) == (0, math.inf)
    before = channel.reliability
    assert before > 0.9
    schedule.told("a", 165.0)
    assert channel.reliability == before and law.known == 1


def test_an_end_may_be_told_of_a_task_that_no_receiver_is_known_of() -> None:
    """It is forgotten all the same: an attached task, whose create somebody else sent."""
    schedule = made("a", "b", durations=known())
    schedule.told("a", 64.0)
    assert len(schedule) == 1


def test_an_end_told_while_a_query_is_out_leaves_nothing_behind() -> None:
    """The answer comes later and is about a task that is forgotten."""
    channel = reliable(1)
    schedule = made()
    add(schedule, ["a"], callback=ExpectedCallback(channel, "a"))
    now, (query,) = ask_next(schedule)
    schedule.told("a", now)
    before = channel.reliability
    schedule.answered(query, (), ("a",), now + 0.1)
    assert channel.reliability == before
    assert (len(schedule), schedule.next_time()) == (0, math.inf)


@pytest.mark.parametrize("hinted", [True, False])
def test_an_end_found_after_a_hint_was_told(hinted: bool) -> None:
    """Rule 18: a callback that is not believed counts once its query confirms it, else the end was silent."""
    channel = reliable(20)
    before = channel.reliability
    schedule = made()
    add(schedule, ["a"], callback=ExpectedCallback(channel, "a"))
    if hinted:
        schedule.hurry("a", 64.0)
        assert schedule.next_time() == 64.0
    now, (query,) = ask_next(schedule)
    schedule.answered(query, (), ("a",), now + 0.1)
    assert channel.reliability > before if hinted else channel.reliability < before


def test_a_hint_that_is_not_confirmed_says_nothing_about_a_later_end() -> None:
    """Rule 18: the task ran on, so the hint told no end."""
    channel = reliable(20)
    before = channel.reliability
    schedule = made()
    add(schedule, ["a"], callback=ExpectedCallback(channel, "a"))
    schedule.hurry("a", 64.0)
    (query,) = schedule.ask(64.0)
    schedule.answered(query, ("a",), (), 64.1)
    assert schedule.next_time() > 70.0
    now, (query,) = ask_next(schedule)
    schedule.answered(query, (), ("a",), now + 0.1)
    assert channel.reliability < before


def test_a_hint_during_a_query_has_one_more_follow_if_that_sees_the_task_run() -> None:
    """Rule 18: the query may have missed the end by a moment, and the next one is far away."""
    channel = reliable()
    schedule = made()
    add(schedule, ["a"], callback=ExpectedCallback(channel, "a"))
    now, (query,) = ask_next(schedule)
    schedule.hurry("a", now + 0.05)
    schedule.answered(query, ("a",), (), now + 0.1)
    now, (query,) = ask_next(schedule)
    assert now <= query.asked_at + 0.1
    schedule.answered(query, ("a",), (), now + 0.1)
    assert schedule.next_time() > now + 1.0


def test_a_silent_end_hastens_the_queries_of_all_tasks_of_its_receiver() -> None:
    """Rule 18: due times that relied on the receiver are computed anew, also those of other groups."""
    channel = reliable()
    schedule = made(forms=singles())
    for key in "ab":
        add(schedule, [key], now=0.0 if key == "a" else 50.0, callback=ExpectedCallback(channel, key))
    now, (query,) = ask_next(schedule)
    assert query.keys == ("a",)
    before = schedule.next_time()
    schedule.answered(query, (), ("a",), now + 0.1)
    assert schedule.next_time() < before - 10.0
