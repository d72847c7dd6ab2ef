"""Rules of a pool, each test named by its number among the rules of the orchestrator."""

from __future__ import annotations

import math
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.core.admission import AdmissionError, Phase, Pool, Ticket, View
from kling_async.core.queue import Kind
from kling_async.errors import OutOfUnits
from tests.core.pools import copy_of

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = OutOfUnits("no units", code=1102, http_status=429)


def told(limit: int, **more: Any) -> Pool:
    return Pool("video", limit, source="caller", **more)


def enter(pool: Pool, *weights: int, now: float = 0.0, priority: int = 0, label: str = "") -> list[Ticket]:
    tickets = [Ticket(weight, priority=priority, label=label) for weight in weights]
    for ticket in tickets:
        assert pool.enter(ticket, now) is None
    return tickets


def running(pool: Pool, *weights: int, now: float = 0.0) -> list[Ticket]:
    """Enter tickets whose tasks were made and hold their slots."""
    tickets = enter(pool, *weights, now=now)
    assert pool.admit(now) == tickets
    for ticket in tickets:
        pool.accepted(ticket, now)
    return tickets


def refused_probe(pool: Pool, now: float, jitter: float = 0.0) -> float:
    """Refuse the head; return how long the pool then waits."""
    (probe,) = pool.admit(now)
    pool.refused(probe, now, jitter)
    return pool.next_time() - now


def half_open(pool: Pool, *weights: int) -> list[Ticket]:
    """Close the pool at 0, and queue again at 60."""
    pool.close(OUT, 0.0)
    return enter(pool, *weights, now=60.0)


# -- rule 1: slots


def test_1_slots_are_taken_before_the_create_and_kept_after_it_until_the_end_is_seen() -> None:
    """Admission takes the slots, an acceptance frees none, and the release frees them."""
    pool = told(5)
    (ticket,) = enter(pool, 3)
    assert (pool.held, pool.queued) == (0, 1)
    assert pool.admit(0.0) == [ticket]
    assert (pool.held, pool.queued) == (3, 0)
    pool.accepted(ticket, 1.0)
    assert pool.held == 3
    assert pool.release(ticket, 2.0)
    assert (pool.held, ticket.phase) == (0, Phase.GONE)


def test_1_an_end_seen_twice_frees_the_slots_once() -> None:
    """A second release returns False and changes nothing."""
    pool = told(5)
    first, _ = running(pool, 2, 2)
    assert pool.release(first, 1.0)
    assert not pool.release(first, 1.0)
    assert pool.held == 2


def test_1_a_create_refused_for_its_own_sake_frees_its_slots() -> None:
    """The withdrawn ticket is gone at once, and the next one in the queue goes."""
    pool = told(2)
    wrong, behind = enter(pool, 2, 2)
    assert pool.admit(0.0) == [wrong]
    pool.withdrawn(wrong)
    assert wrong.phase is Phase.GONE
    assert pool.admit(0.0) == [behind]


def test_1_a_lost_create_holds_its_slots_for_the_task_may_run() -> None:
    """A create of unknown fate holds its slots like a running task, and frees them like one."""
    pool = told(2)
    (ticket,) = enter(pool, 2)
    pool.admit(0.0)
    pool.unknown(ticket, 1.0)
    assert (pool.held, ticket.phase) == (2, Phase.HELD)
    assert pool.release(ticket, 2.0)


def test_1_a_slot_stops_counting_when_it_was_held_too_long() -> None:
    """The life counts from the acceptance, or from the age of an attached task; each expires once."""
    pool = told(5, life=100.0)
    (made,) = running(pool, 1, now=10.0)
    old, ended = Ticket(2), Ticket(1)
    pool.occupy(ended, 10.0, age=95.0)
    pool.occupy(old, 10.0, age=40.0)
    assert pool.next_time() == 15.0
    pool.release(ended, 12.0)
    assert pool.next_time() == 70.0
    assert pool.expire(69.0) == []
    assert pool.expire(70.0) == [old]
    assert pool.held == 1
    assert pool.expire(110.0) == [made]
    assert (pool.held, pool.next_time()) == (0, math.inf)
    assert not pool.release(made, 111.0)


def test_1_the_time_of_a_task_that_ended_passes_without_effect() -> None:
    """The expiry time of a slot that is free already is skipped."""
    pool = told(5, life=100.0)
    (ticket,) = running(pool, 1)
    pool.release(ticket, 50.0)
    assert pool.expire(100.0) == []


def test_1_an_attached_task_takes_slots_even_beyond_the_limit() -> None:
    """A running task is counted in any case: the queue waits until there is room below the limit."""
    pool = told(2)
    running(pool, 2)
    pool.occupy(attached := Ticket(2), 0.0)
    enter(pool, 1)
    assert (pool.held, pool.admit(0.0)) == (4, [])
    pool.release(attached, 1.0)
    assert pool.admit(1.0) == []


def test_1_an_ended_task_is_forgotten_although_an_older_one_runs() -> None:
    """Memory is bounded by what a pool holds, not by all that ended within a task's life."""
    pool, alive = told(5, life=7200.0), weakref.WeakSet[Ticket]()
    running(pool, 1)
    for _ in range(500):
        ticket = Ticket(1)
        alive.add(ticket)
        pool.enter(ticket, 0.0)
        pool.admit(0.0)
        pool.accepted(ticket, 0.0)
        pool.release(ticket, 0.0)
    assert len(alive) < 200


# -- rule 2: whose turn it is


def test_2_all_or_nothing_a_heavy_head_is_not_overtaken() -> None:
    """With three free slots and a head of four, lighter tickets behind it wait although they would fit."""
    pool = told(5)
    light = running(pool, 1, 1)
    heavy, behind = enter(pool, 4, 1)
    assert pool.admit(0.0) == []
    pool.release(light[0], 0.0)
    assert pool.admit(0.0) == [heavy]
    pool.release(light[1], 0.0)
    assert pool.admit(0.0) == [behind]


def test_2_higher_priority_goes_first() -> None:
    """Priority decides before arrival and labels."""
    pool = told(9)
    (low,), (high,), (middle,) = (enter(pool, 1, priority=p, label=str(p)) for p in (-1, 7, 0))
    assert pool.admit(0.0) == [high, middle, low]


def test_2_first_come_first_served_within_a_label_round_robin_between_labels() -> None:
    """A label that comes late gets its turn next, and cannot be drowned by one that queued much."""
    pool = told(1)
    many = enter(pool, 1, 1, 1, 1, label="many")
    late: list[Ticket] = []
    served: list[Ticket] = []
    for step in range(6):
        late += enter(pool, 1, 1, label="late") if step == 2 else []
        (ticket,) = pool.admit(0.0)
        served.append(ticket)
        pool.accepted(ticket, 0.0)
        pool.release(ticket, 0.0)
    assert served == [many[0], many[1], late[0], many[2], late[1], many[3]]


@pytest.mark.parametrize("how", ["left", "closed"])
def test_2_a_label_is_not_set_back_by_requests_that_left(how: str) -> None:
    """A ticket that left was not served: its label's next ticket takes its turn as any other's."""
    pool = told(1)
    running(pool, 1)
    for ticket in enter(pool, *[1] * 20, label="a") if how == "left" else ():
        pool.leave(ticket)
    if how == "closed":
        enter(pool, *[1] * 20, label="a")
        pool.close(OUT, 0.0)
        pool.reopen()
    enter(pool, *[1] * 10, label="b")
    (mine,) = enter(pool, 1, label="a")
    pool.resize(3, "caller")
    assert mine in pool.admit(0.0)


def test_2_what_is_put_back_after_the_queue_was_empty_has_its_old_place() -> None:
    """An empty queue in between does not put a returned ticket behind later turns."""
    pool = told(1)
    enter(pool, *[1] * 5, label="a")
    for _ in range(4):
        (ticket,) = pool.admit(0.0)
        pool.accepted(ticket, 0.0)
        pool.release(ticket, 0.0)
    (last,) = pool.admit(0.0)
    enter(pool, 1, 1, 1, label="b")
    pool.refused(last, 0.0, 0.0)
    assert pool.admit(1.0) == [last]


@pytest.mark.parametrize("back", ["refused", "requeue"])
def test_2_what_is_put_back_has_its_old_place(back: str) -> None:
    """A returned ticket goes before all that came later, those of the same turn included."""
    pool = told(1)
    (first,) = enter(pool, 1, label="a")
    enter(pool, 1, label="a")
    assert pool.admit(0.0) == [first]
    enter(pool, 1, label="b")
    if back == "refused":
        pool.refused(first, 0.0, 0.0)
    else:
        pool.requeue(first, 0.0, 1.0)
    assert pool.admit(1.0) == [first]


def test_2_a_heavy_head_refused_by_an_empty_pool_steps_aside_and_has_its_place_again() -> None:
    """Those behind pass for 30 s, then it is first again; the pause doubles up to 10 min."""
    pool, now = told(9), 0.0
    (heavy,) = enter(pool, 9)
    for pause in (30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0):
        (light,) = enter(pool, 1, now=now)
        assert pool.admit(now) == [heavy]
        pool.refused(heavy, now, 0.0)
        assert heavy.phase is Phase.ASIDE
        assert pool.admit(now) == [light]
        pool.accepted(light, now)
        assert (pool.queued, pool.next_time()) == (1, now + pause)
        now += pause
        pool.release(light, now)
    enter(pool, 1, now=now)
    assert pool.admit(now) == [heavy]


def test_2_a_heavy_head_alone_does_not_step_aside() -> None:
    """With nobody to let pass, the head is tried again at the pace of probes."""
    pool = told(9)
    (heavy,) = enter(pool, 9)
    pool.admit(0.0)
    pool.refused(heavy, 0.0, 0.0)
    assert (heavy.phase, pool.next_time()) == (Phase.QUEUED, 1.0)


@pytest.mark.parametrize("weight", [1, 2], ids=["light", "heavy with ours in the way"])
def test_2_no_other_head_steps_aside(weight: int) -> None:
    """Weight 1 has nobody lighter to let pass; with our own tasks in the way, their end makes room."""
    pool = told(9)
    if weight > 1:
        running(pool, 1)
    (head,) = enter(pool, weight)
    pool.admit(0.0)
    pool.refused(head, 0.0, 0.0)
    assert head.phase is Phase.QUEUED


def test_the_oldest_is_who_came_first_of_those_that_queue() -> None:
    """Priority and stepping aside do not matter; a sent ticket does not count until it is refused."""
    pool = told(9)
    assert pool.oldest() is None
    heavy, light = enter(pool, 9, 1)
    (urgent,) = enter(pool, 1, priority=5)
    assert pool.oldest() is heavy
    assert pool.admit(0.0) == [urgent]
    pool.withdrawn(urgent)
    assert pool.admit(0.0) == [heavy] and pool.oldest() is light
    pool.refused(heavy, 0.0, 0.0)
    assert heavy.phase is Phase.ASIDE and pool.oldest() is heavy
    pool.leave(heavy)
    assert pool.oldest() is light


def test_2_who_stepped_aside_may_leave_or_be_closed_out() -> None:
    """A ticket aside queues in every other respect, and its time passes without effect once it left."""
    pool = told(9)
    leaving, closed = enter(pool, 9, 9)
    for ticket in (leaving, closed):
        pool.admit(1.0)
        pool.refused(ticket, 1.0, 0.0)
        pool.reopen()
    pool.leave(leaving)
    assert pool.close(OUT, 2.0) == [closed]
    pool.reopen()
    assert pool.admit(31.0) == []
    assert (pool.queued, pool.tickets(), leaving.phase) == (0, [], Phase.GONE)


# -- rule 3: 1303 is a fact about the pool


@pytest.mark.parametrize(
    ("ours", "weight", "belief"),
    [(0, 1, 0), (3, 1, 3), (3, 4, 6), (5, 4, 8), (0, 9, 8)],
)
def test_3_a_refusal_of_w_says_that_fewer_than_w_are_free(ours: int, weight: int, belief: int) -> None:
    """The belief becomes what is held plus w - 1, and the ticket is put back."""
    pool = told(9)
    running(pool, *[1] * ours)
    (ticket,) = enter(pool, weight)
    pool.admit(0.0)
    pool.refused(ticket, 0.0, 0.0)
    assert (pool.belief, pool.held, pool.queued) == (belief, ours, 1)


def test_3_a_refusal_never_raises_the_belief() -> None:
    """Of two bounds the smaller one stays."""
    pool = told(9)
    (light,) = enter(pool, 1)
    now = after_refusals(pool, 1)
    pool.leave(light)
    enter(pool, 4)
    refused_probe(pool, now)
    assert pool.belief == 0


def test_3_refusals_in_flight_together_count_as_one() -> None:
    """Three refusals of one flight cost one pause of 1 s; the next refusal costs one of 2 s."""
    pool = told(9)
    flight = enter(pool, 1, 1, 1)
    pool.admit(0.0)
    for ticket, now in zip(flight, (0.0, 0.1, 0.2), strict=True):
        pool.refused(ticket, now, 0.0)
    assert (pool.belief, pool.next_time()) == (0, 1.0)
    assert refused_probe(pool, 1.0) == 2.0


def test_3_then_creates_go_one_at_a_time_until_one_sent_after_the_refusal_is_accepted() -> None:
    """An acceptance from the refused flight does not count; that of a later create does."""
    pool = told(9)
    first, second, third = enter(pool, 1, 9 - 2, 1)
    waiting = enter(pool, 1, 1, 1, 1, 1, 1)
    assert pool.admit(0.0) == [first, second, third]
    pool.refused(second, 0.0, 0.0)  # belief: 2 held + 6
    pool.accepted(first, 0.0)
    assert pool.admit(0.0) == [], "one of the flight is still on its way"
    pool.accepted(third, 0.0)
    pool.leave(second)
    assert pool.admit(0.0) == waiting[:1]
    assert pool.admit(0.0) == []
    pool.accepted(waiting[0], 0.0)
    assert pool.admit(0.0) == waiting[1:]


def test_3_the_pause_doubles_from_1_to_30_s() -> None:
    """Each refusal after the last pause doubles it."""
    pool, now, pauses = told(5), 0.0, []
    enter(pool, 1)
    for _ in range(7):
        pauses.append(refused_probe(pool, now))
        now = pool.next_time()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_3_jitter_adds_up_to_a_quarter() -> None:
    """The caller's random number decides how much."""
    pool = told(5)
    enter(pool, 1)
    assert refused_probe(pool, 0.0, jitter=0.5) == pytest.approx(1.125)


def after_refusals(pool: Pool, count: int) -> float:
    """Refuse the only ticket that queues so often; return when the next probe may go."""
    now = 0.0
    for _ in range(count):
        refused_probe(pool, now)
        now = pool.next_time()
    return now


def test_3_an_accepted_probe_beyond_the_belief_resets_the_pause_and_the_next_follows_at_once() -> None:
    """The belief grows with the probe; the refusal that ends the search costs 1 s again."""
    pool = told(5)
    enter(pool, 1)
    now = after_refusals(pool, 4)
    enter(pool, 1, 1)
    for found in (1, 2):
        (probe,) = pool.admit(now)
        assert probe.probe
        pool.accepted(probe, now)
        assert pool.belief == found
    assert refused_probe(pool, now) == 1.0


def test_3_an_acceptance_within_the_belief_does_not_reset_the_pause() -> None:
    """Such an acceptance does not tell of more room: the next refusal doubles the pause further."""
    pool = told(5)
    ended, _ = running(pool, 1, 1)
    (ordinary,) = enter(pool, 1)
    after_refusals(pool, 3)
    assert pool.belief == 2
    pool.release(ended, 3.5)
    assert pool.admit(3.5) == [ordinary]
    assert not ordinary.probe
    pool.accepted(ordinary, 3.5)
    enter(pool, 1)
    assert pool.next_time() == 7.0
    assert refused_probe(pool, 7.0) == 8.0


@pytest.mark.parametrize("end", ["release", "expire"])
def test_3_an_emptied_pool_tries_at_once(end: str) -> None:
    """The end of the last task makes a probe due now, but only one: the pause goes on growing."""
    pool = told(5, life=10.0)
    enter(pool, 1)
    assert after_refusals(pool, 3) == 7.0
    pool.occupy(last := Ticket(1), 3.5, age=10.0)
    assert pool.admit(3.5) == []
    assert pool.release(last, 3.5) if end == "release" else pool.expire(3.5) == [last]
    assert pool.next_time() == 3.5
    assert refused_probe(pool, 3.5) == 8.0


def test_3_attached_tasks_raise_the_belief_with_the_next_acceptance_but_do_not_reset_the_pause() -> None:
    """So many slots are ours for sure, but no probe beyond the belief found them."""
    pool = told(9)
    ended, _ = running(pool, 1, 1)
    enter(pool, 1)
    after_refusals(pool, 3)
    pool.release(ended, 3.5)
    (ordinary,) = pool.admit(3.5)
    pool.occupy(Ticket(6), 3.5)
    pool.accepted(ordinary, 3.5)
    assert (ordinary.probe, pool.belief) == (False, 8)
    enter(pool, 1)
    assert pool.next_time() == 7.0
    assert refused_probe(pool, 7.0) == 8.0


def test_3_room_given_back_by_others_is_found_again() -> None:
    """The belief climbs from 0 to the told limit, one probe at a time, and not beyond."""
    pool = told(3)
    tickets = enter(pool, 1)
    now = after_refusals(pool, 1)
    tickets += enter(pool, 1, 1, 1)
    for ticket in tickets[:3]:
        assert pool.admit(now) == [ticket]
        assert pool.admit(now) == []
        pool.accepted(ticket, now)
    assert (pool.belief, pool.next_time()) == (3, math.inf)


def test_3_a_probe_whose_answer_was_lost_does_not_let_the_next_follow_at_once() -> None:
    """Otherwise a server that answers every create with 502 draws the whole queue into doubt."""
    pool = Pool("video", 5)
    enter(pool, *[1] * 20)
    for ticket in pool.admit(0.0):
        pool.unknown(ticket, 0.0)
    for ticket in pool.admit(0.0):  # the first probe beyond the belief
        pool.unknown(ticket, 0.0)
    assert pool.admit(0.0) == []


# -- rule 4: the limit


def test_4_a_told_limit_is_never_passed() -> None:
    """A probe does not pass it either."""
    pool = told(3)
    running(pool, 1, 1, 1)
    enter(pool, 1)
    assert (pool.admit(1e9), pool.next_time()) == ([], math.inf)


def test_4_a_told_limit_is_not_raised_by_what_runs() -> None:
    """Attached tasks beyond a told limit are held, and believed only up to it."""
    pool = told(3)
    enter(pool, 1)
    now = after_refusals(pool, 1)
    (probe,) = pool.admit(now)
    pool.occupy(Ticket(5), now)
    pool.accepted(probe, now)
    assert (pool.held, pool.belief, pool.limit, pool.source) == (6, 3, 3, "caller")


def test_4_a_default_limit_is_found_upward_by_probes_one_at_a_time() -> None:
    """The first flight fills the default; then one probe follows each acceptance at once."""
    pool = Pool("video", 2)
    tickets = enter(pool, *[1] * 6)
    first = pool.admit(0.0)
    assert first == tickets[:2]
    for ticket in first:
        pool.accepted(ticket, 0.0)
    for count in (3, 4):
        (probe,) = pool.admit(0.0)
        assert pool.admit(0.0) == []
        pool.accepted(probe, 0.0)
        assert (pool.limit, pool.source, pool.belief) == (count, "learned", count)
    assert refused_probe(pool, 0.0) == 1.0
    assert (pool.limit, pool.belief) == (4, 4)
    now = 1.0
    for _ in range(10):
        refused_probe(pool, now)
        now = pool.next_time()
    assert pool.next_time() < math.inf, "the search never ends"


def test_4_a_raised_limit_raises_the_belief_unless_refusals_lowered_it() -> None:
    """What refusals taught stays known; probes find the rest."""
    pool = told(3)
    assert pool.resize(5, "packs") == []
    assert (pool.limit, pool.belief, pool.source, pool.binding) == (5, 5, "packs", True)
    enter(pool, 1)
    after_refusals(pool, 1)
    pool.resize(20, "packs")
    assert (pool.limit, pool.belief) == (20, 0)


def test_4_a_lowered_limit_binds_at_once_and_lets_what_runs_end() -> None:
    """More may be held than the new limit; nobody is admitted until the sum fits."""
    pool = told(5)
    tasks = running(pool, *[1] * 5)
    enter(pool, 1)
    pool.resize(3, "packs")
    assert (pool.belief, pool.held) == (3, 5)
    for task in tasks[:2]:
        pool.release(task, 0.0)
        assert pool.admit(0.0) == []
    pool.release(tasks[2], 0.0)
    assert len(pool.admit(0.0)) == 1


def test_4_queued_requests_heavier_than_a_newly_told_limit_are_returned() -> None:
    """They come in the order of their places, one aside included; the others stay."""
    pool = Pool("image", 9)
    aside, heavy, fits = enter(pool, 9, 6, 5)
    pool.admit(0.0)
    pool.refused(aside, 0.0, 0.0)
    assert pool.resize(5, "packs") == [aside, heavy]
    assert (pool.queued, pool.tickets(), heavy.phase) == (1, [fits], Phase.GONE)


@pytest.mark.parametrize(
    ("pool", "fits"),
    [(told(5), False), (Pool("image", 5), True), (told(5, gate=False), True)],
    ids=["told", "only guessed", "no gate"],
)
def test_4_only_a_told_limit_says_what_never_fits(pool: Pool, fits: bool) -> None:
    """A guess may be passed by probes; without a gate the vendor decides."""
    assert pool.fits_ever(5)
    assert pool.fits_ever(6) is fits


def test_4_a_create_in_flight_that_the_new_limit_excludes_does_not_block_the_queue_when_refused() -> None:
    """A limit that became known meanwhile keeps it from waiting for room that never comes."""
    pool = Pool("image", 9)
    enter(pool, 9, 1)
    pool.occupy(Ticket(1), 0.0)
    (heavy,) = pool.admit(0.0)
    pool.resize(5, "packs")
    pool.refused(heavy, 0.0, 0.0)
    assert len(pool.admit(100.0)) == 1


# -- rule 5: closed pools


def test_5_a_closed_pool_fails_what_queues_and_what_comes() -> None:
    """Queued tickets are returned in order; a new one gets the error, and may come again later."""
    pool = told(2)
    queued = enter(pool, 1, 1, 1)
    assert pool.close(OUT, 0.0) == queued
    assert pool.enter(late := Ticket(1), 59.9) is OUT
    assert (pool.queued, pool.admit(59.9), pool.next_time()) == (0, [], math.inf)
    assert pool.enter(late, 60.0) is None


def test_5_half_open_after_60_s_one_goes_and_those_behind_wait() -> None:
    """The second ticket waits for the answer to the first, not for a time."""
    pool = told(5)
    probe, behind = half_open(pool, 1, 1)
    assert pool.admit(60.0) == [probe]
    assert (pool.admit(60.0), pool.next_time()) == ([], math.inf)
    pool.accepted(probe, 61.0)
    assert pool.closed is None
    assert pool.admit(61.0) == [behind]


ANSWERS: dict[str, Callable[[Pool, Ticket], object]] = {
    "accepted": lambda pool, ticket: pool.accepted(ticket, 61.0),
    "refused by 1303": lambda pool, ticket: pool.refused(ticket, 61.0, 0.0),
    "refused by 1302": lambda pool, ticket: pool.requeue(ticket, 61.0, 1.0, opens=True),
    "refused for its own sake": lambda pool, ticket: pool.withdrawn(ticket),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_5_any_answer_but_a_closing_code_opens_a_half_open_pool(answer: str) -> None:
    """The pool is then open to all."""
    pool = told(5)
    (probe,) = half_open(pool, 1)
    pool.admit(60.0)
    ANSWERS[answer](pool, probe)
    assert pool.closed is None


@pytest.mark.parametrize("how", ["closing code", "not sent"])
def test_5_no_answer_or_a_closing_code_leaves_it_closed(how: str) -> None:
    """A closing code starts the 60 s anew; a create that was not sent is tried again."""
    pool = told(5)
    probe, behind = half_open(pool, 1, 1)
    pool.admit(60.0)
    if how == "not sent":
        pool.requeue(probe, 61.0, 1.0)
        assert pool.admit(62.0) == [probe]
    else:
        pool.withdrawn(probe, opens=False)
        assert pool.close(OUT, 61.0) == [behind]
        assert pool.enter(Ticket(1), 120.9) is OUT
    assert pool.closed is OUT


def test_5_a_lost_answer_does_not_open_a_half_open_pool() -> None:
    """Silence is not an answer other than a closing code."""
    pool = told(5)
    (probe,) = half_open(pool, 1)
    pool.admit(60.0)
    pool.unknown(probe, 61.0)
    assert pool.closed is OUT


@pytest.mark.parametrize("what", ["pause", "limit"])
def test_5_the_half_open_probe_keeps_the_pause_and_the_told_limit(what: str) -> None:
    """A refused connection does not allow the next try at once; a told limit binds a closed pool too."""
    pool = told(1)
    if what == "limit":
        running(pool, 1)
    (probe,) = half_open(pool, 1)
    if what == "pause":
        pool.admit(60.0)
        pool.requeue(probe, 60.0, 5.0)
    assert pool.admit(60.0) == []
    assert pool.next_time() == (65.0 if what == "pause" else math.inf)


def test_5_what_was_not_sent_is_not_put_back_into_a_closed_pool() -> None:
    """All that queues in a closed pool fails at once: this ticket has to be given back as well."""
    pool = told(5)
    closing, other = enter(pool, 1, 1)
    pool.admit(0.0)
    pool.withdrawn(closing, opens=False)
    pool.close(OUT, 0.0)
    pool.requeue(other, 0.0, 1.0)
    assert pool.tickets() == []


def test_5_reopen_lets_creates_through_at_once() -> None:
    """Neither the 60 s nor any pause remain, and creates go together."""
    pool = told(5)
    pool.close(OUT, 0.0)
    pool.reopen()
    pair = enter(pool, 1, 1)
    assert (pool.closed, pool.admit(0.0)) == (None, pair)
    for ticket in pair:
        pool.requeue(ticket, 0.0, 50.0)
    pool.reopen()
    assert pool.admit(0.0) == pair


# -- rules 7 and 8: put back, dropped


def test_7_put_back_all_wait_and_the_belief_stays() -> None:
    """A create that was not made says nothing of the pool's size: after the pause all goes on as before."""
    pool = told(5)
    both = enter(pool, 1, 1)
    pool.admit(0.0)
    pool.requeue(both[0], 0.0, 4.0)
    pool.requeue(both[1], 0.0, 2.0)
    third = enter(pool, 1)
    assert (pool.belief, pool.admit(3.9), pool.next_time()) == (5, [], 4.0)
    assert pool.admit(4.0) == both + third


def test_7_a_pause_holds_probes_too() -> None:
    """Probes wait although their own pause is over long before."""
    pool = told(5)
    (probe,) = enter(pool, 1)
    now = after_refusals(pool, 1)
    pool.admit(now)
    pool.requeue(probe, now, 5.0)
    assert (pool.admit(5.9), pool.next_time()) == ([], 6.0)


@pytest.mark.parametrize("answer", ["accepted", "refused by 1303", "refused for its own sake"])
def test_7_the_pause_is_not_cut_short_by_creates_sent_before_it(answer: str) -> None:
    """Where a whole flight meets 1302, those accepted from it say nothing of what comes after."""
    pool = told(9)
    slow, other = enter(pool, 1, 1)
    pool.admit(0.0)
    pool.requeue(slow, 60.0, 10.0)
    ANSWERS[answer](pool, other)
    assert pool.admit(69.0) == []


def test_7_without_a_gate_what_is_put_back_waits_all_the_same() -> None:
    """A pool that does not queue for slots still does not repeat a create in a hot loop."""
    pool = told(1, gate=False)
    (ticket,) = enter(pool, 1)
    pool.admit(0.0)
    pool.requeue(ticket, 0.0, 5.0)
    assert (pool.admit(0.0), pool.next_time()) == ([], 5.0)


@pytest.mark.parametrize("how", ["refused", "requeue"])
def test_8_refused_after_its_caller_left_it_is_dropped(how: str) -> None:
    """The ticket is not queued again; what its refusal taught of the pool counts."""
    pool = told(5)
    gone, behind = enter(pool, 1, 1)
    pool.admit(0.0)
    pool.accepted(behind, 0.0)
    if how == "refused":
        pool.refused(gone, 0.0, 0.0, drop=True)
    else:
        pool.requeue(gone, 0.0, 1.0, drop=True)
    assert (gone.phase, pool.held, pool.queued) == (Phase.GONE, 1, 0)
    assert pool.belief == (1 if how == "refused" else 5)


# -- the rest


def test_without_a_gate_everything_goes_at_once_and_is_counted() -> None:
    """With ``queueing=False`` neither limit nor belief hold anything back."""
    pool = told(2, gate=False)
    tickets = enter(pool, 1, 9, 1)
    assert pool.admit(0.0) == tickets
    assert pool.held == 11


def test_leaving_in_numbers_leaves_nothing_behind() -> None:
    """Tickets that left are forgotten before their turn, and the others keep their order."""
    pool, alive = told(1), weakref.WeakSet[Ticket]()
    running(pool, 1)

    def come(number: int) -> None:
        ticket = Ticket(1, priority=number % 2)
        alive.add(ticket)
        pool.enter(ticket, 0.0)
        if number < 600:
            pool.leave(ticket)

    for number in range(700):
        come(number)
    assert (pool.queued, len(pool.tickets())) == (100, 101)
    assert len(alive) <= 400
    pool.resize(101, "caller")
    served = pool.admit(0.0)
    assert served == sorted(served, key=lambda ticket: (-ticket.priority, ticket.sequence))
    assert len(served) == 100


def test_a_place_in_a_long_queue_costs_no_more_than_in_a_short_one() -> None:
    """The work for one admission, counted in calls, does not grow with the queue."""
    pool, calls = told(1), 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    enter(pool, 1, label="b")
    enter(pool, *[1] * 1000, label="a")
    sys.setprofile(count)
    try:
        for _ in range(20):
            (ticket,) = pool.admit(0.0)
            pool.accepted(ticket, 0.0)
            pool.release(ticket, 0.0)
    finally:
        sys.setprofile(None)
    assert calls < 20 * 200


STEPS: dict[str, Callable[[Pool, Ticket], object]] = {
    "enter": lambda pool, ticket: pool.enter(ticket, 0.0),
    "leave": lambda pool, ticket: pool.leave(ticket),
    "accepted": lambda pool, ticket: pool.accepted(ticket, 0.0),
    "refused": lambda pool, ticket: pool.refused(ticket, 0.0, 0.0),
    "requeue": lambda pool, ticket: pool.requeue(ticket, 0.0, 1.0),
    "withdrawn": lambda pool, ticket: pool.withdrawn(ticket),
    "unknown": lambda pool, ticket: pool.unknown(ticket, 0.0),
    "occupy": lambda pool, ticket: pool.occupy(ticket, 0.0),
}
LEGAL = {
    Phase.QUEUED: {"leave"},
    Phase.ASIDE: {"leave"},
    Phase.PARKED: {"leave"},
    Phase.SENT: {"accepted", "refused", "requeue", "withdrawn", "unknown"},
    Phase.HELD: set[str](),
    Phase.NEW: {"enter", "occupy"},
    Phase.GONE: set[str](),
}


def pool_with_all_phases() -> tuple[Pool, dict[Phase, Ticket]]:
    """Make a pool that has a ticket of each phase."""
    pool = told(9)
    aside, held = enter(pool, 9, 1)
    pool.admit(0.0)
    pool.refused(aside, 0.0, 0.0)
    pool.admit(0.0)
    pool.accepted(held, 0.0)
    (sent,) = enter(pool, 1)
    pool.admit(0.0)
    parked = Ticket(1, kind=Kind("text_to_video", "kling-v3", "video"))
    pool.enter(parked, 0.0)
    pool.waiting.park(parked)
    queued, gone = enter(pool, 1, 1)
    pool.leave(gone)
    return pool, {ticket.phase: ticket for ticket in (Ticket(1), queued, aside, parked, sent, held, gone)}


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.value)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_the_phase_does_not_allow_raises_and_changes_nothing(step: str, phase: Phase) -> None:
    """All pairs of phase and step: legal steps go, all others leave the pool as it was."""
    pool, tickets = pool_with_all_phases()
    ticket = tickets[phase]
    assert ticket.phase is phase
    before = copy_of(pool)
    if step in LEGAL[phase]:
        STEPS[step](pool, ticket)
        return
    with pytest.raises(AdmissionError):
        STEPS[step](pool, ticket)
    assert copy_of(pool) == before
    assert ticket.phase is phase


def test_a_ticket_enters_once() -> None:
    """A ticket that left or ended has lost its place for good."""
    pool = told(5)
    (ticket,) = enter(pool, 1)
    pool.leave(ticket)
    with pytest.raises(AdmissionError, match="only a new ticket enters"):
        pool.enter(ticket, 0.0)


def test_another_pools_ticket_raises_and_changes_nothing() -> None:
    """Otherwise the slots of both pools would be wrong from then on."""
    mine, other = told(5), told(5)
    (ticket,) = enter(other, 1)
    other.admit(0.0)
    with pytest.raises(AdmissionError):
        mine.withdrawn(ticket)


def test_a_pool_tells_its_state_in_one_line() -> None:
    """The repr and the view show the same."""
    pool = told(5)
    running(pool, 1, 2)
    enter(pool, 4)
    assert repr(pool) == "Pool(video: 3 of 5 held, 1 queued, limit 5 by caller)"
    assert pool.view() == View(5, "caller", 5, 3, 1, None)
    pool.close(OUT, 0.0)
    assert repr(pool) == "Pool(video: closed, limit 5 by caller)"
    assert pool.view().closed is OUT


# -- what takes no slot


def test_what_takes_no_slot_passes_a_full_pool() -> None:
    """A create of weight 0 needs no room: it goes although the pool is full, and holds nothing."""
    pool = told(1)
    running(pool, 1)
    (free,) = enter(pool, 0)
    assert pool.admit(0.0) == [free]
    pool.accepted(free, 0.0)
    assert (pool.held, pool.belief) == (1, 1)


def test_what_takes_no_slot_and_is_refused_waits_like_any_other() -> None:
    """1303 tells nothing of room then: creates go one at a time, after pauses that double."""
    pool = told(1)
    enter(pool, 0, 0, 0)
    first = pool.admit(0.0)
    assert len(first) == 3
    for ticket in first:
        pool.refused(ticket, 0.0, 0.0)
    assert (pool.belief, pool.next_time()) == (1, 1.0)
    assert refused_probe(pool, 1.0) == 2.0
    (probe,) = pool.admit(3.0)
    assert pool.next_time() == math.inf
    pool.accepted(probe, 3.0)
    assert len(pool.admit(3.0)) == 2
