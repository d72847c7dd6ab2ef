"""Adopt the slots of a dead process's tasks: at once, without a second weight, never freed too early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.errors import OutOfUnits
from kling_async.orchestrator.ledger.facts import TaskFacts
from kling_async.orchestrator.ledger.steps import (
    AnswerLost,
    Close,
    Ended,
    Enter,
    Free,
    FullRefusal,
    Known,
    Leave,
    Occupy,
    Requeue,
    Resend,
    TaskMade,
)
from tests.orchestrator.ledger.processes import VIDEO, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kling_async.orchestrator.ledger.steps import Step
    from tests.orchestrator.ledger.processes import Process

LIMIT = 3


@pytest.fixture(params=["file", "server"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine with a ledger of three video slots."""
    on_server = request.param == "server"
    machine = Machine(request.getfixturevalue("dsn") if on_server else tmp_path / "slots.db", limit=LIMIT)
    yield machine
    machine.close()


def enter(process: Process, number: int, name: str, weight: int = 1) -> None:
    """Queue a ticket for the task of an external id."""
    process.sync(Enter("video", number, weight, 0, "", TaskFacts(VIDEO, name)))


def outlive(machine: Machine, *alive: Process) -> None:
    """Let time pass until dead processes are known to be dead."""
    for _ in range(5):
        machine.now += 0.5
        for process in alive:
            process.sync(demand=True)


def die_in_flight(machine: Machine, name: str, heir: Process, weight: int = 1) -> None:
    """Have a process send a create and die before its answer."""
    process = machine.start()
    enter(process, 10, name, weight)
    assert process.confirm(10)
    process.kill()
    outlive(machine, heir)


def held(process: Process) -> int:
    """Return how many slots are held."""
    return process.sync(demand=True).pools["video"].held


def leases(process: Process) -> list[tuple[str, float | None, int]]:
    """Return id, death of the process, and weight of all that holds slots."""
    db = process.file._db
    assert db is not None
    query = "SELECT external_task_id, orphan, weight FROM leases WHERE stage IN (3, 4)"
    return db.execute(query).fetchall()


def test_a_create_in_doubt_is_gone_on_with_in_its_own_slots(machine: Machine) -> None:
    """Though the account is full and others queue: no second weight, no new turn, and no lapse to nobody."""
    a = machine.start()
    die_in_flight(machine, "film", a, weight=2)
    for number in (20, 21):
        enter(a, number, f"other-{number}")
    assert a.granted == [20]
    enter(a, 30, "film", weight=2)
    assert a.granted == [20, 30]
    assert a.pools["video"].held == LIMIT
    assert a.confirm(30)
    a.sync(AnswerLost(30))
    a.sync(Resend(30))
    a.sync(TaskMade(30, TaskFacts(VIDEO, "film", "t-1")))
    assert held(a) == LIMIT
    a.sync(Ended(30))
    assert a.granted == [20, 21]


def test_a_task_that_runs_is_adopted_by_whoever_attaches_to_it(machine: Machine) -> None:
    """Its slots are those of the new handle: they are free when that one sees the end, not before."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=2)
    assert a.confirm(10)
    about = TaskFacts(VIDEO, "film", "t-1")
    a.sync(TaskMade(10, about))
    a.kill()
    outlive(machine, b)
    b.sync(Occupy("video", 40, 2, 1.0, about))
    assert held(b) == 2
    b.kill()
    c = machine.start()
    outlive(machine, c)
    assert held(c) == 2
    c.sync(Occupy("video", 50, 2, 1.0, TaskFacts(VIDEO, "", "t-1")))
    assert held(c) == 2
    c.sync(Ended(50))
    assert held(c) == 0


def test_a_task_is_adopted_before_it_was_seen(machine: Machine) -> None:
    """Whoever knows its id takes its slots over, before or after its process is known to be dead."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=2)
    assert a.confirm(10)
    a.sync(TaskMade(10, TaskFacts(VIDEO, "film", "t-1")))
    early = Occupy("video", 40, 2, 0.0, TaskFacts(VIDEO, "", "t-1"), unseen=True)
    b.sync(early)
    assert (held(b), b.missing) == (2, [])
    a.kill()
    outlive(machine, b)
    assert [(row[1] is None, row[2]) for row in leases(b)] == [(True, 2)]
    b.kill()
    c = machine.start()
    outlive(machine, c)
    c.sync(early._replace(number=50))
    assert [(row[1] is None, row[2]) for row in leases(c)] == [(True, 2)]
    c.sync(Ended(50))
    assert (held(c), c.missing) == (0, [])


def test_a_task_that_nobody_holds_takes_nothing_before_it_was_seen(machine: Machine) -> None:
    """It may have ended long ago; the process hears that it has no slots."""
    a = machine.start()
    a.sync(Occupy("video", 40, 2, 0.0, TaskFacts(VIDEO, "film", "t-1"), unseen=True))
    assert (held(a), a.missing, leases(a)) == (0, [40], [])
    a.sync(Occupy("video", 40, 2, 0.0, TaskFacts(VIDEO, "film", "t-1")))
    assert held(a) == 2


def test_whoever_attached_before_the_death_adopts_too(machine: Machine) -> None:
    """A handle that came while the process lived, and held nothing, takes the slots over when that dies."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=2)
    assert a.confirm(10)
    about = TaskFacts(VIDEO, "film", "t-1")
    a.sync(TaskMade(10, about))
    b.sync(Occupy("video", 40, 2, 1.0, about))
    assert held(b) == 2
    a.kill()
    outlive(machine, b)
    assert [(row[1] is None, row[2]) for row in leases(b)] == [(True, 2)]
    b.sync(Ended(40))
    assert held(b) == 0


def test_whoever_asks_about_the_orphan_does_not_free_the_adopter_s_slots(machine: Machine) -> None:
    """A look-up under way when it was adopted may find nothing: the create is just being sent again."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a)
    b.sync()
    enter(b, 30, "film")
    assert b.confirm(30)
    a.sync(Ended(0, TaskFacts(VIDEO, "film")))
    assert held(b) == 1
    b.sync(TaskMade(30, TaskFacts(VIDEO, "film", "t-2")))
    assert held(a) == 1


def test_an_orphan_that_nobody_adopts_is_asked_about_and_freed(machine: Machine) -> None:
    """By its external id, ten seconds after its process was found dead."""
    a = machine.start()
    die_in_flight(machine, "film", a)
    for _ in range(24):
        machine.now += 0.5
        a.sync(demand=True)
    assert [task.about for task in a.tasks] == [TaskFacts(VIDEO, "film")]
    a.sync(Ended(0, a.tasks[0].about))
    assert held(a) == 0


def test_other_tasks_and_living_processes_are_not_adopted_from(machine: Machine) -> None:
    """Another id, another endpoint, or a task whose process lives: the slots stay where they are."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a, weight=2)
    enter(b, 30, "film-2", weight=2)
    b.sync(Enter("video", 31, 2, 0, "", TaskFacts("/v1/videos/image2video", "film")))
    enter(a, 40, "mine")
    enter(b, 41, "mine")
    assert (a.granted, b.granted) == ([], [])  # behind two that do not fit
    assert held(a) == 2


@pytest.mark.parametrize("how", ["dies", "leaves", "waits", "waits, and comes back"])
def test_slots_of_a_create_in_doubt_outlive_whoever_went_on_with_it(machine: Machine, how: str) -> None:
    """Before its first byte an adopter may die, give up, or take its time: the first task may run still."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a, weight=2)
    enter(b, 30, "film", weight=2)
    assert b.granted == [30]
    if how == "dies":
        b.kill()
        outlive(machine, a)
    elif how == "leaves":
        b.sync(Leave(30))
    else:
        for _ in range(12):
            machine.now += 0.5
            a.sync(demand=True)
            if "comes back" in how:
                b.sync(demand=True)
    assert held(a) == 2
    if how == "waits, and comes back":
        assert b.confirm(30)
        assert held(a) == 2
        return
    enter(a, 40, "film", weight=2)
    assert a.confirm(40)
    assert held(a) == 2
    a.sync(AnswerLost(40), Ended(40))  # looked up in vain
    assert held(a) == 0


@pytest.mark.parametrize(
    "step",
    [
        Free(30, opens=True),
        FullRefusal(30, 0.5, drop=True),
        FullRefusal(30, 0.5, drop=False),
        Requeue(30, 1.0, drop=False, opens=True),
    ],
)
def test_a_refusal_says_nothing_of_the_task_that_an_orphan_made(machine: Machine, step: Step) -> None:
    """Refused since its id is taken, say, a create gives the slots back: the task that has the id may run."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a, weight=2)
    enter(b, 30, "film", weight=2)
    assert b.confirm(30)
    b.sync(step)
    assert held(a) == 2
    for _ in range(24):
        machine.now += 0.5
        for process in (a, b):
            process.sync(demand=True)
    asked = [*a.tasks, *b.tasks]
    assert [task.about for task in asked] == [TaskFacts(VIDEO, "film")]


def test_a_create_whose_orphan_was_freed_meanwhile_takes_a_turn_of_its_own(machine: Machine) -> None:
    """Seen ended, or never made, between the grant and the confirmation: nobody's slots are used twice."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a, weight=2)
    enter(b, 30, "film", weight=2)
    a.sync(Ended(0, TaskFacts(VIDEO, "film")))
    enter(a, 40, "other", weight=2)
    assert a.confirm(40)
    assert not b.confirm(30)
    b.sync(Requeue(30, 0.0, drop=False, opens=False))
    assert (b.granted, held(b)) == ([], 2)
    a.sync(TaskMade(40, TaskFacts(VIDEO, "other", "t-2")), Ended(40))
    b.sync()
    assert b.granted == [30]
    assert b.confirm(30)
    assert held(b) == 2


def test_one_of_two_that_go_on_with_a_create_takes_its_slots(machine: Machine) -> None:
    """The other one waits its turn: what it sends would be refused by its id."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a, weight=2)
    enter(a, 20, "film", weight=2)
    enter(b, 30, "film", weight=2)
    assert b.confirm(30)
    assert not a.confirm(20)
    a.sync(Requeue(20, 0.0, drop=False, opens=False))
    assert held(a) == 2
    assert 20 not in a.granted[1:]


def test_whoever_queued_before_the_death_was_known_goes_on_in_its_slots(machine: Machine) -> None:
    """It may be rescued before the ledger knows of the death: then it waits, and behind itself, till then."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=2)
    assert a.confirm(10)
    enter(b, 20, "other")
    enter(b, 21, "another")
    enter(b, 30, "film", weight=2)
    assert b.granted == [20]
    a.kill()
    outlive(machine, b)
    assert b.granted == [20, 30]
    assert held(b) == 3
    assert b.confirm(30)
    assert held(b) == 3
    b.sync(TaskMade(30, TaskFacts(VIDEO, "film", "t-1")), Ended(30))
    assert b.granted == [20, 21]


def test_a_handle_that_does_not_know_a_weight_keeps_that_of_the_create(machine: Machine) -> None:
    """Attached by its id alone, a task counts as one slot: its orphan knows better."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=3)
    assert a.confirm(10)
    a.sync(TaskMade(10, TaskFacts(VIDEO, "film", "t-1")))
    a.kill()
    outlive(machine, b)
    b.sync(Occupy("video", 40, 1, 1.0, TaskFacts(VIDEO, "", "t-1")))
    assert held(b) == 3
    b.sync(Ended(40))
    assert held(b) == 0


def test_a_closed_pool_gives_a_task_that_runs_no_second_weight(machine: Machine) -> None:
    """Nothing is created there, and what runs is looked after as elsewhere."""
    a, b = machine.start(), machine.start()
    enter(a, 10, "film", weight=2)
    assert a.confirm(10)
    about = TaskFacts(VIDEO, "film", "t-1")
    a.sync(TaskMade(10, about))
    a.kill()
    outlive(machine, b)
    b.sync(Close(OutOfUnits("no units left", code=1102), "video"))
    b.sync(Occupy("video", 40, 2, 1.0, about))
    assert held(b) == 2


def test_a_look_up_of_before_frees_no_slots_of_whoever_looks_itself(machine: Machine) -> None:
    """That an orphan's create was never made, found out as it was adopted, says nothing of the next one."""
    a, b = machine.start(), machine.start()
    die_in_flight(machine, "film", a)
    enter(b, 30, "film")
    assert b.confirm(30)
    b.sync(AnswerLost(30))
    a.sync(Ended(0, TaskFacts(VIDEO, "film")))
    assert held(b) == 1
    b.sync(Resend(30))
    b.sync(TaskMade(30, TaskFacts(VIDEO, "film", "t-2")))
    assert held(a) == 1
    a.sync(Ended(0, TaskFacts(VIDEO, "film", "t-2")))
    assert held(a) == 0


NAMES = st.sampled_from(["x", "y", "z"])
STEPS = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 1), NAMES, st.integers(1, 2)),
    st.tuples(st.just("occupy"), st.integers(0, 1), NAMES, st.integers(1, 2)),
    st.tuples(
        st.sampled_from(["use", "made", "lost", "ended", "refused", "leave"]), st.integers(0, 1), NAMES
    ),
    st.tuples(st.just("die"), st.integers(0, 1)),
)


class World:
    """Two processes that die and come back, and what the vendor runs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.processes = [machine.start(), machine.start()]
        self.mine: list[dict[str, int]] = [{}, {}]
        self.number = 0

    def take(self, step: tuple[object, ...]) -> None:
        """Take a step, if it can be taken."""
        kind, who, *more = step
        assert isinstance(who, int)
        process, mine = self.processes[who], self.mine[who]
        name = str(more[0]) if more else ""
        if kind == "die":
            process.kill()
            self.processes[who] = self.machine.start()
            self.mine[who] = {}
            outlive(self.machine, *self.processes)
        elif kind in ("enter", "occupy") and name not in mine:
            self.number += 1
            mine[name] = self.number
            weight = more[1]
            assert isinstance(weight, int)
            if kind == "enter":
                enter(process, self.number, name, weight)
            else:
                process.sync(Occupy("video", self.number, weight, 0.0, TaskFacts(VIDEO, name, f"t-{name}")))
        elif name in mine:
            self._about(str(kind), process, mine, name)

    def _about(self, kind: str, process: Process, mine: dict[str, int], name: str) -> None:
        number = mine[name]
        match kind:
            case "use":
                if number in process.granted:
                    process.confirm(number)
            case "made":
                process.sync(TaskMade(number, TaskFacts(VIDEO, name, f"t-{name}")))
            case "lost":
                process.sync(AnswerLost(number), Known(number, TaskFacts(VIDEO, name)))
            case "ended":
                process.sync(Ended(number))
                del mine[name]
            case "refused":
                process.sync(
                    FullRefusal(number, 0.5, drop=False), Requeue(number, 0.0, drop=False, opens=True)
                )
            case _:
                process.sync(Leave(number))
                del mine[name]


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=40)
def test_slots_are_what_their_leases_hold_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    """After any steps, deaths and adoptions the pool's count is that of its leases."""
    machine = Machine(tmp_path_factory.mktemp("l") / "slots.db", limit=LIMIT)
    try:
        world = World(machine)
        for step in steps:
            world.take(step)
            total = held(world.processes[0])
            assert total == sum(row[2] for row in leases(world.processes[0]))
    finally:
        machine.close()
