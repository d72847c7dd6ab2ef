"""Labels that may hold only so many slots of a pool: core/slots.py and core/admission.py together.

tests/core/test_admission_stateful.py calls everything in every order under such limits, too.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.admission import Phase, Pool, Ticket
from tests.profiles import same_draws

WEIGHTS = st.integers(1, 4)
TICKETS = st.lists(st.tuples(st.sampled_from("abc"), WEIGHTS, st.integers(0, 1)), min_size=1, max_size=30)
LIMITS = st.dictionaries(st.sampled_from("abc"), st.integers(4, 6), max_size=3)


def pool_of(limit: int, label_limits: dict[str, int] | None = None) -> Pool:
    return Pool("video", limit, source="caller", label_limits=label_limits)


def enter(pool: Pool, label: str, weight: int = 1, priority: int = 0) -> Ticket:
    ticket = Ticket(weight, label=label, priority=priority)
    assert pool.enter(ticket, 0.0) is None
    return ticket


def admit(pool: Pool) -> list[Ticket]:
    admitted = pool.admit(0.0)
    for ticket in admitted:
        pool.accepted(ticket, 0.0)
    return admitted


def test_a_label_at_its_limit_blocks_nobody_else() -> None:
    """Others pass it in their order; a slot of its own lets its next ticket go, one of others does not."""
    pool = pool_of(4, {"free": 2})
    free = [enter(pool, "free") for _ in range(4)]
    paid = [enter(pool, "paid") for _ in range(4)]
    assert admit(pool) == [free[0], paid[0], free[1], paid[1]]
    pool.release(paid[0], 0.0)
    assert admit(pool) == [paid[2]]
    pool.release(free[1], 0.0)
    assert admit(pool) == [free[2]]


def test_a_heavy_ticket_is_not_overtaken_by_its_own_label() -> None:
    """Weights count whole, and a label's order is kept over all priorities, until the heavy one leaves."""
    pool = pool_of(9, {"free": 3})
    first, heavy = enter(pool, "free", 2, priority=1), enter(pool, "free", 2, priority=1)
    light, low = enter(pool, "free", priority=1), enter(pool, "free")
    assert admit(pool) == [first]
    pool.leave(heavy)
    assert pool.is_next(light) and admit(pool) == [light]
    pool.release(first, 0.0)
    assert admit(pool) == [low]


def test_a_light_ticket_of_higher_priority_goes_before_a_heavy_one() -> None:
    """A ticket that comes may be the label's next, and fit where the one behind it does not."""
    pool = pool_of(9, {"free": 3})
    enter(pool, "free", 2)
    enter(pool, "free", 3)
    assert len(admit(pool)) == 1
    urgent = enter(pool, "free", priority=1)
    assert pool.is_next(urgent) and admit(pool) == [urgent]


def test_missed_turns_are_not_made_up_for() -> None:
    """A label that waited at its limit takes turns with the others again, not many in a row."""
    pool = pool_of(2, {"free": 1})
    running = enter(pool, "free")
    paid = [enter(pool, "paid") for _ in range(20)]
    admit(pool)
    free = [enter(pool, "free") for _ in range(5)]
    for ticket in paid[:10]:
        pool.release(ticket, 0.0)
        admit(pool)
    for ticket in (running, *free[:2]):
        pool.release(ticket, 0.0)
        served = admit(pool)
        assert [sent.label for sent in served] in (["free"], ["paid"])
        if served[0].label == "paid":
            pool.release(served[0], 0.0)
            assert [sent.label for sent in admit(pool)] == ["free"]


def test_a_label_that_nobody_queues_with_any_more_leaves_nothing() -> None:
    """The tickets of a label at its limit may all leave, and the label may come again."""
    pool = pool_of(9, {"free": 1})
    running = enter(pool, "free")
    admit(pool)
    for ticket in [enter(pool, "free") for _ in range(3)]:
        assert admit(pool) == []
        pool.leave(ticket)
    assert (pool.queued, pool.next_time()) == (0, float("inf"))
    again = enter(pool, "free")
    pool.release(running, 0.0)
    assert admit(pool) == [again]


@given(tickets=TICKETS, limits=LIMITS, size=st.integers(4, 8), data=st.data())
@same_draws(150)
def test_no_label_passes_its_limit_and_nobody_else_waits_for_it(
    tickets: list[tuple[str, int, int]], limits: dict[str, int], size: int, data: st.DataObject
) -> None:
    """Slots by label stay within the limits, the order within a label is kept, and all are served."""
    pool = pool_of(size, limits)
    entered = [enter(pool, label, weight, priority) for label, weight, priority in tickets]
    served: list[Ticket] = []
    while len(served) < len(entered):
        new = admit(pool)
        served += new
        held = [ticket for ticket in served if ticket.phase is Phase.HELD]
        for label, limit in limits.items():
            assert sum(ticket.weight for ticket in held if ticket.label == label) <= limit
        firsts: dict[str, Ticket] = {}
        waiting = [ticket for ticket in entered if ticket.queued]
        for ticket in sorted(waiting, key=lambda ticket: (-ticket.priority, ticket.sequence)):
            firsts.setdefault(ticket.label, ticket)
        for label, first in firsts.items():
            taken = sum(ticket.weight for ticket in held if ticket.label == label)
            blocked = taken + first.weight > limits.get(label, size)
            assert blocked or pool.held + max(ticket.weight for ticket in firsts.values()) > size
        pool.release(data.draw(st.sampled_from(held)), 0.0)
    for label in "abc":
        order = [ticket for ticket in served if ticket.label == label]
        assert order == sorted(order, key=lambda ticket: (-ticket.priority, ticket.sequence))


@given(tickets=TICKETS, size=st.integers(4, 8))
@same_draws(60)
def test_limits_out_of_reach_change_no_order(tickets: list[tuple[str, int, int]], size: int) -> None:
    """A limit that no label could reach serves all exactly as no limit does."""
    orders: list[list[int]] = []
    for limits in (None, dict.fromkeys("abc", size + 4)):
        pool = pool_of(size, limits)
        for label, weight, priority in tickets:
            enter(pool, label, weight, priority)
        order: list[int] = []
        while len(order) < len(tickets):
            admitted = admit(pool)
            order += [ticket.sequence for ticket in admitted]
            for ticket in admitted:
                pool.release(ticket, 0.0)
        orders.append(order)
    assert orders[0] == orders[1]
