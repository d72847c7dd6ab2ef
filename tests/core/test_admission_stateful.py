"""Pools under any order of calls, and against a server whose limit and other users change."""

from __future__ import annotations

import heapq
import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kling_async.core.admission import AdmissionError, Phase, Pool, Ticket
from kling_async.core.breaker import EQUAL_REFUSALS
from kling_async.core.queue import Kind
from kling_async.core.verdict import Accepted, Refused
from kling_async.errors import OutOfUnits, api_error
from kling_async.records import TaskRecord
from tests.core.pools import copy_of
from tests.profiles import same_draws

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.core.admission import LimitSource

QUEUES = (Phase.QUEUED, Phase.ASIDE, Phase.PARKED)
KINDS = [None, Kind("text_to_video", "kling-v3", "video"), Kind("text_to_video", "", "video")]
WEIGHTS = st.integers(1, 9)
PICKS = st.integers(0, 1 << 16)
SOURCES: st.SearchStrategy[LimitSource] = st.sampled_from(["caller", "packs", "default"])
PAUSES = st.sampled_from([0.0, 0.3, 2.0, 20.0, 61.0])
JITTERS = st.sampled_from([0.0, 0.5, 0.99])
NOT_GRANTED = Refused(api_error(1203, "no such model", http_status=404))
ACCEPTED = Accepted(TaskRecord(endpoint="text_to_video", task_id="1", status="submitted"))


class AnyOrder(RuleBasedStateMachine):
    """Call everything in every order; the model is where each ticket is and what was refused since."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pool = Pool("video", 1)
        self.where: dict[Ticket, Phase] = {}
        self.refusals = 0
        self.seen: dict[Ticket, int] = {}
        """How many refusals had been when a ticket was sent."""
        self.single = False
        self.reopens = math.inf

    @initialize(
        limit=WEIGHTS,
        source=SOURCES,
        life=st.sampled_from([math.inf, 40.0]),
        gate=st.sampled_from([True, True, True, False]),
    )
    def begin(self, limit: int, source: LimitSource, life: float, gate: bool) -> None:
        self.pool = Pool("video", limit, source=source, life=life, gate=gate)

    def those(self, *phases: Phase) -> list[Ticket]:
        return [ticket for ticket, phase in self.where.items() if phase in phases]

    def pick(self, number: int, *phases: Phase) -> Ticket | None:
        tickets = self.those(*phases)
        return tickets[number % len(tickets)] if tickets else None

    # -- the queue

    @rule(
        weight=WEIGHTS,
        priority=st.integers(0, 1),
        label=st.sampled_from("ab"),
        kind=st.sampled_from(KINDS),
    )
    def enter(self, weight: int, priority: int, label: str, kind: Kind | None) -> None:
        ticket = Ticket(weight, priority=priority, label=label, kind=kind)
        if not self.pool.fits_ever(weight):
            return
        error = self.pool.enter(ticket, self.now)
        assert (error is None) == (self.now >= self.reopens or self.pool.closed is None)
        if error is None:
            self.where[ticket] = Phase.QUEUED

    @rule(number=PICKS)
    def leave(self, number: int) -> None:
        ticket = self.pick(number, *QUEUES)
        if ticket is not None:
            self.pool.leave(ticket)
            del self.where[ticket]

    @rule()
    def admit(self) -> None:
        """Do what a driver does after every event; the pool then has nothing more to do at this time."""
        self.expire()
        self.admit_only()
        assert self.pool.next_time() > self.now

    def expire(self) -> list[Ticket]:
        expired = self.pool.expire(self.now)
        for ticket in expired:
            assert self.where.pop(ticket) is Phase.HELD
            assert self.now >= ticket.since + self.pool.slots.life
        return expired

    def admit_only(self) -> list[Ticket]:
        pool, held, flying = self.pool, self.pool.held, len(self.those(Phase.SENT))
        probed = {ticket.kind for ticket in self.those(Phase.SENT) if ticket.since >= self.probe_at(ticket)}
        batch = pool.admit(self.now)
        self.refresh()
        for ticket in batch:
            assert self.where[ticket] in QUEUES
            if pool.gate and self.probe_at(ticket) < math.inf:
                assert self.now >= self.probe_at(ticket) and ticket.kind not in probed, "one probe at a time"
                probed.add(ticket.kind)
            self.where[ticket] = Phase.SENT
            held += ticket.weight
            if pool.closed is not None:
                assert flying == 0 and self.now >= self.reopens, "half-open: one at a time"
            if pool.gate:
                assert not pool.binding or held <= pool.limit, "a told limit is never passed"
                assert held <= pool.belief or flying == 0, "a probe goes alone"
                assert flying == 0 or not self.single, "one at a time after a refusal"
            flying += 1
            self.seen[ticket] = self.refusals
        for sent in batch:
            for left in self.those(Phase.QUEUED):
                assert left.priority <= sent.priority, "higher priority first"
                same = (left.priority, left.label) == (sent.priority, sent.label)
                assert not same or left.sequence > sent.sequence, "first come first served"
        return batch

    def refresh(self) -> None:
        """See who stepped aside, was parked or came back, of those that wait."""
        for ticket in self.those(*QUEUES):
            if ticket.phase in QUEUES:
                self.where[ticket] = ticket.phase

    # -- holds

    def probe_at(self, ticket: Ticket) -> float:
        """When a probe of a ticket's kind may go; inf: its kind is not held."""
        holds = {hold.kind: hold.probe_at for hold in self.pool.breakers.all_holds()}
        return math.inf if ticket.kind is None else holds.get(ticket.kind, math.inf)

    @rule(kind=st.sampled_from(KINDS[1:]))
    def others_are_refused(self, kind: Kind) -> None:
        """So many creates that are none of these are refused alike that their kind is held."""
        for number in range(EQUAL_REFUSALS):
            ticket = Ticket(1, kind=kind)
            ticket.sequence = -number
            self.pool.judged(ticket, NOT_GRANTED, self.now)
        held = kind in {hold.kind for hold in self.pool.breakers.all_holds()}
        assert held is self.pool.gate

    @precondition(lambda self: self.those(Phase.SENT))
    @rule(number=PICKS)
    def refused_like_others(self, number: int) -> None:
        """A create is refused in a way that counts; a probe so refused renews its hold."""
        ticket = self.those(Phase.SENT)[number % len(self.those(Phase.SENT))]
        before = self.probe_at(ticket)
        self.pool.judged(ticket, NOT_GRANTED, self.now)
        after = self.probe_at(ticket)
        assert after in (before, self.now + 60.0)
        self.pool.withdrawn(ticket)
        del self.where[ticket]
        self.answered()

    # -- answers

    def judge_accepted(self, ticket: Ticket) -> None:
        """An accepted create ends the hold of its kind: all that were parked have their places again."""
        self.pool.judged(ticket, ACCEPTED, self.now)
        self.refresh()
        assert self.probe_at(ticket) == math.inf
        assert all(ticket.kind != parked.kind for parked in self.those(Phase.PARKED))

    @precondition(lambda self: self.those(Phase.SENT))
    @rule(number=PICKS)
    def accepted(self, number: int) -> None:
        ticket = self.those(Phase.SENT)[number % len(self.those(Phase.SENT))]
        self.judge_accepted(ticket)
        belief = self.pool.belief
        self.pool.accepted(ticket, self.now)
        self.where[ticket] = Phase.HELD
        ours = sum(t.weight for t in self.those(Phase.HELD))
        assert self.pool.belief == max(belief, min(ours, self.pool.limit))
        self.single = self.single and self.seen[ticket] != self.refusals
        self.answered()

    @precondition(lambda self: self.those(Phase.SENT))
    @rule(number=PICKS, jitter=JITTERS, drop=st.booleans())
    def refused(self, number: int, jitter: float, drop: bool) -> None:
        ticket = self.those(Phase.SENT)[number % len(self.those(Phase.SENT))]
        belief = self.pool.belief
        returns = not drop and self.may_return(ticket)
        aside = ticket.weight > 1 and self.pool.held == ticket.weight and bool(self.those(Phase.QUEUED))
        assert self.pool.refused(ticket, self.now, jitter, drop=drop) is returns
        assert self.pool.belief == max(0, min(belief, self.pool.held + ticket.weight - 1))
        self.put_back(ticket, Phase.ASIDE if aside else Phase.QUEUED, drop=not returns)
        self.refusals += 1
        self.single = True
        self.answered()

    @precondition(lambda self: self.those(Phase.SENT))
    @rule(number=PICKS, after=PAUSES, drop=st.booleans(), opens=st.booleans())
    def requeue(self, number: int, after: float, drop: bool, opens: bool) -> None:
        ticket = self.those(Phase.SENT)[number % len(self.those(Phase.SENT))]
        belief = self.pool.belief
        returns = not drop and self.may_return(ticket)
        assert self.pool.requeue(ticket, self.now, after, drop=drop, opens=opens) is returns
        assert self.pool.belief == belief
        self.put_back(ticket, Phase.QUEUED, drop=not returns)
        self.answered()

    def answered(self) -> None:
        """Note that an answer may have opened the pool."""
        self.reopens = math.inf if self.pool.closed is None else self.reopens

    def may_return(self, ticket: Ticket) -> bool:
        """Tell whether a ticket may queue again: not if its pool has closed or shrunk since it was sent."""
        closed = self.pool.closed is not None and ticket.since < self.reopens
        return not closed and self.pool.fits_ever(ticket.weight)

    def put_back(self, ticket: Ticket, phase: Phase, *, drop: bool) -> None:
        del self.where[ticket]
        if not drop:
            self.where[ticket] = phase

    @precondition(lambda self: self.those(Phase.SENT))
    @rule(number=PICKS, lost=st.booleans())
    def no_task_or_perhaps_one(self, number: int, lost: bool) -> None:
        ticket = self.those(Phase.SENT)[number % len(self.those(Phase.SENT))]
        belief = self.pool.belief
        if lost:
            self.pool.unknown(ticket, self.now)
            self.where[ticket] = Phase.HELD
        else:
            self.pool.withdrawn(ticket)
            del self.where[ticket]
        assert self.pool.belief == belief
        self.answered()

    # -- tasks, and the pool itself

    @rule(number=PICKS)
    def release(self, number: int) -> None:
        ticket = self.pick(number, Phase.HELD)
        if ticket is not None:
            assert self.pool.release(ticket, self.now)
            assert not self.pool.release(ticket, self.now)
            del self.where[ticket]

    @rule(weight=WEIGHTS, age=PAUSES)
    def occupy(self, weight: int, age: float) -> None:
        ticket = Ticket(weight)
        self.pool.occupy(ticket, self.now, age)
        self.where[ticket] = Phase.HELD

    @rule(limit=WEIGHTS, source=SOURCES)
    def resize(self, limit: int, source: LimitSource) -> None:
        belief, lowered = self.pool.belief, self.pool.belief < self.pool.limit
        purged = self.pool.resize(limit, source)
        assert self.pool.belief == (min(belief, limit) if lowered else limit)
        assert set(purged) == {t for t in self.those(*QUEUES) if not self.pool.fits_ever(t.weight)}
        for ticket in purged:
            del self.where[ticket]

    @rule()
    def close(self) -> None:
        purged = self.pool.close(OutOfUnits("none", code=1102), self.now)
        assert set(purged) == set(self.those(*QUEUES))
        assert len(purged) == len(set(purged))
        for ticket in purged:
            del self.where[ticket]
        self.reopens = self.now + 60.0

    @rule()
    def reopen(self) -> None:
        held = len(self.pool.breakers.all_holds())
        assert len(self.pool.reopen()) == held
        self.refresh()
        assert not self.those(Phase.PARKED)
        self.reopens = math.inf

    # -- time

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(fraction=st.floats(0, 0.99))
    def next_time_tells_the_truth(self, fraction: float) -> None:
        """Before the next time nothing happens without another call; at that time something does."""
        self.admit()
        when = self.pool.next_time()
        if when == math.inf:
            fraction, when = 1.0, self.now + 1000.0
            self.now = when
            assert (self.expire(), self.admit_only()) == ([], [])
            return
        early = self.now + (when - self.now) * fraction
        if early < when:
            assert (self.pool.expire(early), self.pool.admit(early)) == ([], [])
        self.now = when
        aside = self.pool.waiting.next_return() == when
        parked = self.those(Phase.PARKED)
        assert self.expire() + self.admit_only() or aside or parked != self.those(Phase.PARKED)

    @precondition(lambda self: self.where)
    @rule(number=PICKS)
    def a_step_out_of_turn_changes_nothing(self, number: int) -> None:
        ticket = self.pick(number, *Phase)
        assert ticket is not None
        steps: list[Callable[[], object]] = [lambda: self.pool.enter(ticket, self.now)]
        steps.append(lambda: self.pool.occupy(ticket, self.now))
        if ticket.phase is not Phase.SENT:
            steps.append(lambda: self.pool.accepted(ticket, self.now))
            steps.append(lambda: self.pool.refused(ticket, self.now, 0.0))
        if ticket.phase not in QUEUES:
            steps.append(lambda: self.pool.leave(ticket))
        before = copy_of(self.pool)
        with pytest.raises(AdmissionError):
            steps[number % len(steps)]()
        assert copy_of(self.pool) == before

    @invariant()
    def every_ticket_is_in_one_place_and_the_sums_agree(self) -> None:
        pool = self.pool
        tickets = pool.tickets()
        assert len(tickets) == len(self.where)
        assert {ticket: ticket.phase for ticket in tickets} == self.where
        assert pool.held == sum(t.weight for t in self.those(Phase.SENT, Phase.HELD))
        assert pool.queued == len(self.those(*QUEUES))
        assert 0 <= pool.belief <= pool.limit

    def teardown(self) -> None:
        """From any state, a server with room empties the queue in a bounded time."""
        deadline = self.now + 600.0 + 60.0 + 40.0 * (len(self.where) + 1)
        for _ in range(6 * (len(self.where) + 1)):
            self.admit()
            for ticket in self.those(Phase.SENT):
                self.judge_accepted(ticket)
                self.pool.accepted(ticket, self.now)
                self.where[ticket] = Phase.HELD
                self.single = self.single and self.seen[ticket] != self.refusals
                self.answered()
            for ticket in self.those(Phase.HELD):
                self.release(self.those(Phase.HELD).index(ticket))
            self.now = max(self.now, min(self.pool.next_time(), deadline + 1))
            if not self.where:
                return
        raise AssertionError(f"not served: {self.where}")


AnyOrder.TestCase.settings = same_draws(120, stateful_step_count=40)
TestAnyOrder = AnyOrder.TestCase


# -- against a server


class World:
    """A pool, its driver and the vendor, in simulated time."""

    def __init__(self, pool: Pool, limit: int, foreign: int = 0) -> None:
        self.pool = pool
        self.now = 0.0
        self.limit = limit
        self.foreign = foreign
        self.load = 0
        self.seconds: dict[Ticket, float] = {}
        """How long each task runs."""
        self.made: dict[Ticket, float] = {}
        self.refused: list[float] = []
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._steps = 0

    def at(self, when: float, action: Callable[[], object]) -> None:
        self._steps += 1
        heapq.heappush(self._events, (when, self._steps, action))

    def submit(self, when: float, weight: int, seconds: float, label: str = "") -> Ticket:
        ticket = Ticket(weight, label=label)
        self.seconds[ticket] = seconds
        self.at(when, lambda: self.pool.enter(ticket, self.now))
        return ticket

    def becomes(self, when: float, *, limit: int, foreign: int = 0) -> None:
        self.at(when, lambda: vars(self).update(limit=limit, foreign=foreign))

    def run(self, until: float) -> None:
        """Do as the drivers do, up to this time, and never at one moment for ever."""
        turns = 0
        while True:
            when = max(self.now, min(self.pool.next_time(), self._events[0][0] if self._events else math.inf))
            if when > until:
                self.now = until
                return
            turns = turns + 1 if when == self.now else 0
            assert turns < 200, "spinning"
            self.now = when
            if self._events and self._events[0][0] <= when:
                heapq.heappop(self._events)[2]()
            self.pool.expire(when)
            for ticket in self.pool.admit(when):
                self.at(when + 0.1, partial(self.create, ticket))

    def create(self, ticket: Ticket) -> None:
        room = self.load + self.foreign + ticket.weight <= self.limit
        self.load += ticket.weight if room else 0
        self.at(self.now + 0.1, lambda: self.answer(ticket, room))

    def answer(self, ticket: Ticket, room: bool) -> None:
        if not room:
            self.refused.append(self.now)
            self.pool.refused(ticket, self.now, 0.5)
            return
        self.made[ticket] = self.now
        self.pool.accepted(ticket, self.now)
        end = self.now + self.seconds[ticket]
        self.at(end, lambda: vars(self).update(load=self.load - ticket.weight))
        self.at(end + 1.0, lambda: self.pool.release(ticket, self.now))


@given(
    source=SOURCES,
    belief=WEIGHTS,
    arrivals=st.lists(
        st.tuples(st.floats(0, 200), WEIGHTS, st.sampled_from([1.0, 40.0]), st.sampled_from("ab")),
        min_size=1,
        max_size=15,
    ),
    changes=st.lists(st.tuples(st.floats(0, 400), st.integers(0, 12), st.integers(0, 9)), max_size=5),
)
@same_draws(150)
def test_once_the_server_has_room_everything_is_made_in_a_bounded_time(
    source: LimitSource,
    belief: int,
    arrivals: list[tuple[float, int, float, str]],
    changes: list[tuple[float, int, int]],
) -> None:
    """After any limits and foreign loads nothing is lost, nothing starves and nothing spins."""
    world = World(Pool("image", 9 if source == "caller" else belief, source=source), 9)
    world.pool.resize(max(world.pool.limit, *(a[1] for a in arrivals), 1), source)
    tickets = [world.submit(*arrival) for arrival in arrivals]
    for when, limit, foreign in changes:
        world.becomes(when, limit=limit, foreign=foreign)
    world.becomes(400.0, limit=9)
    world.run(400.0 + 600.0 + 80.0 * len(tickets))
    assert set(world.made) == set(tickets)
    assert (world.pool.held, world.pool.queued, world.load) == (0, 0, 0)


def test_a_weight_of_9_is_served_among_a_stream_of_weights_of_1() -> None:
    """A heavy ticket waits for two generations before it at most, not for the end of the stream."""
    world = World(Pool("image", 9, source="caller"), 9)
    for number in range(300):
        world.submit(float(number), 1, 30.0, label="stream")
    heavy = world.submit(10.0, 9, 30.0, label="heavy")
    world.run(100.0)
    assert world.made[heavy] < 75.0


def test_a_lasting_foreign_slot_starves_neither_the_heavy_nor_those_behind_it() -> None:
    """While the slot lasts those behind pass most of the time; after it the heavy one has its turn."""
    world = World(Pool("image", 9, source="caller"), 9, foreign=1)
    heavy = world.submit(0.0, 9, 10.0)
    light = [world.submit(0.01 * n, 1, 20.0) for n in range(1, 1000)]
    world.run(600.0)
    assert heavy not in world.made
    assert len(world.made) > 0.6 * 600 / 21 * 8
    world.becomes(600.0, limit=9)
    world.run(600.0 + 480.0 + 30.0)
    assert heavy in world.made
    assert len(light) > len(world.made), "the stream had not ended"


def test_an_unknown_limit_of_20_is_found_in_seconds() -> None:
    """One accepted probe follows the other, from the careful default upwards."""
    world = World(Pool("video", 5), 20)
    for _ in range(50):
        world.submit(0.0, 1, 60.0)
    world.run(5.0)
    assert (world.pool.held, world.pool.limit, world.pool.source) == (20, 20, "learned")


def test_a_full_account_is_asked_less_and_less() -> None:
    """In an hour about one probe per half minute is sent, and room is found within one pause."""
    world = World(Pool("video", 5, source="caller"), 5, foreign=5)
    world.submit(0.0, 1, 1.0)
    world.run(3600.0)
    assert 3600 / 37.5 <= len(world.refused) <= 3600 / 30 + 6
    world.becomes(3600.0, limit=5)
    world.run(3640.0)
    assert len(world.made) == 1
