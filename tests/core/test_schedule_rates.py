"""core/schedule.py: which tasks are asked about at all, and how often at most."""

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
    """No query goes out before the first waiter comes, nor after the last of several left."""
    schedule = made("a", wanted=False)
    assert (schedule.ask(1.0), schedule.next_time()) == ([], math.inf)
    tokens = [schedule.add_waiter("a"), schedule.add_waiter("a")]
    schedule.remove_waiter(tokens[0])
    assert schedule.next_time() < math.inf
    schedule.remove_waiter(tokens[1])
    assert (schedule.next_time(), schedule.ask(100.0), len(schedule)) == (math.inf, [], 1)


def test_a_waiter_of_a_forgotten_task_harms_no_later_one() -> None:
    """Forgotten and added again: the old waiter leaves late, the new one still gets its queries."""
    schedule = made(wanted=False)
    add(schedule, "a", wanted=False)
    old = schedule.add_waiter("a")
    schedule.remove("a")
    add(schedule, "a", now=10.0)
    schedule.remove_waiter(old)
    assert schedule.next_time() < math.inf


def test_a_waiter_who_comes_late_finds_the_task_overdue() -> None:
    """One query goes out at once, and only one."""
    schedule = made("a", wanted=False)
    assert schedule.ask(500.0) == []
    schedule.add_waiter("a")
    assert keys_of(schedule.ask(500.0)) == {"a"}
    assert schedule.next_time() == math.inf


def test_an_answer_nobody_waits_for_any_more_leads_to_no_next_query() -> None:
    """Demand is checked again after each answer."""
    schedule = made(wanted=False)
    add(schedule, "a", wanted=False)
    token = schedule.add_waiter("a")
    now, (query,) = ask_next(schedule)
    schedule.remove_waiter(token)
    schedule.answered(query, ("a",), (), now)
    assert schedule.next_time() == math.inf


def test_the_first_in_the_queue_of_a_full_pool_asks_at_once_about_its_tasks_and_no_others() -> None:
    """Any task of the contended pool may free a slot; without contention nothing is asked."""
    schedule = made("a", "b", wanted=False)
    add(schedule, ["image"], pool="image", wanted=False)
    schedule.ask(3.0)
    schedule.set_contention("video", contended=True)
    schedule.set_contention("video", contended=True)
    (query,) = schedule.ask(3.0)
    assert set(query.keys) == {"a", "b"}
    schedule.answered(query, query.keys, (), 3.0)
    assert schedule.next_time() > 30.0
    add(schedule, ["c"], now=4.0, wanted=False)
    assert keys_of(ask_next(schedule)[1]) == {"a", "b", "c"}
    schedule.set_contention("video", contended=False)
    schedule.set_contention("video", contended=False)
    assert schedule.next_time() == math.inf


def test_a_hurried_task_is_asked_about_at_once_and_goes_on_from_there() -> None:
    """A wait on an attached task hurries it; a task that is being asked about is not asked twice."""
    schedule = made("a")
    schedule.hurry("a", 1.0)
    (query,) = schedule.ask(1.0)
    schedule.hurry("a", 1.2)
    schedule.hurry("nobody", 1.2)
    assert schedule.next_time() == math.inf
    schedule.answered(query, ("a",), (), 1.5)
    assert schedule.next_time() > 30.0


def test_a_task_not_seen_yet_is_asked_about_at_once() -> None:
    """An attached task is added so: its state is unknown."""
    schedule = made()
    add(schedule, ["a"], now=3.0, at_once=True)
    assert keys_of(schedule.ask(3.0)) == {"a"}


def test_an_answer_to_an_old_query_does_not_touch_a_task_added_anew() -> None:
    """Forgotten and added again while its query was out: the old answer is about the old task."""
    schedule = made("a")
    now, (query,) = ask_next(schedule)
    schedule.remove("a")
    add(schedule, "a", now=now)
    schedule.answered(query, (), ("a",), now)
    assert schedule.failed(query, now, 0.5) == 0
    assert len(schedule) == 1 and schedule.next_time() > now


# -- rates and failures


def test_rounds_are_min_interval_apart_and_take_along_what_would_be_due_before_the_next() -> None:
    """Two lists, due shortly after each other, go in one round."""
    schedule = made(forms=without_ids(), min_interval=2.0)
    add(schedule, names(5), path="/a")
    add(schedule, names(5, "b"), now=0.5, path="/b")
    now, queries = ask_next(schedule)
    if len(queries) < 2:  # the rate spaces them
        then, more = ask_next(schedule)
        assert then < now + 0.01
        queries += more
    assert {query.path for query in queries} == {"/a", "/b"}
    for query in queries:
        schedule.answered(query, query.keys, (), now)
    add(schedule, ["new"], now=now, path="/c", at_once=True)
    assert schedule.next_time() >= now + 2.0
    assert schedule.ask(now + 1.9) == []


def test_a_round_larger_than_the_rate_goes_on_without_a_new_interval() -> None:
    """All groups that were due form one round: only the rate spaces it, and the interval follows its end."""
    schedule = made(*"abcd", min_interval=3.0, requests_per_second=2, forms=singles())
    for key in "abcd":
        schedule.hurry(key, 5.0)
    times = [ask_next(schedule)[0] for _ in range(4)]
    assert [time - times[0] for time in times] == [0, 0.5, 1.0, 1.5]
    add(schedule, ["e"], now=times[0], at_once=True)
    assert ask_next(schedule)[0] >= times[0] + 1.5


def test_a_long_list_spends_the_rate_of_all_its_pages() -> None:
    """Three pages at two requests a second: the next query comes a second and a half later."""
    schedule = made(*names(1100), requests_per_second=2, forms=without_ids())
    now, (query,) = ask_next(schedule)
    assert query.requests == 3
    add(schedule, ["x"], now=now, at_once=True, path="/x")
    assert schedule.next_time() == pytest.approx(now + 1.5)


@pytest.mark.parametrize("form", ["ids", "list", "one"])
def test_a_query_that_failed_is_sent_again_after_a_pause_that_doubles_up_to_the_cap(form: str) -> None:
    """Failures in a row are counted, in every form; an answer begins anew."""
    forms = {"ids": QueryForms(batch_ids=True), "list": without_ids(), "one": singles()}[form]
    schedule = made(*("a" if form == "one" else "ab"), retry=Retry(base=1.0, cap=10.0), forms=forms)
    pauses, counts = [], []
    now, (query,) = ask_next(schedule)
    for _ in range(6):
        counts.append(schedule.failed(query, now, 1.0))
        then, (query,) = ask_next(schedule)
        pauses.append(then - now)
        now = then
    assert (counts, query.form) == ([1, 2, 3, 4, 5, 6], form)
    assert pauses == pytest.approx([1, 2, 4, 8, 10, 10])
    schedule.answered(query, query.keys, (), now)
    now, (query,) = ask_next(schedule)
    assert schedule.failed(query, now, 1.0) == 1


def test_tasks_that_joined_while_a_query_was_out_have_their_turn_after_it_failed() -> None:
    """The group waits for the pause, though nobody wants the tasks of the query any more."""
    schedule = made(retry=Retry(base=4.0))
    add(schedule, "ab", wanted=False)
    tokens = [schedule.add_waiter(key) for key in "ab"]
    now, (query,) = ask_next(schedule)
    add(schedule, "cd", now=now)
    assert schedule.next_time() < math.inf  # their due time is known, and not to be computed anew
    for token in tokens:
        schedule.remove_waiter(token)
    schedule.failed(query, now, 1.0)
    assert now + 4.0 <= schedule.next_time() < math.inf


@pytest.mark.parametrize(
    ("jitter", "after", "pause"),
    [(0.0, None, 2.0), (0.5, None, 3.0), (1.0, None, 4.0), (1.0, 9.0, 9.0), (1.0, 0.0, 4.0)],
    ids=["half", "three quarters", "whole", "the server asks for more", "the server asks for less"],
)
def test_the_pause_has_jitter_and_retry_after_may_lengthen_it(
    jitter: float, after: float | None, pause: float
) -> None:
    """The caller's random number takes up to half off; neither a hurry nor Retry-After shortens it."""
    schedule = made("a", retry=Retry(base=4.0))
    now, (query,) = ask_next(schedule)
    schedule.failed(query, now, jitter, after)
    schedule.hurry("a", now)
    assert schedule.next_time() == pytest.approx(now + pause)


@given(
    rate=st.sampled_from([0.3, 1.0, 3.0, 7.0, 10.0, 100.0]),
    start=st.sampled_from([0.0, 0.1, 12_345.6789, 3e6]),
    wakes=st.lists(st.floats(0.0, 2.0), max_size=30),
    count=st.integers(1, 40),
)
@same_draws(100)
def test_no_window_of_a_second_has_more_queries_than_the_rate(
    rate: float, start: float, wakes: list[float], count: int
) -> None:
    """The driver may ask at next_time, earlier or later; every task gets its turn."""
    schedule = made(forms=singles(), durations=Durations(), max_interval=0.0, requests_per_second=rate)
    add(schedule, names(count), now=start)
    now, asked, waits, turns = start, list[float](), iter(wakes), set[object]()
    for _ in range(4 * count + 40):
        for query in schedule.ask(now):
            asked.append(now)
            turns.update(query.keys)
            schedule.answered(query, query.keys, (), now)
        now = max(now, min(schedule.next_time(), now + next(waits, math.inf)))
    window = max(1.0, 1 / rate) - 1e-5
    allowed = math.ceil(rate * window)
    assert asked == sorted(asked)
    for place, first in enumerate(asked):
        assert bisect_left(asked, first + window) - place <= allowed
    assert len(turns) == count


@given(
    rate=st.sampled_from([0.3, 1.0, 3.0, 10.0]),
    start=st.sampled_from([0.0, 0.1, 12_345.6789, 3e6]),
    arrivals=st.lists(
        st.tuples(st.floats(0.0, 5.0), st.sampled_from(["lookup", "poll", "refresh"])), max_size=40
    ),
    wakes=st.lists(st.floats(0.0, 1.0), max_size=30),
)
@same_draws(100)
def test_no_window_of_a_second_has_more_reads_than_the_rate_and_look_ups_go_first(
    rate: float, start: float, arrivals: list[tuple[float, str]], wakes: list[float]
) -> None:
    """Whatever comes when: all get their turn, no poll overtakes a look-up, no refresh either of them."""
    schedule = made(forms=singles(), durations=Durations(), max_interval=1e6, requests_per_second=rate)
    coming = sorted((start + at, place, kind) for place, (at, kind) in enumerate(arrivals))
    now, waiting, turns = start, {"lookup": 0, "poll": 0, "refresh": 0}, iter(wakes)
    reads: list[tuple[float, str]] = []
    while coming or any(waiting.values()):
        while coming and coming[0][0] <= now:
            _, place, kind = coming.pop(0)
            waiting[kind] += 1
            if kind == "poll":
                add(schedule, [f"t{place}"], now=now, at_once=True)
        took = schedule.take_turns(now, lookups=waiting["lookup"], refreshes=waiting["refresh"])
        waiting["lookup"] -= took.lookups
        assert not (took.queries and waiting["lookup"])
        for query in took.queries:
            waiting["poll"] -= len(query.keys)
            schedule.answered(query, (), query.keys, now)
        assert not (took.refreshes and (waiting["lookup"] or waiting["poll"]))
        waiting["refresh"] -= took.refreshes
        counts = ("lookup", took.lookups), ("poll", len(took.queries)), ("refresh", took.refreshes)
        reads += [(now, kind) for kind, count in counts for _ in range(count)]
        then = schedule.next_time(spare=bool(waiting["lookup"] or waiting["refresh"]))
        then = min(then, coming[0][0] if coming else math.inf, now + next(turns, math.inf))
        now = max(now, then) if then < math.inf else now
    assert not any(waiting.values())
    times = [time for time, _ in reads]
    window = max(1.0, 1 / rate) - 1e-5
    for place, first in enumerate(times):
        assert bisect_left(times, first + window) - place <= math.ceil(rate * window)


def test_a_look_up_overtakes_polls_that_wait_for_the_rate() -> None:
    """The order is: look-ups of creates in doubt, then polls, then refreshes."""
    schedule = made(*"abc", forms=singles(), requests_per_second=2)
    for key in "abc":
        schedule.hurry(key, 5.0)
    assert len(schedule.take_turns(5.0, lookups=0, refreshes=1).queries) == 1
    assert schedule.take_turns(5.4, lookups=1, refreshes=1) == (0, [], 0)
    order: list[str] = []
    waiting = [2, 1]
    while len(order) < 5:
        now = schedule.next_time(spare=any(waiting))
        took = schedule.take_turns(now, lookups=waiting[0], refreshes=waiting[1])
        waiting = [waiting[0] - took.lookups, waiting[1] - took.refreshes]
        order += ["lookup"] * took.lookups + ["poll"] * len(took.queries) + ["refresh"] * took.refreshes
    assert order == ["lookup", "lookup", "poll", "poll", "refresh"]


def test_the_heap_stays_small() -> None:
    """Outdated due times do not pile up, however often they move."""
    schedule = made(*names(5))
    for number in range(2000):
        schedule.hurry("t0", number * 1e-3)
        for query in schedule.ask(number * 1e-3):
            schedule.answered(query, query.keys, (), number * 1e-3)
        schedule.next_time()
    assert len(schedule._due) < 200
