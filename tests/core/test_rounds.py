"""core/rounds.py: rounds and the request rate, and groups in the order of their due times."""

from __future__ import annotations

import math

import pytest

from kling_async.core.durations import Law
from kling_async.core.poll_groups import IdleEstimate, PolledTask, PollGroup
from kling_async.core.queries import QueryForms
from kling_async.core.rounds import DueGroups, Rounds
from kling_async.options import Polling

POLLING = Polling(min_interval=2.0, max_interval=1e6, requests_per_second=4)


def group_of(name: str, started: float, tasks: int = 1) -> PollGroup:
    """Return the group of a list whose tasks began then."""
    group = PollGroup("list", name)
    for place in range(tasks):
        idleness = IdleEstimate(Law(90.0), 1, started, attended=True)
        group.tasks[PolledTask(place, "video", name, idleness, place)] = None
    return group


def test_a_round_takes_along_what_is_due_before_the_next_may_start() -> None:
    """A group due later waits for the next round, `min_interval` after the last query of this one.

    So does one that was asked in this round: it is due again at the beginning of the next one.
    """
    rounds = Rounds(POLLING, QueryForms(batch_ids=True))
    assert rounds.allows(10.0, 10.0) and not rounds.allows(11.0, 10.0)
    rounds.spend(1, 10.0)
    assert [rounds.allows(due, 10.25) for due in (10.0, 11.9, 12.0)] == [True, True, False]
    rounds.end_round(12.5, 10.25)
    assert [rounds.earliest(due) for due in (10.0, 12.0, 12.5)] == [12.0, 12.0, 12.5]


def test_a_round_goes_on_while_only_the_rate_delays_it() -> None:
    """A group that belongs to the round keeps it open; each request takes its share of the rate."""
    rounds = Rounds(POLLING, QueryForms(batch_ids=True))
    rounds.spend(3, 10.0)
    rounds.end_round(11.0, 10.0)
    assert rounds.next_time(11.0) == 10.75
    assert not rounds.allows(11.0, 10.7) and rounds.allows(11.0, 10.75)


def test_the_group_that_is_due_first_comes_first() -> None:
    """Due times are computed when a group is stale; a group without tasks is never due."""
    due = DueGroups(POLLING)
    late, early, empty = group_of("late", 10.0), group_of("early", 0.0), group_of("empty", 0.0, tasks=0)
    for group in (late, early, empty):
        due.mark_stale(group)
    assert due.first(10.0, -math.inf, 2) is early
    assert early.due < late.due < math.inf == empty.due
    early.tasks.clear()
    due.mark_stale(early)
    assert due.first(10.0, -math.inf, 2) is late
    late.tasks.clear()
    assert due.first(10.0, -math.inf, 2) is None


def test_nothing_is_due_before_the_next_round_or_the_pause_after_a_failure() -> None:
    """Overdue groups, too, wait for both."""
    due = DueGroups(POLLING)
    group = group_of("a", 0.0)
    due.mark_stale(group)
    due.first(1000.0, 1003.0, 1)
    assert group.due == 1003.0
    group.due, group.not_before = math.inf, 1010.0
    due.mark_stale(group)
    due.first(1000.0, 1003.0, 1)
    assert group.due == 1010.0


@pytest.mark.parametrize(("tasks", "requests"), [(1, 1), (500, 1), (501, 2)])
def test_a_list_of_several_pages_has_a_higher_price(tasks: int, requests: int) -> None:
    """The idleness at the due time is the price of all its requests."""
    due = DueGroups(POLLING)
    group = group_of("a", 0.0, tasks)
    due.mark_stale(group)
    due.first(0.0, -math.inf, tasks)
    price = POLLING.request_cost * requests
    assert group.idle(group.due, math.inf)[0] == pytest.approx(price, rel=0.03)


def test_outdated_entries_are_swept_out() -> None:
    """The heap stays in proportion to the tasks, though a far due time is computed again and again."""
    due = DueGroups(POLLING)
    first, other = group_of("first", 0.0), group_of("other", 0.0)
    due.mark_stale(first)
    for number in range(500):
        next(iter(other.tasks)).idleness.looked = float(number)
        due.mark_stale(other)
        assert due.first(0.0, -math.inf, 2) is first
        other.due = math.inf
    assert len(due) < 100
