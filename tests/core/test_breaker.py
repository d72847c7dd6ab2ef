"""core/breaker.py: which refusals hold the creates of an endpoint and model, and what ends the hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.core.admission import Phase, Pool, Ticket
from kling_async.core.breaker import EQUAL_REFUSALS, HoldStep, RefusalSignature
from kling_async.core.queue import Kind
from kling_async.core.verdict import Accepted, Again, Answer, Garbled, Lost, Unknown, judge_create
from kling_async.errors import CODES, BadResponse, TransportError
from kling_async.records import TaskRecord

if TYPE_CHECKING:
    from kling_async.core.breaker import HoldChange
    from kling_async.core.verdict import CreateVerdict

BAD = Kind("text_to_video", "kling-v3", "video")
GOOD = Kind("text_to_video", "kling-v2-6", "video")
ACCEPTED = Accepted(TaskRecord(endpoint="text_to_video", task_id="1", status="submitted"))


def verdict_on(status: int, code: int | None) -> CreateVerdict:
    """Return what the transport says of an answer to a create."""
    answer = Answer(status, code, "no", "r", b"{}")
    return judge_create(answer, endpoint="text_to_video", external_task_id="e", renewable=False)


def html(status: int) -> CreateVerdict:
    """Return what the transport says of a gateway's page."""
    page = Garbled(status, "not JSON", "<h1>no</h1>")
    return judge_create(page, endpoint="text_to_video", external_task_id="e", renewable=False)


def enter(pool: Pool, number: int, kind: Kind | None = BAD, **more: object) -> list[Ticket]:
    """Queue so many tickets."""
    tickets = [Ticket(1, kind=kind, **more) for _ in range(number)]  # type: ignore[arg-type]
    for ticket in tickets:
        assert pool.enter(ticket, 0.0) is None
    return tickets


def refuse(pool: Pool, verdict: CreateVerdict, now: float = 0.0) -> HoldChange | None:
    """Send the next create, and refuse it."""
    (ticket, *others) = pool.admit(now)
    change = pool.judged(ticket, verdict, now)
    pool.withdrawn(ticket)
    for other in others:
        pool.requeue(other, now, 0.0)
    return change


def held_pool(waiting: int = 5, limit: int = 100) -> tuple[Pool, list[Ticket]]:
    """Return a pool that holds the creates of one kind, and the tickets that wait for that."""
    pool = Pool("video", limit, source="caller")
    tickets = enter(pool, EQUAL_REFUSALS + waiting)
    for _ in range(EQUAL_REFUSALS):
        refuse(pool, verdict_on(404, 1203))
    assert pool.admit(0.0) == []
    return pool, tickets[EQUAL_REFUSALS:]


COUNTED = [
    *((html(status), RefusalSignature(None, status)) for status in (302, 400, 401, 403, 404, 409, 499)),
    *((verdict_on(status, None), RefusalSignature(None, status)) for status in (400, 403, 404)),
    *((verdict_on(status, code), RefusalSignature(code, 0)) for status, code in ((403, 1103), (404, 1203))),
    *(
        (verdict_on(status, code), RefusalSignature(code, 0))
        for status, code in ((400, 1999), (200, -1), (500, 7))
    ),
    (Unknown(BadResponse("no", http_status=403), wall=True), RefusalSignature(None, 403)),
]
IGNORED = [
    *(verdict_on(400, code) for code in CODES if code not in (1103, 1203)),
    *(html(status) for status in (200, 429, 500, 503)),
    verdict_on(429, None),
    Lost(TransportError("cut", sent=True)),
    Again(TransportError("unsent", sent=False)),
    Unknown(TransportError("cut", sent=True)),
]


@pytest.mark.parametrize(("verdict", "refusal"), COUNTED)
def test_refusals_that_say_nothing_about_the_request_are_counted(
    verdict: CreateVerdict, refusal: RefusalSignature
) -> None:
    """Rule 5a: ten equal ones of different creates hold the kind, whatever form they have."""
    pool = Pool("video", 100, source="caller")
    enter(pool, 30)
    changes = [refuse(pool, verdict) for _ in range(EQUAL_REFUSALS)]
    assert changes[:-1] == [None] * (EQUAL_REFUSALS - 1)
    (change,) = changes[-1:]
    assert change is not None and change.step is HoldStep.BEGUN
    assert (change.hold.kind, change.hold.refusal, change.hold.refusals) == (BAD, refusal, EQUAL_REFUSALS)
    assert change.hold.probe_at == 60.0
    assert pool.admit(0.0) == [] and pool.queued == 20 and not pool.contended


@pytest.mark.parametrize("verdict", IGNORED)
def test_other_answers_hold_nothing_however_many_come(verdict: CreateVerdict) -> None:
    """Rule 5a: what concerns the request, the account or a lost answer is not counted."""
    pool = Pool("video", 100, source="caller")
    enter(pool, 30)
    assert [refuse(pool, verdict) for _ in range(25)] == [None] * 25
    assert len(pool.admit(0.0)) == 5


ANSWERS = {
    "404": verdict_on(404, None),
    "403": html(403),
    "1203": verdict_on(404, 1203),
    "1103": verdict_on(403, 1103),
    "1999": verdict_on(400, 1999),
    "1201": verdict_on(400, 1201),
    "1301": verdict_on(400, 1301),
    "1303": verdict_on(429, 1303),
    "lost": Lost(TransportError("cut", sent=True)),
    "accepted": ACCEPTED,
}
_NEUTRAL = ("1201", "1301", "1303", "lost")


@given(
    st.lists(st.sampled_from(sorted(ANSWERS)), max_size=12).flatmap(
        lambda few: st.lists(st.sampled_from(few or ["404"]), max_size=60)
    )
)
def test_a_hold_begins_with_ten_equal_refusals_in_a_row(answers: list[str]) -> None:
    """Rule 5a: exactly when no accepted create and no other counted refusal stands between."""
    pool, row = Pool("video", 1, source="caller"), list[str]()
    for arrival, name in enumerate(answers, 1):
        ticket = Ticket(1, kind=BAD)
        ticket.sequence = arrival
        for _ in range(2):  # told twice of one create: counted once
            change = pool.judged(ticket, ANSWERS[name], 0.0)
            if name == "accepted":
                assert change is None
                row = []
            elif name not in _NEUTRAL and _ == 0:
                row = [*row, name] if row[-1:] == [name] else [name]
            assert (change is not None) == (_ == 0 and len(row) == EQUAL_REFUSALS and name == row[-1])
            if change is not None:
                return
        assert pool.breakers.all_holds() == []


def test_others_of_the_pool_go_on_in_fair_order() -> None:
    """Rule 5a: a held head does not block the line, costs its label no turn, and has its place again."""
    pool, _ = held_pool(waiting=0)
    pool.resize(1, "caller")
    waiting = enter(pool, 3, label="a")
    ours = enter(pool, 2, GOOD, label="a")
    theirs = enter(pool, 2, GOOD, label="b")
    served = list[Ticket]()
    for _ in range(4):
        (ticket,) = pool.admit(1.0)
        served.append(ticket)
        pool.judged(ticket, ACCEPTED, 1.0)
        pool.accepted(ticket, 1.0)
        pool.release(ticket, 1.0)
    assert served == [ours[0], theirs[0], ours[1], theirs[1]]
    assert [ticket.phase for ticket in waiting] == [Phase.PARKED] * 3 and pool.queued == 3
    late = enter(pool, 1, GOOD, label="a")
    assert len(pool.reopen()) == 1
    pool.resize(9, "caller")
    assert pool.admit(1.0) == [*waiting, *late]


def test_after_the_pause_one_goes_as_a_probe() -> None:
    """Rule 5a: refused alike, the pause begins anew; accepted, all go."""
    pool, waiting = held_pool()
    assert pool.next_time() == 60.0 and pool.admit(59.9) == []
    (probe,) = pool.admit(60.0)
    assert probe is waiting[0] and pool.admit(61.0) == [] and pool.next_time() > 1e9
    change = pool.judged(probe, verdict_on(403, 1103), 62.0)
    assert change is not None and (change.step, change.hold.probe_at) == (HoldStep.RENEWED, 122.0)
    pool.withdrawn(probe)
    assert pool.admit(121.0) == [] and pool.next_time() == 122.0
    (probe,) = pool.admit(122.0)
    change = pool.judged(probe, ACCEPTED, 123.0)
    pool.accepted(probe, 123.0)
    assert change is not None and change.step is HoldStep.ENDED
    assert pool.admit(123.0) == waiting[2:] and pool.breakers.all_holds() == []


@pytest.mark.parametrize("code", [1200, 1201, 1300, 1301])
def test_a_probe_refused_for_its_own_sake_ends_the_hold(code: int) -> None:
    """Rule 5a: the vendor's own code about that request says that requests are looked at again."""
    pool, waiting = held_pool()
    (probe,) = pool.admit(60.0)
    change = pool.judged(probe, verdict_on(400, code), 61.0)
    pool.withdrawn(probe)
    assert change is not None and change.step is HoldStep.ENDED
    assert pool.admit(61.0) == waiting[1:]


@pytest.mark.parametrize("end", ["full", "lost", "withdrawn", "left"])
def test_a_probe_that_says_nothing_is_followed_by_the_next(end: str) -> None:
    """Rule 5a: a full account, a lost answer or a caller who leaves: the next one goes, no pause more."""
    pool, waiting = held_pool()
    if end == "left":
        pool.resize(1, "caller")
        pool.occupy(other := Ticket(1), 0.0)
        assert pool.admit(60.0) == []
        pool.leave(waiting[0])
        pool.release(other, 60.0)
        assert pool.admit(62.0) == [waiting[1]]
        return
    (probe,) = pool.admit(60.0)
    assert probe is waiting[0]
    if end == "full":
        assert pool.judged(probe, ANSWERS["1303"], 61.0) is None
        pool.refused(probe, 61.0, 0.0)
        assert pool.admit(100.0) == [probe]
        return
    if end == "lost":
        assert pool.judged(probe, ANSWERS["lost"], 61.0) is None
        pool.unknown(probe, 61.0)
    else:
        pool.withdrawn(probe)
    assert pool.admit(62.0) == [waiting[1]]


def test_a_create_sent_before_the_hold_ends_it_only_if_accepted() -> None:
    """Rule 5a: late refusals change nothing; a late acceptance shows that not all are refused."""
    pool = Pool("video", 100, source="caller")
    enter(pool, 40)
    sent = pool.admit(0.0)
    changes = [pool.judged(ticket, html(404), 0.0) for ticket in sent[:20]]
    assert [change is not None for change in changes].count(True) == 1
    (hold,) = pool.breakers.all_holds()
    assert (hold.refusals, hold.probe_at) == (EQUAL_REFUSALS, 60.0)
    assert pool.judged(sent[30], ANSWERS["1201"], 1.0) is None
    change = pool.judged(sent[31], ACCEPTED, 2.0)
    assert change is not None and change.step is HoldStep.ENDED


def test_a_pool_without_queue_holds_nothing() -> None:
    """``queueing=False``: every create goes at once and fails by itself."""
    pool = Pool("video", 5, gate=False)
    enter(pool, 40)
    for ticket in pool.admit(0.0):
        assert pool.judged(ticket, html(404), 0.0) is None
    assert pool.breakers.all_holds() == []


def test_what_is_parked_can_leave_and_counts_as_waiting() -> None:
    """A queue timeout counts for what is held; the oldest of all is known; closing purges them too."""
    pool, waiting = held_pool()
    assert pool.oldest() is waiting[0]
    pool.leave(waiting[0])
    assert pool.oldest() is waiting[1] and pool.queued == 4
    assert pool.close(BadResponse("no", http_status=500), 1.0) == waiting[1:]
    assert pool.queued == 0 and pool.waiting.parked_kinds == []


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.booleans()), max_size=12))
def test_the_place_of_what_is_parked_is_the_order_of_the_probes(drawn: list[tuple[int, str, bool]]) -> None:
    """Those that are not held go before it; each probe that is refused lets it move up by one."""
    pool, _ = held_pool(waiting=0)
    pool.resize(1, "caller")
    (running,) = enter(pool, 1, GOOD)
    assert pool.admit(1.0) == [running]
    pool.judged(running, ACCEPTED, 1.0)
    pool.accepted(running, 1.0)
    for priority, label, good in drawn:
        enter(pool, 1, GOOD if good else BAD, priority=priority, label=label)
    pool.admit(1.0)
    waiting = [ticket for ticket in pool.waiting if ticket.phase is Phase.QUEUED]
    parked = [ticket for ticket in pool.waiting if ticket.phase is Phase.PARKED]
    assert all((pool.position(ticket) or 0) >= len(waiting) for ticket in parked)
    for ticket in waiting:
        pool.leave(ticket)
    pool.release(running, 2.0)
    places = {ticket: pool.position(ticket) for ticket in parked}
    assert sorted(place for place in places.values() if place is not None) == list(range(len(parked)))
    now = 60.0
    for place in range(len(parked)):
        (probe,) = pool.admit(now)
        assert places[probe] == place
        pool.judged(probe, verdict_on(404, 1203), now)
        pool.withdrawn(probe)
        now += 60.0


def test_a_caller_who_invents_models_fills_no_memory() -> None:
    """Refusals of many models are forgotten, oldest first; holds are not."""
    pool, _ = held_pool()
    for number in range(1000):
        ticket = Ticket(1, kind=Kind("text_to_video", f"m{number}", "video"))
        pool.judged(ticket, html(404), 1.0)
    assert len(pool.breakers) <= 65 and len(pool.breakers.all_holds()) == 1


def test_a_long_line_of_held_tickets_is_parked_once() -> None:
    """A line of 20,000 costs each later admission nothing: counted in calls, not in seconds."""
    pool, _ = held_pool(waiting=20_000)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    enter(pool, 50, GOOD)
    sys.setprofile(count)
    try:
        assert len(pool.admit(1.0)) == 50
        pool.next_time()
    finally:
        sys.setprofile(None)
    assert calls < 50 * 200
    assert len(pool.reopen()) == 1 and len(pool.admit(2.0)) == 50
