"""When to ask which question: what each is worth, and in which form it is asked."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from kling_async.core.durations import KNOWN, Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule import Schedule
from kling_async.options import Polling, Retry
from tests.core.schedules import COST, FAST, PATH, add, ask_next, keys_of, known, made, names, without_ids

# -- rule 13: when


@pytest.mark.parametrize("weight", [1, 9])
@pytest.mark.parametrize("count", [1, 7])
def test_a_question_is_due_when_the_idleness_expected_reaches_its_price(count: int, weight: int) -> None:
    """The sum over its tasks of weight x the integral of the chance to have ended; look after look."""
    durations = known()
    law = durations.law("video", 90.0)
    schedule = made(durations=durations)
    add(schedule, names(count), weight=weight)
    looked = 0.0
    for _ in range(25):
        now, (question,) = ask_next(schedule)
        assert len(question.keys) == count
        assert count * weight * law.idle(looked, now)[0] == pytest.approx(COST, rel=0.03)
        schedule.answered(question, question.keys, (), now)
        looked = now


def test_looks_come_seldom_while_a_task_is_young_and_often_when_it_may_end() -> None:
    """The first look at a known kind lies near the first ends; then the pauses become short."""
    schedule = made("a")
    times = []
    for _ in range(12):
        now, (question,) = ask_next(schedule)
        schedule.answered(question, question.keys, (), now)
        times.append(now)
    assert 40 < times[0] < 60
    assert all(2 < later - earlier < 12 for earlier, later in pairwise(times))


def test_a_higher_price_asks_less_often() -> None:
    """The one knob."""
    gaps = []
    for cost in (0.05, 0.2, 0.8):
        schedule = made("a", request_cost=cost)
        first, (question,) = ask_next(schedule)
        schedule.answered(question, question.keys, (), first)
        gaps.append(schedule.next_time() - first)
    assert gaps == sorted(gaps) and gaps[2] > 1.7 * gaps[0]


def test_max_interval_caps_the_pauses_of_a_kind_hardly_known_only() -> None:
    """Ten known durations are enough to trust the law."""
    durations = Durations()
    firsts = []
    for count in (KNOWN - 1, 1):
        for _ in range(count):
            durations.law("video", 3000.0).learn(3000.0, 3000.0)
        firsts.append(ask_next(made("a", durations=durations, max_interval=15.0))[0])
    assert firsts[0] == 15.0 and firsts[1] > 1000


@pytest.mark.parametrize("what", ["of an unknown kind", "that may have ended"])
def test_one_task_that_comes_to_many_is_asked_about_in_time(what: str) -> None:
    """A desk of a hundred is not computed anew for each newcomer, but for one that cannot wait."""
    schedule = made(*names(100), durations=known(3000.0), max_interval=15.0)
    assert schedule.next_time() > 500
    if what == "that may have ended":
        add(schedule, ["new"], now=10.0, started=-2990.0, weight=9)
    else:
        add(schedule, ["new"], now=10.0, kind="unknown", median=1e5)
    assert schedule.next_time() <= 25.0


def test_a_short_max_interval_holds_for_one_that_comes_to_many() -> None:
    """Also where next to nothing is expected of it."""
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
    asked = []
    for _ in range(10):
        now, questions = ask_next(schedule)
        for question in questions:
            asked.append(question.path)
            schedule.answered(question, question.keys, (), now)
    assert set(asked) == {"/quick"}


def test_the_end_that_was_seen_teaches_its_kind() -> None:
    """The interval between the two looks; asked by its own times, whenever the answer came."""
    durations = Durations()
    schedule = made("a", durations=durations, max_interval=15.0)
    now, (question,) = ask_next(schedule)
    schedule.answered(question, (), ("a",), now + 40.0)
    law = durations.law("video", 90.0)
    assert law.known == 1
    assert law.quantile(0.5) == pytest.approx(90.0 ** (1 / 3) * (now / 2) ** (2 / 3))
    assert len(schedule) == 0


def test_what_nobody_watched_teaches_nothing() -> None:
    """A task attached long after its end, or that had no waiter for an hour: its end may be long ago."""
    durations = Durations()
    schedule = made(durations=durations)
    add(schedule, ["attached"], now=5000.0, started=0.0, at_once=True)
    add(schedule, ["late"], now=5000.0, wanted=False)
    schedule.answered(schedule.ask(5000.0)[0], (), ("attached",), 5000.0)
    schedule.want("late")
    (question,) = schedule.ask(9000.0)
    schedule.answered(question, (), ("late",), 9000.0)
    assert durations.law("video", 90.0).known == 0


def test_an_attached_task_teaches_once_it_was_seen_running() -> None:
    """From there on its looks are in time."""
    durations = Durations()
    schedule = made(durations=durations)
    add(schedule, ["a"], now=100.0, started=20.0, at_once=True)
    schedule.answered(schedule.ask(100.0)[0], ("a",), (), 100.0)
    now, questions = ask_next(schedule)
    schedule.answered(questions[0], (), ("a",), now)
    assert durations.law("video", 90.0).known == 1


def test_jitter_moves_due_times_by_five_per_cent() -> None:
    """From the generator that was passed in: many clients do not ask in step."""
    gaps = []
    for seed in range(200):
        rng = random.Random(seed)
        schedule = Schedule(Polling(**FAST), Retry(), known(), QueryForms(batch_ids=True), rng)
        add(schedule, ["a"])
        now, questions = ask_next(schedule)
        schedule.answered(questions[0], ("a",), (), now)
        gaps.append(schedule.next_time() - now)
    middle = sum(gaps) / len(gaps)
    assert 0.92 < min(gaps) / middle < 0.98 and 1.02 < max(gaps) / middle < 1.08


def test_the_expected_end_follows_the_age() -> None:
    """The median of those that still run; None while nothing is known, or too little for the purpose."""
    schedule = made("a")
    young, old = schedule.expected_end("a", now=0.0), schedule.expected_end("a", now=150.0)
    assert young == pytest.approx(90.0, rel=0.1) and old is not None and old > 150.0
    assert schedule.expected_end("a", 0.99) == schedule.expected_end("a", 0.99, now=0.0)
    assert schedule.expected_end("a", least=1000) is None
    assert schedule.expected_end("other") is None
    assert made("a", durations=Durations()).expected_end("a") is None


# -- rule 12: what


def test_with_an_api_key_one_question_serves_twenty_tasks_of_any_product() -> None:
    """By ids."""
    schedule = made(*names(10))
    add(schedule, names(10, "i"), path="/v1/images")
    _, (question,) = ask_next(schedule)
    assert (question.form, question.path, len(question.keys)) == ("ids", "", 20)


def test_more_than_twenty_of_one_product_are_one_list() -> None:
    """Sized to what runs: from the oldest of ours, and a little for those of others."""
    schedule = made(*names(30))
    _, (question,) = ask_next(schedule)
    assert (question.form, question.path, question.requests, question.size) == ("list", PATH, 1, 31)


def test_a_list_is_as_long_as_the_oldest_running_task_is_old() -> None:
    """What ended since is on it too."""
    schedule = made(*names(30), forms=without_ids())
    now, (question,) = ask_next(schedule)
    schedule.answered(question, ("t0", "t29"), set(question.keys) - {"t0", "t29"}, now)
    add(schedule, names(5, "later"), now=now)
    _, (question,) = ask_next(schedule)
    assert (question.size, len(question.keys)) == (36, 7)


def test_where_ids_are_grouped_those_with_the_most_expected_idleness_go_first() -> None:
    """Ten products of five tasks: lists would be ten requests. The heavy and the old come first."""
    schedule = made()
    for product in range(10):
        add(schedule, names(5, f"p{product}-"), path=f"/p{product}", weight=9 if product < 4 else 1)
    now, questions = ask_next(schedule)
    assert {question.form for question in questions} == {"ids"}
    assert len(questions[0].keys) == 20
    assert keys_of(questions[:1]) == {f"p{p}-{n}" for p in range(4) for n in range(5)}
    assert schedule.next_time() >= now


def test_what_a_group_answer_does_not_contain_is_asked_alone_at_once() -> None:
    """Then it goes back to its group; missed again, it is asked alone for good."""
    schedule = made("a", "b", forms=without_ids())
    for misses in (1, 2):
        now, (question,) = ask_next(schedule)
        assert (question.form, set(question.keys)) == ("list", {"a", "b"})
        schedule.answered(question, ("a",), (), now)
        assert schedule.next_time() == pytest.approx(now, abs=0.002)
        now, (single,) = ask_next(schedule)
        assert (single.form, single.path, single.keys) == ("one", PATH, ("b",)), misses
        schedule.answered(single, ("b",), (), now)
    asked = {key: set[str]() for key in "ab"}
    for _ in range(6):
        now, questions = ask_next(schedule)
        for question in questions:
            for key in question.keys:
                asked[str(key)].add(question.form)
            schedule.answered(question, question.keys, (), now)
    assert asked["b"] == {"one"}


def test_a_single_task_that_is_not_found_is_asked_again_alone() -> None:
    """Whether it is gone the caller decides; the form that left it out is not blamed."""
    schedule = made("a", "b")
    now, (question,) = ask_next(schedule)
    schedule.answered(question, ("a",), (), now)
    now, (single,) = ask_next(schedule)
    schedule.answered(single, (), (), now)
    forms = []
    for _ in range(30):
        now, questions = ask_next(schedule)
        for question in questions:
            forms += [question.form] if "b" in question.keys else []
            schedule.answered(question, {"a"} & set(question.keys), (), now)
    assert set(forms) == {"one"}
    schedule.remove("b")
    assert keys_of(ask_next(schedule)[1]) == {"a"}


def test_a_form_refused_falls_back_and_loses_nobody() -> None:
    """/tasks refused: lists; lists refused: single GETs; each at once."""
    schedule = made("a", "b", "c")
    now, questions = ask_next(schedule)
    for form in ("ids", "list"):
        assert [question.form for question in questions] == [form]
        schedule.unsupported(questions[0], now)
        assert schedule.next_time() <= now + 0.01
        now, questions = ask_next(schedule)
    while len(keys_of(questions)) < 3:
        questions += ask_next(schedule)[1]
    assert [question.form for question in questions] == ["one"] * 3


def test_a_form_that_keeps_leaving_tasks_out_is_given_up() -> None:
    """A gateway whose /tasks knows nothing of one product."""
    forms = QueryForms(batch_ids=True)
    schedule = made("a", "b", forms=forms)
    for _ in range(8):
        now, questions = ask_next(schedule)
        for question in questions:
            schedule.answered(question, () if question.form == "ids" else question.keys, (), now)
    assert not forms.works("ids", PATH)
