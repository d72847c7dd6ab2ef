"""Adoption against a model of the vendor: what may run there is held in the ledger, and no more than fits."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async.orchestrator.ledger.facts import TaskFacts
from kling_async.orchestrator.ledger.steps import (
    AnswerLost,
    Ended,
    Enter,
    FullRefusal,
    Leave,
    Occupy,
    Requeue,
    Resend,
    TaskMade,
)
from tests.orchestrator.ledger.processes import VIDEO, Machine
from tests.orchestrator.ledger.test_adoption import LIMIT, held, outlive

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from kling_async.orchestrator.ledger.steps import Step
    from tests.orchestrator.ledger.processes import Process

WEIGHTS = {"x": 2, "y": 1, "z": 3}


class Vendor:
    """Two processes that die and come back, and the tasks that run, or may, for all that anybody knows."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.processes = [machine.start(), machine.start()]
        self.mine: list[dict[str, tuple[int, str]]] = [{}, {}]
        """Of each process: number and state by name."""
        self.sent: dict[str, list[Process]] = {}
        """Whose creates of a name may have made its task."""
        self.accepted: set[str] = set()
        """Names of tasks whose id was told."""
        self.over: set[str] = set()
        self.number = 0

    @property
    def used(self) -> int:
        """Slots of all tasks that may run."""
        return sum(WEIGHTS[name] for name in self.sent)

    def take_next(self, start: int) -> None:
        """Take the first step from a place in the table that can be taken now."""
        for move, who, name in STEPS[start:] + STEPS[:start]:
            states, take = MOVES[move]
            if self._state(who, name) in states and take(self, who, name):
                return

    def _state(self, who: int, name: str) -> str:
        return self.mine[who].get(name, (0, "unknown"))[1]

    def _say(self, who: int, name: str, step: Callable[[int], Step], state: str) -> bool:
        number, _ = self.mine[who].get(name, (0, ""))
        if not number:
            self.number = number = self.number + 1
        self.processes[who].sync(step(number))
        self.mine[who][name] = number, state
        return True

    def _drop(self, who: int, name: str, step: Callable[[int], Step]) -> bool:
        number, _ = self.mine[who].pop(name)
        self.processes[who].sync(step(number))
        return True

    def enter(self, who: int, name: str) -> bool:
        """Queue for a create."""
        about = TaskFacts(VIDEO, name)
        step = partial(Enter, "video", weight=WEIGHTS[name], priority=0, label="", about=about)
        return name not in self.over and self._say(who, name, lambda number: step(number=number), "queued")

    def occupy(self, who: int, name: str) -> bool:
        """Attach to a task, by its id alone."""
        step = partial(Occupy, "video", weight=1, age=0.0, about=made(name))
        running = name in self.sent
        return running and self._say(who, name, lambda number: step(number=number), "running")

    def take_over(self, who: int, name: str) -> bool:
        """Know the id of a task, and nothing else of it: it may have ended."""
        if name not in self.accepted:
            return False
        process = self.processes[who]
        self.number = number = self.number + 1
        process.sync(Occupy("video", number, 1, 0.0, made(name), unseen=True))
        if number not in process.missing:
            self.mine[who][name] = number, "running"
        return True

    def use(self, who: int, name: str) -> bool:
        """Use slots that were granted, or queue again where they are not granted any more."""
        process, number = self.processes[who], self.mine[who][name][0]
        if number not in process.granted:
            return False
        if not process.confirm(number):
            process.sync(Requeue(number, 0.0, drop=False, opens=False))
        elif name not in self.over:
            self.sent.setdefault(name, []).append(process)
            self.mine[who][name] = number, "sent"
        return True

    def leave(self, who: int, name: str) -> bool:
        """Give up before the first byte."""
        return self._drop(who, name, Leave)

    def accept(self, who: int, name: str) -> bool:
        """Answer a create."""
        if name in self.over:
            return False
        self.accepted.add(name)
        return self._say(who, name, lambda number: TaskMade(number, made(name)), "running")

    def lose(self, who: int, name: str) -> bool:
        """Lose an answer."""
        return self._say(who, name, AnswerLost, "in doubt")

    def resend(self, who: int, name: str) -> bool:
        """Send a create again, looked up in vain: nobody who is dead has made its task."""
        if name in self.over:
            return False
        self.sent[name] = [process for process in self.sent[name] if process.alive]
        return self._say(who, name, Resend, "sent")

    def refuse(self, who: int, name: str) -> bool:
        """Refuse a create: it made nothing, one of before may have."""
        if self.processes[who] not in self.sent.get(name, []):
            return False
        self.sent[name].remove(self.processes[who])
        if not self.sent[name]:
            del self.sent[name]
        return self._drop(who, name, lambda number: FullRefusal(number, 0.5, drop=True))

    def end(self, who: int, name: str) -> bool:
        """See a task of one's own ended."""
        self._end(name)
        return self._drop(who, name, Ended)

    def find_ended(self, who: int, name: str) -> bool:
        """See a task of anybody's ended."""
        if name not in self.sent:
            return False
        self._end(name)
        self.processes[who].sync(Ended(0, made(name)))
        return True

    def find_unmade(self, who: int, name: str) -> bool:
        """Look up what a dead process has sent, in vain; a living one may send it at this moment."""
        if name not in self.sent:
            return False
        if not (alive := [process for process in self.sent[name] if process.alive]):
            del self.sent[name]
        else:
            self.sent[name] = alive
        self.processes[who].sync(Ended(0, TaskFacts(VIDEO, name)))
        return True

    def die(self, who: int, _: str) -> bool:
        """End a process, and start another one."""
        self.processes[who].kill()
        self.processes[who], self.mine[who] = self.machine.start(), {}
        outlive(self.machine, *self.processes)
        return True

    def wait(self, _: int, __: str) -> bool:
        """Let time pass."""
        self.machine.now += 2.0
        for process in self.processes:
            process.sync(demand=True)
        return True

    def _end(self, name: str) -> None:
        self.sent.pop(name, None)
        self.over.add(name)


def made(name: str) -> TaskFacts:
    """Return what is known of a task that was made."""
    return TaskFacts(VIDEO, name, f"t-{name}")


ANY = ("unknown", "queued", "sent", "in doubt", "running")
MOVES: dict[str, tuple[tuple[str, ...], Callable[[Vendor, int, str], bool]]] = {
    "enter": (("unknown",), Vendor.enter),
    "use": (("queued",), Vendor.use),
    "accept": (("sent",), Vendor.accept),
    "lose": (("sent",), Vendor.lose),
    "resend": (("in doubt",), Vendor.resend),
    "die": (ANY, Vendor.die),
    "occupy": (("unknown",), Vendor.occupy),
    "take over": (("unknown",), Vendor.take_over),
    "find unmade": (ANY, Vendor.find_unmade),
    "leave": (("queued",), Vendor.leave),
    "refuse": (("sent",), Vendor.refuse),
    "end": (("running", "in doubt"), Vendor.end),
    "find ended": (ANY, Vendor.find_ended),
    "wait": (ANY, Vendor.wait),
}
STEPS = [(move, who, name) for move in MOVES for who in (0, 1) for name in WEIGHTS]
STEPS = [step for step in STEPS if MOVES[step[0]][0] is not ANY or step[1:] in ((0, "x"), (1, "z"))]
random.Random(0).shuffle(STEPS)


@given(st.lists(st.integers(0, len(STEPS) - 1), min_size=15, max_size=30))
@settings(max_examples=120)
def test_no_slot_is_free_while_a_task_may_run_and_none_is_taken_beyond_the_limit(
    tmp_path_factory: pytest.TempPathFactory, starts: list[int]
) -> None:
    """Whoever sends, loses, dies, goes on, attaches or finds out: the vendor runs no more than is held."""
    machine = Machine(tmp_path_factory.mktemp("l") / "slots.db", limit=LIMIT)
    try:
        vendor = Vendor(machine)
        for start in starts:
            vendor.take_next(start)
            assert vendor.used <= held(vendor.processes[0]) <= LIMIT
    finally:
        machine.close()
