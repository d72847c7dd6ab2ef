"""core/schedule.py: when a status query is worth its price, and in which form it is sent."""

from __future__ import annotations

import itertools
import math
import random
from itertools import pairwise
from typing import Any

import pytest

from kling_async.core.durations import KNOWN, Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule import Schedule
from kling_async.core.schedule_parts import ScheduleParts
from kling_async.options import Polling, Retry
from tests.core.schedules import COST, FAST, PATH, add, ask_next, keys_of, known, made, names, without_ids

# -- rule 13: when


@pytest.mark.parametrize("weight", [1, 9])
@pytest.mark.parametrize("count", [1, 7])
def test_a_query_is_due_when_the_idleness_expected_reaches_its_price(count: int, weight: int) -> None:
    """Idleness is the sum over the tasks of weight x the integral of P(ended); true look after look."""
    durations = known()
    law = durations.law("video", 90.0)
    schedule = made(durations=durations)
    add(schedule, names(count), weight=weight)
    looked = 0.0
    for _ in range(25):
        now, (query,) = ask_next(schedule)
        assert len(query.keys) == count
        assert count * weight * law.idle(looked, now)[0] == pytest.approx(COST, rel=0.03)
        schedule.answered(query, query.keys, (), now)
        looked = now


def test_looks_come_seldom_while_a_task_is_young_and_often_when_it_may_end() -> None:
    """The first look at a known kind lies near the first ends; then the pauses become short."""
    schedule = made("a")
    times = []
    for _ in range(12):
        now, (query,) = ask_next(schedule)
        schedule.answered(query, query.keys, (), now)
        times.append(now)
    assert 40 < times[0] < 60
    assert all(2 < later - earlier < 12 for earlier, later in pairwise(times))


def test_a_higher_price_asks_less_often() -> None:
    """`request_cost` is the one knob between lag and requests."""
    gaps = []
    for cost in (0.05, 0.2, 0.8):
        schedule = made("a", request_cost=cost)
        first, (query,) = ask_next(schedule)
        schedule.answered(query, query.keys, (), first)
        gaps.append(schedule.next_time() - first)
    assert gaps == sorted(gaps) and gaps[2] > 1.7 * gaps[0]


def test_max_interval_caps_the_pauses_of_a_kind_hardly_known_only() -> None:
    """Ten known durations are enough to trust the distribution."""
    durations = Durations()
    firsts = []
    for count in (KNOWN - 1, 1):
        for _ in range(count):
            durations.law("video", 3000.0).learn(3000.0, 3000.0)
        firsts.append(ask_next(made("a", durations=durations, max_interval=15.0))[0])
    assert firsts[0] == 15.0 and firsts[1] > 1000


@pytest.mark.parametrize("what", ["of an unknown kind", "that may have ended"])
def test_one_task_that_comes_to_many_is_asked_about_in_time(what: str) -> None:
    """The due time of a hundred is not computed anew for each newcomer, but for one that cannot wait."""
    schedule = made(*names(100), durations=known(3000.0), max_interval=15.0)
    assert schedule.next_time() > 500
    if what == "that may have ended":
        add(schedule, ["new"], now=10.0, started=-2990.0, weight=9)
    else:
        add(schedule, ["new"], now=10.0, kind="unknown", median=1e5)
    assert schedule.next_time() <= 25.0


def test_a_short_max_interval_holds_for_one_that_comes_to_many() -> None:
    """The cap binds also where next to no idleness is expected."""
    durations = known(10.0)
    for _ in range(KNOWN - 1):
        durations.law("slow", 3000.0).learn(3000.0, 3000.0)
    schedule = made(*names(100), durations=durations, max_interval=1.0)
    assert 1.5 < schedule.next_time() < 5
    add(schedule, ["new"], kind="slow")
    assert schedule.next_time() == 1.0


def test_each_list_has_its_own_clock() -> None:
    """Slow tasks are not asked about because quick ones are."""
    durations = known(20.0, "quick")
    for z in (-1, 1) * KNOWN:
        durations.law("slow", 400.0).learn(400 * math.exp(0.35 * z), 400 * math.exp(0.35 * z))
    schedule = made(durations=durations, forms=without_ids())
    add(schedule, names(4, "q"), kind="quick", path="/quick")
    add(schedule, names(4, "s"), kind="slow", path="/slow")
    asked: list[Any] = []
    for _ in range(10):
        now, queries = ask_next(schedule)
        for query in queries:
            asked.append(query.path)
            schedule.answered(query, query.keys, (), now)
    assert set(asked) == {"/quick"}


def test_the_end_that_was_seen_teaches_its_kind() -> None:
    """The duration lies between the times of the two queries, whenever their answers came."""
    durations = Durations()
    schedule = made("a", durations=durations, max_interval=15.0)
    now, (query,) = ask_next(schedule)
    schedule.answered(query, (), ("a",), now + 40.0)
    law = durations.law("video", 90.0)
    assert law.known == 1
    assert law.quantile(0.5) == pytest.approx(90.0 ** (1 / 3) * (now / 2) ** (2 / 3))
    assert len(schedule) == 0


def test_an_end_that_nobody_watched_teaches_nothing() -> None:
    """A task attached long after its end, or that had no waiter for an hour: its end may be long ago."""
    durations = Durations()
    schedule = made(durations=durations)
    add(schedule, ["attached"], now=5000.0, started=0.0, at_once=True)
    add(schedule, ["late"], now=5000.0, wanted=False)
    schedule.answered(schedule.ask(5000.0)[0], (), ("attached",), 5000.0)
    schedule.add_waiter("late")
    (query,) = schedule.ask(9000.0)
    schedule.answered(query, (), ("late",), 9000.0)
    assert durations.law("video", 90.0).known == 0


def test_an_attached_task_teaches_once_it_was_seen_running() -> None:
    """From its first look on, looks are in time, so the end lies between two of them."""
    durations = Durations()
    schedule = made(durations=durations)
    add(schedule, ["a"], now=100.0, started=20.0, at_once=True)
    schedule.answered(schedule.ask(100.0)[0], ("a",), (), 100.0)
    now, queries = ask_next(schedule)
    schedule.answered(queries[0], (), ("a",), now)
    assert durations.law("video", 90.0).known == 1


def test_jitter_moves_due_times_by_five_per_cent() -> None:
    """The generator passed in spreads them, so that many clients do not ask in step."""
    gaps = []
    for seed in range(200):
        rng = random.Random(seed)
        schedule = Schedule(ScheduleParts(Polling(**FAST), Retry(), known(), QueryForms(batch_ids=True), rng))
        add(schedule, ["a"])
        now, queries = ask_next(schedule)
        schedule.answered(queries[0], ("a",), (), now)
        gaps.append(schedule.next_time() - now)
    middle = sum(gaps) / len(gaps)
    assert 0.92 < min(gaps) / middle < 0.98 and 1.02 < max(gaps) / middle < 1.08


def test_the_expected_end_follows_the_age() -> None:
    """It is the median of the tasks that still run; None while too few durations are known."""
    schedule = made("a")
    young, old = schedule.expected_end("a", now=0.0), schedule.expected_end("a", now=150.0)
    assert young == pytest.approx(90.0, rel=0.1) and old is not None and old > 150.0
    assert schedule.expected_end("a", 0.99) == schedule.expected_end("a", 0.99, now=0.0)
    assert schedule.expected_end("a", least=1000) is None
    assert schedule.expected_end("other") is None
    assert made("a", durations=Durations()).expected_end("a") is None


# -- rule 12: what


def test_with_an_api_key_one_query_serves_twenty_tasks_of_any_product() -> None:
    """``/tasks`` takes 20 ids, whatever their paths."""
    schedule = made(*names(10))
    add(schedule, names(10, "i"), path="/v1/images")
    _, (query,) = ask_next(schedule)
    assert (query.form, query.path, len(query.keys)) == ("ids", "", 20)


def test_more_than_twenty_of_one_product_are_one_list() -> None:
    """The page reaches back to the oldest of ours, with a little room for tasks of others."""
    schedule = made(*names(30))
    _, (query,) = ask_next(schedule)
    assert (query.form, query.path, query.requests, query.size) == ("list", PATH, 1, 31)


def test_a_list_is_as_long_as_the_oldest_running_task_is_old() -> None:
    """Tasks that ended since stand on the page too, so it grows."""
    schedule = made(*names(30), forms=without_ids())
    now, (query,) = ask_next(schedule)
    schedule.answered(query, ("t0", "t29"), set(query.keys) - {"t0", "t29"}, now)
    add(schedule, names(5, "later"), now=now)
    _, (query,) = ask_next(schedule)
    assert (query.size, len(query.keys)) == (36, 7)


def test_where_ids_are_grouped_those_with_the_most_expected_idleness_go_first() -> None:
    """Ten products of five tasks: lists would be ten requests. The heavy and the old come first."""
    schedule = made()
    for product in range(10):
        add(schedule, names(5, f"p{product}-"), path=f"/p{product}", weight=9 if product < 4 else 1)
    now, queries = ask_next(schedule)
    assert {query.form for query in queries} == {"ids"}
    assert len(queries[0].keys) == 20
    assert keys_of(queries[:1]) == {f"p{p}-{n}" for p in range(4) for n in range(5)}
    assert schedule.next_time() >= now


def test_a_task_that_a_group_answer_leaves_out_is_asked_alone_at_once() -> None:
    """Then it goes back to its group; missed again, it is asked alone for good."""
    schedule = made("a", "b", forms=without_ids())
    for misses in (1, 2):
        now, (query,) = ask_next(schedule)
        assert (query.form, set(query.keys)) == ("list", {"a", "b"})
        schedule.answered(query, ("a",), (), now)
        assert schedule.next_time() == pytest.approx(now, abs=0.002)
        now, (single,) = ask_next(schedule)
        assert (single.form, single.path, single.keys) == ("one", PATH, ("b",)), misses
        schedule.answered(single, ("b",), (), now)
    asked = {key: set[str]() for key in "ab"}
    for _ in range(6):
        now, queries = ask_next(schedule)
        for query in queries:
            for key in query.keys:
                asked[str(key)].add(query.form)
            schedule.answered(query, query.keys, (), now)
    assert asked["b"] == {"one"}


def test_a_single_task_that_is_not_found_is_asked_again_alone() -> None:
    """The caller decides whether it is gone; the form that left it out is not blamed."""
    schedule = made("a", "b")
    now, (query,) = ask_next(schedule)
    schedule.answered(query, ("a",), (), now)
    now, (single,) = ask_next(schedule)
    schedule.answered(single, (), (), now)
    forms = []
    for _ in range(30):
        now, queries = ask_next(schedule)
        for query in queries:
            forms += [query.form] if "b" in query.keys else []
            schedule.answered(query, {"a"} & set(query.keys), (), now)
    assert set(forms) == {"one"}
    schedule.remove("b")
    assert keys_of(ask_next(schedule)[1]) == {"a"}


def test_a_form_refused_falls_back_and_loses_nobody() -> None:
    """/tasks refused: lists; lists refused: single GETs; each at once."""
    schedule = made("a", "b", "c")
    now, queries = ask_next(schedule)
    for form in ("ids", "list"):
        assert [query.form for query in queries] == [form]
        schedule.unsupported(queries[0], now)
        assert schedule.next_time() <= now + 0.01
        now, queries = ask_next(schedule)
    while len(keys_of(queries)) < 3:
        queries += ask_next(schedule)[1]
    assert [query.form for query in queries] == ["one"] * 3


def test_a_form_that_keeps_leaving_tasks_out_is_given_up() -> None:
    """A gateway whose /tasks knows nothing of one product."""
    forms = QueryForms(batch_ids=True)
    schedule = made("a", "b", forms=forms)
    for _ in range(8):
        now, queries = ask_next(schedule)
        for query in queries:
            schedule.answered(query, () if query.form == "ids" else query.keys, (), now)
    assert not forms.works("ids", PATH)


@pytest.mark.parametrize("ended_meanwhile", [100, 1000, 5000])
def test_a_list_follows_what_runs_not_what_ever_ran(ended_meanwhile: int) -> None:
    """A stuck task is asked about alone, once many others were made since; the list stays short."""
    schedule = made("stuck", forms=QueryForms(batch_ids=False))
    for number in range(ended_meanwhile):
        add(schedule, [str(number)], wanted=False)
        schedule.remove(str(number))
    add(schedule, ["new", "newer", "newest"])
    asked: list[Any] = []
    while len(asked) < 8:
        now, queries = ask_next(schedule)
        asked += queries
        for query in queries:
            schedule.answered(query, query.keys, (), now)
    lists = [query for query in asked if query.form == "list"]
    assert lists and all(query.size <= 100 and "stuck" not in query.keys for query in lists)
    assert any(query.form == "one" and query.keys == ("stuck",) for query in asked)


@pytest.mark.parametrize("age", [0.0, 8 * 3600.0])
def test_a_task_of_a_known_kind_is_looked_at_now_and_then(age: float) -> None:
    """However old a wrong clock makes it: every 10 minutes, or 3 times the learned 99th percentile."""
    schedule = made(wanted=False)
    add(schedule, ["old"], now=30000.0, started=30000.0 - age)
    times = [30000.0]
    for _ in range(20):
        now, (query,) = ask_next(schedule)
        schedule.answered(query, query.keys, (), now)
        times.append(now)
    law = known().law("video", 90.0)
    assert max(b - a for a, b in itertools.pairwise(times)) <= max(600, 3 * law.quantile(0.99)) + 1
