"""The order of the queue: priorities, labels in turn, first come first served."""

from __future__ import annotations

from collections import Counter
from itertools import count, cycle, islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.queue import FairQueue, Phase, Ticket
from kling_async.core.waiting_line import ASIDE
from tests.profiles import same_draws

_numbers = count(1)


def put(queue: FairQueue, label: str = "", *, priority: int = 0) -> Ticket:
    """Queue a new ticket."""
    ticket = Ticket(1, priority=priority, label=label)
    ticket.sequence = next(_numbers)
    queue.put(ticket)
    return ticket


def serve(queue: FairQueue) -> Ticket:
    """Send the head."""
    ticket = queue.head()
    assert ticket is not None
    queue.serve(ticket)
    ticket.life.move(Phase.SENT)
    return ticket


def leave(queue: FairQueue, ticket: Ticket) -> None:
    """Take a ticket out, as its pool does."""
    ticket.life.move(Phase.GONE)
    queue.remove(ticket)


def test_a_new_ticket_is_nowhere_yet() -> None:
    """A new ticket has a weight and no place; a heavy one steps aside for 30 s when it first has to."""
    ticket = Ticket(3, priority=2, label="a")
    assert (ticket.phase, ticket.sequence, ticket.probe, ticket.kind) == (Phase.NEW, 0, False, None)
    assert (ticket.weight, ticket.priority, ticket.label, ticket.pool) == (3, 2, "a", "")
    assert ASIDE == 30.0


def test_the_repr_of_a_ticket_says_which_and_where() -> None:
    """Order of arrival, phase and weight; a ticket knows nothing of its request that could be secret."""
    ticket = put(FairQueue(), "label")
    ticket.sequence = 7
    ticket.life.move(Phase.SENT)
    assert repr(ticket) == "Ticket(7 sent weight=1)"


def test_an_empty_queue_has_no_head() -> None:
    """A new queue has none, nor one whose last ticket left or was served."""
    queue = FairQueue()
    assert queue.head() is None
    put(queue)
    serve(queue)
    leave(queue, put(queue))
    assert (queue.head(), list(queue)) == (None, [])


def test_a_ticket_that_left_from_elsewhere_needs_nothing_of_the_queue() -> None:
    """A ticket aside was served long ago; its label or priority may not queue any more."""
    queue = FairQueue()
    queue.remove(Ticket(1))
    put(queue, "a")
    queue.remove(Ticket(1, label="b"))
    assert len(list(queue)) == 1


def test_priority_goes_before_turn_and_turn_before_arrival() -> None:
    """Each decides only between tickets that are equal in what comes before it."""
    queue = FairQueue()
    for label, priority in (("a", 0), ("a", 0), ("b", 0), ("c", 5)):
        put(queue, label, priority=priority)
    assert [serve(queue).label for _ in range(4)] == ["c", "a", "b", "a"]


def test_put_back_it_has_its_old_place() -> None:
    """A returned ticket goes first, also after others came, and after the queue was empty."""
    queue = FairQueue()
    for _ in range(5):
        put(queue, "a")
    last = [serve(queue) for _ in range(5)][-1]
    assert queue.head() is None
    put(queue, "b")
    put(queue, "a")
    queue.put(last)
    assert serve(queue) is last


def test_those_who_left_took_no_turns() -> None:
    """A label whose hundred tickets were cancelled stands where any other does."""
    queue = FairQueue()
    for ticket in [put(queue, "a") for _ in range(100)]:
        leave(queue, ticket)
    for _ in range(10):
        put(queue, "b")
    mine = put(queue, "a")
    assert mine in (serve(queue), serve(queue))


def test_labels_that_come_and_go_are_forgotten() -> None:
    """A thousand labels that came once take no memory, while another label queues on."""
    queue = FairQueue()
    for _ in range(1100):
        put(queue, "busy")
    for number in range(1000):
        put(queue, str(number))
        serve(queue)
        serve(queue)
    (priority,) = queue._priorities.values()
    assert len(priority.labels) + len(priority.ring) < 200


def test_priorities_that_come_and_go_are_forgotten() -> None:
    """A caller may use a new priority each time, such as minus the time; the order stays right."""
    queue = FairQueue()
    for number in range(1000):
        put(queue, priority=-number)
    assert [serve(queue).priority for _ in range(990)] == [-number for number in range(990)]
    assert len(queue._priorities) < 200
    put(queue, priority=5)
    assert [serve(queue).priority for _ in range(11)] == [5, *range(-990, -1000, -1)]
    assert queue.head() is None
    put(queue, priority=-3)
    assert serve(queue).priority == -3


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 40))
@same_draws(150)
def test_labels_that_queue_are_served_in_turn_in_any_order_of_arrival(
    arrivals: list[str], early: int
) -> None:
    """While two labels wait, never three tickets of one come between two of the other."""
    queue, waiting = FairQueue(), Counter[str]()
    for number, label in enumerate(arrivals):
        put(queue, label)
        waiting[label] += 1
        if number < early and number % 2:
            waiting[serve(queue).label] -= 1
    rest = [serve(queue).label for _ in range(waiting.total())]
    assert Counter(rest) == +waiting
    for label, total in waiting.items():
        places = [place for place, other in enumerate(rest) if other == label]
        for other, others in waiting.items():
            both = places[: min(total, others)]  # while both still wait
            between = [rest[a:b].count(other) for a, b in pairwise([0, *both])]
            assert max(between, default=0) <= 2, f"{other} against {label} in {rest}"


def test_the_heads_are_the_first_of_each_label_and_priority() -> None:
    """Arrival decides, not turns; a ticket that left is no head, and looking changes no turn."""
    queue = FairQueue()
    tickets = [put(queue, label, priority=priority) for label in "abab" for priority in (0, 1)]
    leave(queue, tickets[0])
    heads = set(queue.heads())
    assert heads == {tickets[4], tickets[1], tickets[2], tickets[3]}
    assert [serve(queue) for _ in range(7)] == [tickets[n] for n in (1, 3, 5, 7, 2, 4, 6)]
    assert set(queue.heads()) == set()


def test_in_a_steady_state_labels_alternate() -> None:
    """Labels that enter their next ticket when the last was served are served in a plain cycle."""
    queue = FairQueue()
    for label in "abc":
        put(queue, label)
    served = []
    for _ in range(30):
        served.append(serve(queue).label)
        put(queue, served[-1])
    assert served == list(islice(cycle("abc"), 30))


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "serve", "refuse", "leave"]),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 1),
            st.integers(0, 100),
        ),
        max_size=40,
    )
)
def test_a_position_is_how_many_are_served_before(steps: list[tuple[str, str, int, int]]) -> None:
    """Any history of arrivals, refusals and departures: each ticket's position is its index in the order."""
    queue = FairQueue()
    waiting: list[Ticket] = []
    for what, label, priority, which in steps:
        if what == "put":
            waiting.append(put(queue, label, priority=priority))
        elif waiting and what == "leave":
            leave(queue, waiting.pop(which % len(waiting)))
        elif waiting:
            ticket = serve(queue)
            waiting.remove(ticket)
            if what == "refuse":
                queue.put(ticket)
                waiting.append(ticket)
    told = {ticket: queue.position(ticket) for ticket in waiting}
    assert told == {serve(queue): index for index, _ in enumerate(waiting)}
    assert queue.head() is None


def test_tickets_that_come_and_leave_take_no_memory() -> None:
    """A label whose tickets all leave before their turn leaves nothing behind a head that waits long."""
    queue = FairQueue()
    put(queue, "patient")
    for _ in range(1000):
        leave(queue, put(queue, "hasty"))
    (priority,) = queue._priorities.values()
    assert len(priority.ring) < 100
