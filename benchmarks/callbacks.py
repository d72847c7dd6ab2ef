"""Measure polling as the net under callbacks that are lost, late, unsigned, or stop, against fixed nets.

The account is saturated as in `benchmarks.saturated`, and J is the same: the mean weighted lag in seconds
plus request_cost x reads, per task. A believed callback ends a task without a read; an unsigned one costs one
read that confirms it. The rivals take callbacks as well, and list what runs every d seconds as their net:
60 s, as people write it, or the best d, chosen by hindsight for that very case.
"""

from __future__ import annotations

import math
import os
import random
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from benchmarks.saturated import MEDIAN, TASKS, plain
from benchmarks.simulation import Policy, Result, Simulation, Sweep, ideal_makespan, ours
from kling_async.core.admission import Phase
from kling_async.core.callbacks import CallbackChannel, ExpectedCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from benchmarks.simulation import Job
    from kling_async.core.queries import StatusQuery

SEEDS, FEW_SEEDS = 20, 5
"""Seeds for our figures, and for those of the rivals, whose rows need not be as exact."""
SLOTS = (5, 20, 50)
NET = 60.0
STEP, STEPS = 1.25, 37
"""Intervals that hindsight tries: 1.25 ** 0 to 1.25 ** 36 s, which is 51 minutes."""


class Case(NamedTuple):
    """The fate of the callbacks, and the most that ours may cost: J and requests at 5, 20 and 50 slots."""

    name: str
    cost: tuple[float, float, float] | None = None
    requests: tuple[float, float, float] | None = None
    over_alone: float = math.inf
    """Greatest J and requests relative to polling alone."""
    latency: Callable[[random.Random], float] = lambda _: 0.3
    """Seconds from an end to its callback."""
    lost: float = 0.0
    """Share of the callbacks that never come."""
    deaf_from: float = math.inf
    """Share of the ideal makespan after which none comes."""
    signed: bool = True


CASES = (
    Case("none lost", (0.37, 0.355, 0.345), (1.33, 1.24, 1.20)),
    Case("2 % lost", (0.71, 0.53, 0.45), (2.02, 1.60, 1.42), lost=0.02),
    Case("20 % lost", (1.52, 0.91, 0.68), (4.2, 2.75, 2.2), lost=0.2),
    Case("deaf from half time", (1.68, 0.97, 0.71), (4.8, 3.0, 2.2), deaf_from=0.5),
    Case("deaf from the start", over_alone=1.005, deaf_from=0.0),
    Case("mean 1 s late", (1.11, 1.06, 0.83), latency=lambda rng: rng.expovariate(1.0)),
    Case("5 s late", over_alone=1.08, latency=lambda _: 5.0),
    Case("unsigned", (0.67, 0.66, 0.67), (2.3, 2.25, 2.2), signed=False),
)


class CalledPolicy(Policy, Protocol):
    """Decides which status queries to send, and takes callbacks."""

    def told(self, key: Hashable, now: float) -> None:
        """Take a believed callback: the task has ended."""

    def told_late(self, name: Hashable, now: float) -> None:
        """Take a callback about a task that was seen ended."""

    def hurry(self, key: Hashable, now: float) -> None:
        """Take a callback that is to be confirmed."""


class CalledBack(Simulation):
    """A run in which the server posts the end of each task."""

    def __init__(
        self, case: Case, jobs: Sequence[Job], slots: int, policy: CalledPolicy, *, seed: int = 0
    ) -> None:
        super().__init__(jobs, slots, policy, seed=seed)
        self._case = case
        self._called = policy
        share = case.deaf_from
        self._deaf_from = share * ideal_makespan(jobs, slots) if 0 < share < math.inf else share

    def _created(self, task: Any, ticket: Any) -> None:
        super()._created(task, ticket)
        if task.end < self._deaf_from and self._rng.random() >= self._case.lost:
            self._events.at(task.end + self._case.latency(self._rng), self._told, task)

    def _told(self, task: Any) -> None:
        now = self._events.now
        if task.ticket.phase is not Phase.HELD:
            self._called.told_late(task, now)
        elif not self._case.signed:
            self._called.hurry(task, now)
        else:
            self._called.told(task, now)
            self.ends.append((now - task.end, task.job.weight))
            self._pool.release(task.ticket, now)
        self._act()


# -- policies


class Ours:
    """The production schedule, with one receiver for all tasks."""

    def __init__(self, seed: int) -> None:
        schedule = ours(seed)
        self._schedule = schedule
        self._channel = CallbackChannel()
        self.ask, self.answered, self.next_time = schedule.ask, schedule.answered, schedule.next_time
        self.told, self.hurry = schedule.told, schedule.hurry
        self.told_late = self._channel.told_late

    def add(self, key: Hashable, **more: Any) -> None:
        """Start to poll a task that was created with a callback address."""
        self._schedule.add(key, callback=ExpectedCallback(self._channel, key), **more)


class Net(Sweep):
    """Takes callbacks, confirms unsigned ones by a GET, and lists what runs at a fixed interval."""

    def __init__(self, interval: float) -> None:
        super().__init__(interval)
        self._hinted: list[StatusQuery] = []

    def told(self, key: Hashable, now: float) -> None:
        """Take a believed callback: the task has ended."""
        for tasks in self._paths.values():
            tasks.pop(key, None)

    def told_late(self, name: Hashable, now: float) -> None:
        """Ignore a callback about a task that was seen ended."""

    def hurry(self, key: Hashable, now: float) -> None:
        """Take a callback that is to be confirmed."""
        path = next(path for path, tasks in self._paths.items() if key in tasks)
        self._hinted.append(self._query("one", path, (key,), 1, now))

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now."""
        hinted, self._hinted = self._hinted, []
        return hinted + super().ask(now)


def run(case: Case, slots: int, interval: float | None, tasks: int, seed: int) -> Result:
    """Run one case once: with our schedule, or with a net of that interval."""
    policy = Ours(seed) if interval is None else Net(interval)
    return CalledBack(case, plain(random.Random(seed), tasks), slots, policy, seed=seed).run()


def run_alone(slots: int, tasks: int, seed: int) -> Result:
    """Run our schedule once where no callbacks are asked for."""
    return Simulation(plain(random.Random(seed), tasks), slots, ours(seed), seed=seed).run()


def _run_case(index: int, slots: int, interval: float | None, seed: int) -> Result:
    return run(CASES[index], slots, interval, TASKS, seed)  # other processes get no functions of a case


# -- figures


def mean(runs: Sequence[Result]) -> Result:
    """Return the means of some runs."""
    return Result(*(sum(column) / len(runs) for column in zip(*runs, strict=True)))


def verdict(case: Case, slots: int, result: Result, alone: Result, room: float = 1.0) -> str:
    """Return "met", or which targets a result missed; ``room`` widens them."""
    place = SLOTS.index(slots)
    cost, requests = case.over_alone * alone.cost, case.over_alone * alone.requests
    if case.cost is not None:
        cost = case.cost[place]
    if case.requests is not None:
        requests = case.requests[place]
    missed = [f"J {cost:.3f}"] if result.cost > cost * room else []
    missed += [f"{requests:.2f} requests"] if result.requests > requests * room else []
    return f"missed: {', '.join(missed)}" if missed else "met"


def target(case: Case, slots: int, alone: Result) -> str:
    """Return the targets of a case for a line of the table."""
    place = SLOTS.index(slots)
    cost = case.over_alone * alone.cost if case.cost is None else case.cost[place]
    requests = case.over_alone * alone.requests if case.requests is None else case.requests[place]
    return f"{cost:8.3f}{'' if requests == math.inf else f'{requests:.2f}':>8}"


class Measure:
    """Runs cases over many seeds, on all cores."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def alone(self, slots: int) -> Result:
        """Return the means of polling alone."""
        return mean(list(self._executor.map(partial(run_alone, slots, TASKS), range(SEEDS))))

    def case(self, index: int, slots: int, interval: float | None = None, seeds: int = SEEDS) -> Result:
        """Return the means of a case: of our schedule, or of a net of that interval."""
        return mean(list(self._executor.map(partial(_run_case, index, slots, interval), range(seeds))))

    def best_net(self, index: int, slots: int) -> tuple[float, Result]:
        """Return the best interval of a net, by hindsight, and its measurements."""
        rough = {step: self.case(index, slots, STEP**step, 2).cost for step in range(0, STEPS, 3)}
        near = min(rough, key=lambda step: rough[step])
        steps = range(max(0, near - 2), min(STEPS, near + 3))
        fine = {step: self.case(index, slots, STEP**step, FEW_SEEDS) for step in steps}
        best = min(fine, key=lambda step: fine[step].cost)
        return STEP**best, fine[best]


def main() -> None:
    """Print the table, a block for each number of slots."""
    title = f"{'J':>8}{'target':>8}{'requests':>10}{'target':>8}{'makespan':>10}"
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        measure = Measure(executor)
        print(f"\nUnder callbacks: {TASKS} tasks, median {MEDIAN:.0f} s, {SEEDS} seeds, a task")
        for slots in SLOTS:
            alone = measure.alone(slots)
            print(
                f"\n{f'{slots} slots':<22}{title}   fixed net of {NET:.0f} s: J, requests, makespan; best net"
            )
            print(f"{'polling alone':<22}{alone.cost:8.3f}{alone.requests:18.2f}{alone.stretch:18.4f}")
            for index, case in enumerate(CASES):
                mine, net = measure.case(index, slots), measure.case(index, slots, NET, FEW_SEEDS)
                interval, best = measure.best_net(index, slots)
                aims = target(case, slots, alone)
                print(
                    f"{case.name:<22}{mine.cost:8.3f}{aims[:8]}{mine.requests:10.2f}{aims[8:]}{mine.stretch:10.4f}"
                    f"   {net.cost:7.3f}{net.requests:6.2f}{net.stretch:8.4f}"
                    f"   {best.cost:7.3f} every {interval:.3g} s, {best.requests:.2f}"
                    f"   {verdict(case, slots, mine, alone)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
