"""A pool in the ledger decides as one in memory does, whatever happens and whichever process says so."""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_async.core.admission import Phase, Pool, Ticket
from kling_async.core.queue import Kind
from kling_async.core.verdict import Accepted, Refused
from kling_async.errors import BadResponse, OutOfUnits
from kling_async.orchestrator.ledger.facts import TaskFacts
from kling_async.orchestrator.ledger.steps import (
    AnswerLost,
    Close,
    Confirm,
    Ended,
    Enter,
    Free,
    FullRefusal,
    Judged,
    Leave,
    Occupy,
    Reopen,
    Requeue,
    Resend,
    Resize,
    Step,
    TaskMade,
)
from kling_async.records import TaskRecord
from tests.orchestrator.ledger.processes import VIDEO, Machine, Process

PICKS = st.integers(0, 1 << 16)
WEIGHTS = st.integers(0, 4)
KINDS = {"a": Kind("text_to_video", "one", "video"), "b": Kind("text_to_video", "two", "video"), "c": None}
RECORD = TaskRecord(task_id="1", endpoint="text_to_video")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), WEIGHTS, st.integers(0, 2), st.sampled_from("ab"), PICKS),
        st.tuples(st.just("enter"), st.just(1), st.just(0), st.sampled_from("abc"), PICKS),
        st.tuples(
            st.sampled_from(("leave", "made", "made", "full", "again", "free", "lost", "resend", "ended")),
            PICKS,
            st.booleans(),
            st.sampled_from((0.0, 0.5, 0.99)),
        ),
        st.tuples(st.just("wait"), st.sampled_from((0.1, 1.0, 1.9, 5.0, 31.0))),
        st.tuples(st.just("occupy"), WEIGHTS, st.sampled_from((0.0, 30.0)), PICKS),
        st.tuples(st.just("resize"), st.integers(1, 6), st.sampled_from(("packs", "default"))),
        st.tuples(st.sampled_from(("close", "reopen"))),
        st.tuples(st.just("walled"), PICKS),
    ),
    min_size=20,
    max_size=60,
)
ACCOUNTS = itertools.count()
LABEL_LIMITS = st.dictionaries(st.sampled_from("ab"), st.integers(1, 5), max_size=2)


class Compared:
    """Processes with a ledger, and one pool in memory that is told the same."""

    def __init__(
        self, place: Path | str, processes: int, life: float, label_limits: dict[str, int] | None = None
    ) -> None:
        self.machine = Machine(place, life=life, label_limits=label_limits)
        account = f"account {next(ACCOUNTS)}"
        self.processes = [self.machine.start(account) for _ in range(processes)]
        self.pool = Pool("video", 5, life=life, label_limits=label_limits)
        self.tickets: dict[int, tuple[Ticket, Process]] = {}
        self.clock = self.machine.now

    def of(self, pick: int, *phases: Phase) -> int | None:
        """Return a ticket in one of these phases."""
        found = [number for number, (ticket, _) in self.tickets.items() if ticket.phase in phases]
        return found[pick % len(found)] if found else None

    def number(self) -> int:
        """Return the number of the next ticket: arrivals are a nanosecond apart at least."""
        self.clock = max(self.clock + 1e-6, self.machine.now)
        return int(self.clock * 1e9)

    def take(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("enter", weight, priority, label, pick):
                self.enter(weight, priority, label, self.processes[pick % len(self.processes)])
            case ("wait", seconds):
                self.wait(seconds)
            case ("occupy", weight, age, pick):
                self.occupy(weight, age, self.processes[pick % len(self.processes)])
            case ("resize", limit, source):
                if source != "default" or self.pool.source != "learned":
                    self.pool.resize(limit, source)
                self.say(self.processes[0], Resize("video", limit, source))
            case ("close",):
                error = OutOfUnits("none left", code=1102, request_id="r", http_status=429)
                self.pool.close(error, self.machine.now)
                self.say(self.processes[-1], Close(error, "video"))
            case ("reopen",):
                self.pool.reopen()
                self.say(self.processes[0], Reopen(None))
            case ("walled", pick):
                self.walled(pick)
            case (kind, pick, flag, jitter):
                self.answer(kind, pick, flag, jitter)

    def enter(self, weight: int, priority: int, label: str, process: Process) -> None:
        kind = KINDS[label]
        number, ticket = self.number(), Ticket(weight, priority=priority, label=label, kind=kind)
        ticket.sequence = number
        if (
            self.pool.fits_ever(weight)
            and self.pool.labels.fits_ever(ticket)
            and self.pool.enter(ticket, self.machine.now) is None
        ):
            self.tickets[number] = ticket, process
        about = TaskFacts(VIDEO, f"task-{number}")
        self.say(process, Enter("video", number, weight, priority, label, about, kind))

    def walled(self, pick: int) -> None:
        """Refuse a create as a wall before the vendor does; ten of one kind in a row are held."""
        number = self.of(pick, Phase.SENT)
        if number is None:
            return
        ticket, process = self.tickets[number]
        verdict = Refused(BadResponse("no", http_status=403))
        self.pool.judged(ticket, verdict, self.machine.now)
        self.pool.withdrawn(ticket)
        self.say(process, Judged(number, verdict), Free(number, True))

    def occupy(self, weight: int, age: float, process: Process) -> None:
        number, ticket = self.number(), Ticket(weight)
        ticket.sequence = number
        self.tickets[number] = ticket, process
        self.pool.occupy(ticket, self.machine.now, age)
        about = TaskFacts(VIDEO, task_id=str(number))
        self.say(process, Occupy("video", number, weight, age, about))

    def answer(self, kind: str, pick: int, flag: bool, jitter: float) -> None:
        phases = {
            "leave": (Phase.QUEUED, Phase.ASIDE, Phase.PARKED),
            "resend": (Phase.HELD,),
            "ended": (Phase.HELD,),
        }
        number = self.of(pick, *phases.get(kind, (Phase.SENT,)))
        if number is None:
            return
        (ticket, process), pool, now = self.tickets[number], self.pool, self.machine.now
        step: Step
        if kind == "made":
            verdict = Accepted(RECORD)
            pool.judged(ticket, verdict, now)
            self.say(process, Judged(number, verdict))
        match kind:
            case "leave":
                pool.leave(ticket)
                step = Leave(number)
            case "made":
                pool.accepted(ticket, now)
                step = TaskMade(number, TaskFacts(VIDEO, f"task-{number}", str(number)))
            case "full":
                pool.refused(ticket, now, jitter, drop=flag)
                step = FullRefusal(number, jitter, flag)
            case "again":
                pool.requeue(ticket, now, jitter, drop=flag, opens=flag)
                step = Requeue(number, jitter, flag, flag)
            case "free":
                pool.withdrawn(ticket, opens=flag)
                step = Free(number, flag)
            case "lost":
                pool.unknown(ticket, now)
                step = AnswerLost(number)
            case "resend":
                pool.resume(ticket, now)
                step = Resend(number)
            case _:
                pool.release(ticket, now)
                step = Ended(number)
        self.say(process, step)

    def wait(self, seconds: float) -> None:
        """Let time pass, in which every process shows itself."""
        end = self.machine.now + seconds
        while self.machine.now < end:
            self.machine.now = min(end, self.machine.now + 1.0)
            self.say(self.processes[0])

    def say(self, process: Process, *steps: Step) -> None:
        """Say steps, let everybody hear, and compare."""
        now = self.machine.now
        self.pool.expire(now)
        admitted = {ticket.sequence or self.numbered(ticket) for ticket in self.pool.admit(now)}
        process.sync(*steps)
        granted: set[int] = set()
        for other in self.processes:
            other.sync()
            granted.update(other.granted)
            for number in list(other.granted):
                assert other.confirm(number)
        assert granted == admitted
        facts, view = process.sync().pools["video"], self.pool.view()
        assert (facts.limit, facts.source, facts.belief) == (view.limit, view.source, view.belief)
        assert (facts.held, facts.queued) == (view.held, view.queued)
        assert facts.parked == self.pool.waiting.parked
        places = {number: place for other in self.processes for number, place in places_of(other).items()}
        waiting = {number: ticket for number, (ticket, _) in self.tickets.items()}
        assert places == {
            number: self.pool.position(ticket)
            for number, ticket in waiting.items()
            if ticket.phase is Phase.QUEUED
        }
        holds = [(hold.kind, hold.refusals, hold.probe_at) for hold in facts.holds]
        assert holds == [(hold.kind, hold.refusals, hold.probe_at) for hold in self.pool.breakers.all_holds()]
        assert type(facts.closed) is type(view.closed)

    def numbered(self, ticket: Ticket) -> int:
        return next(number for number, (known, _) in self.tickets.items() if known is ticket)


def places_of(process: Process) -> dict[int, int]:
    """Return how many go before each ticket of a process, however short a time ago that was asked."""
    return process.file.places(math.inf)


def test_creates_that_are_held_are_held_for_all() -> None:
    """Ten equal refusals in one process park what others queue of that kind; one goes as a probe later."""
    with tempfile.TemporaryDirectory() as folder:
        compared = Compared(Path(folder) / "l.db", 2, 7200.0)
        compared.say(compared.processes[0], Resize("video", 5, "default"))
        compared.take(("resize", 20, "packs"))
        for number in range(12):
            compared.take(("enter", 1, 0, "a", number))
        for _ in range(10):
            compared.take(("walled", 0))
        for number in range(4):
            compared.take(("enter", 1, 0, "a", number))
        compared.take(("enter", 1, 0, "b", 0))
        assert compared.pool.waiting.parked == 4
        compared.take(("wait", 61.0))
        assert compared.pool.waiting.parked == 3
        compared.take(("walled", 1))
        compared.take(("reopen",))
        assert compared.pool.waiting.parked == 0
        compared.machine.close()


@given(STEPS, st.integers(1, 3), st.sampled_from((7200.0, 40.0)), LABEL_LIMITS)
def test_a_pool_in_the_ledger_decides_as_one_in_memory(
    steps: list[tuple[Any, ...]], processes: int, life: float, label_limits: dict[str, int]
) -> None:
    """The same tickets get slots at the same steps, and the pool shows the same, after every step."""
    with tempfile.TemporaryDirectory() as folder:
        compared = Compared(Path(folder) / "l.db", processes, life, label_limits)
        try:
            compared.say(compared.processes[0], Resize("video", 5, "default"))
            for step in steps:
                compared.take(step)
        finally:
            compared.machine.close()


@pytest.mark.real
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(2, 3), st.sampled_from((7200.0, 40.0)), LABEL_LIMITS)
def test_a_pool_on_a_server_decides_as_one_in_memory(
    dsn: str, steps: list[tuple[Any, ...]], processes: int, life: float, label_limits: dict[str, int]
) -> None:
    """The same of a pool in PostgreSQL, in an account of its own each time."""
    compared = Compared(dsn, processes, life, label_limits)
    try:
        compared.say(compared.processes[0], Resize("video", 5, "default"))
        for step in steps:
            compared.take(step)
    finally:
        compared.machine.close()


def test_the_step_confirm_is_not_forgotten() -> None:
    """A ticket that was never granted is not confirmed."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder) / "l.db")
        process = machine.start()
        assert process.sync(Confirm(5)).confirmed == {5: False}
        machine.close()
