"""Whose turn it is: places, and round robin between labels."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.core.tickets import ASIDE, Lanes, Phase, Ticket


def test_a_new_ticket_is_nowhere_yet() -> None:
    """It has a weight and an owner, no place, and steps aside for 30 s when it first has to."""
    owner = object()
    ticket = Ticket(3, priority=2, label="a", owner=owner)
    assert (ticket.phase, ticket.sequence, ticket.probe, ticket.aside) == (Phase.GONE, 0, False, ASIDE)
    assert (ticket.weight, ticket.priority, ticket.label, ticket.owner) == (3, 2, "a", owner)
    assert ASIDE == 30.0


def test_its_repr_says_which_and_where_and_nothing_of_its_owner() -> None:
    """The owner may hold a payload."""
    ticket = Ticket(3, owner="a secret")
    ticket.sequence, ticket.phase = 7, Phase.SENT
    assert repr(ticket) == "Ticket(7 sent weight=3)"


@pytest.mark.parametrize(
    ("first", "second"),
    [((9, 5, 5), (0, 1, 1)), ((0, 1, 5), (0, 2, 1)), ((0, 1, 1), (0, 1, 2))],
    ids=["priority before turn", "turn before arrival", "arrival last"],
)
def test_place_is_by_priority_then_turn_then_arrival(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    """Each of the three decides only where those before it are equal."""
    places = []
    for priority, turn, sequence in (first, second):
        ticket = Ticket(1, priority=priority)
        ticket.turn, ticket.sequence = turn, sequence
        places.append(ticket.place)
    assert places[0] < places[1]


def test_each_label_takes_its_own_turns() -> None:
    """The third of one label has turn 3, the first of another turn 1."""
    lanes = Lanes()
    assert [lanes.take(label) for label in "aaabab"] == [1, 2, 3, 1, 4, 2]


def test_a_label_that_comes_late_starts_at_the_present_turn() -> None:
    """It neither jumps before those who wait, nor stands behind all they have queued."""
    lanes = Lanes()
    for _ in range(10):
        lanes.take("a")
    lanes.served(4)
    assert lanes.take("b") == 4
    lanes.served(1)
    assert lanes.take("c") == 4, "one put back and served late does not turn time back"


def test_labels_that_were_served_are_forgotten() -> None:
    """A thousand users who came once cost the memory of a few; who still has turns to come is kept."""
    lanes = Lanes()
    for _ in range(3000):
        lanes.take("busy")
    for number in range(1000):
        lanes.served(lanes.take(f"user {number}"))
        lanes.served(number + 1)
    assert len(lanes.turns) <= 66
    assert lanes.take("busy") == 3001


def test_the_room_for_labels_grows_with_those_that_really_wait() -> None:
    """Else every ticket served would look through all of them."""
    lanes = Lanes()
    for number in range(200):
        lanes.take(str(number))
        lanes.take(str(number))
    lanes.served(2)
    assert (len(lanes.turns), lanes.room) == (200, 400)
    lanes.served(3)
    assert (len(lanes.turns), lanes.room) == (200, 400), "not looked through again"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 40))
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_labels_that_queue_are_served_in_turn_in_any_order_of_arrival(
    arrivals: list[str], early: int
) -> None:
    """While two labels both wait each turn has one of each, so never three of one between two of another."""
    lanes, waiting, served = Lanes(), list[tuple[int, int, str]](), list[str]()

    def serve() -> None:
        turn, _, label = waiting.pop(waiting.index(min(waiting)))
        lanes.served(turn)
        served.append(label)

    for number, label in enumerate(arrivals):
        waiting.append((lanes.take(label), number, label))
        if number < early and number % 2:
            serve()
    start = len(served)
    left = Counter(label for _, _, label in waiting)
    while waiting:
        serve()
    rest = served[start:]
    assert Counter(rest) == left
    for label, count in left.items():
        places = [place for place, other in enumerate(rest) if other == label]
        for other, others in left.items():
            both = places[: min(count, others)]  # while both still wait
            between = [rest[a:b].count(other) for a, b in pairwise([0, *both])]
            assert max(between) <= 2, f"{other} against {label} in {rest}"


def test_in_a_steady_state_labels_alternate() -> None:
    """Each label enters its next request when its last was served: a plain cycle."""
    lanes = Lanes()
    waiting = [(lanes.take(label), number, label) for number, label in enumerate("abc")]
    served = []
    for number in range(3, 33):
        turn, _, label = waiting.pop(waiting.index(min(waiting)))
        lanes.served(turn)
        served.append(label)
        waiting.append((lanes.take(label), number, label))
    assert served == list(islice(cycle("abc"), 30))
