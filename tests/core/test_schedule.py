"""When to ask which question: what each is worth, demand, and the rates that bind."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.core.durations import KNOWN, Durations
from kling_async.core.questions import Forms, Question
from kling_async.core.schedule import Schedule
from kling_async.options import Polling, Retry

if TYPE_CHECKING:
    from collections.abc import Iterable

FAST: dict[str, Any] = {"min_interval": 0.0, "requests_per_second": 1e3}
COST = Polling().request_cost
PATH = "/v1/videos/text2video"


class Even(random.Random):
    """No jitter."""

    def random(self) -> float:
        return 0.5


def known(median: float = 90.0, kind: str = "video") -> Durations:
    """One kind, well known."""
    durations = Durations()
    for z in (-1, 1) * KNOWN:
        duration = median * math.exp(0.35 * z)
        durations.law(kind, median).learn(duration, duration)
    return durations


def made(
    *keys: str,
    wanted: bool = True,
    retry: Retry | None = None,
    forms: Forms | None = None,
    durations: Durations | None = None,
    **polling: Any,
) -> Schedule:
    """A schedule with these tasks, added at 0."""
    schedule = Schedule(
        Polling(**{**FAST, **polling}),
        retry or Retry(),
        known() if durations is None else durations,
        forms or Forms(batch_ids=True),
        Even(),
    )
    add(schedule, keys, wanted=wanted)
    return schedule


def add(
    schedule: Schedule, keys: Iterable[str], *, now: float = 0.0, wanted: bool = True, **more: Any
) -> None:
    """Add tasks of one kind."""
    for key in keys:
        settings = {"pool": "video", "path": PATH, "kind": "video", "median": 90.0, **more}
        schedule.add(key, now=now, **settings)
        if wanted:
            schedule.want(key)


def ask_next(schedule: Schedule) -> tuple[float, list[Question]]:
    """Let time pass until something is asked."""
    for _ in range(100):
        now = schedule.next_time()
        assert now < math.inf
        if questions := schedule.ask(now):
            return now, questions
    raise AssertionError("it spins")


def keys_of(questions: list[Question]) -> set[object]:
    return {key for question in questions for key in question.keys}


def names(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def without_ids() -> Forms:
    """As under a JWT."""
    return Forms(batch_ids=False)


def singles() -> Forms:
    """Where nothing but single GETs works."""
    forms = Forms(batch_ids=False)
    forms.broken("list", PATH)
    return forms


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
    schedule.ask(9000.0)
    schedule.want("late")
    now, questions = ask_next(schedule)
    schedule.answered(questions[0], (), ("late",), now)
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
        schedule = Schedule(Polling(**FAST), Retry(), known(), Forms(batch_ids=True), rng)
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
    now, (question,) = ask_next(schedule)
    for form in ("ids", "list"):
        assert question.form == form
        schedule.unsupported(question, now)
        assert schedule.next_time() <= now + 0.01
        now = max(now, schedule.next_time())
        question, *others = schedule.ask(now)
    questions = [question, *others]
    while len(keys_of(questions)) < 3:
        questions += ask_next(schedule)[1]
    assert [question.form for question in questions] == ["one"] * 3


def test_a_form_that_keeps_leaving_tasks_out_is_given_up() -> None:
    """A gateway whose /tasks knows nothing of one product."""
    forms = Forms(batch_ids=True)
    schedule = made("a", "b", forms=forms)
    for _ in range(8):
        now, questions = ask_next(schedule)
        for question in questions:
            schedule.answered(question, () if question.form == "ids" else question.keys, (), now)
    assert not forms.works("ids", PATH)


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
    if len(questions) < 2:
        questions += schedule.ask(schedule.next_time())
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
    forms = {"ids": Forms(batch_ids=True), "list": without_ids(), "one": singles()}[form]
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
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
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
    for place, first in enumerate(asked):
        assert sum(first <= when < first + window for when in asked[place:]) <= allowed
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
