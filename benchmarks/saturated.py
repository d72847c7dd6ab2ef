"""Measure the cost of lag and status queries on a saturated account, against rivals tuned by hindsight.

J is the mean weighted lag in seconds plus request_cost x reads, per task; creates are the same for all. Two
rivals are strong: one asks each product's list every d seconds, with d chosen by hindsight for that case; the
other, which needs an API key, asks `/tasks` about all running tasks on a grid of 3 s, 20 ids a request.
"""

from __future__ import annotations

import math
import os
import random
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.simulation import AlignedIds, Job, PerTask, Policy, Result, Simulation, Sweep, ours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TASKS, SEEDS = 1000, 10
MEDIAN, SIGMA = 90.0, 0.35
STEP = 1.07
"""Ratio between the intervals that hindsight tries, from min_interval on."""


class Case(NamedTuple):
    """One kind of account."""

    name: str
    jobs: Callable[[random.Random], list[Job]]
    slots: tuple[int, ...] = (5, 20, 50)
    targets: tuple[float, ...] = (1.02, 1.02, 1.02)
    """Greatest J, relative to the best sweep, for each number of slots."""
    foreign: float = 0.0
    batch_ids: bool = True


def plain(
    rng: random.Random, tasks: int = TASKS, sigma: float = SIGMA, off: float = 1.0, later: float = 1.0
) -> list[Job]:
    """Return jobs of one kind; the prior is ``off`` by a factor, durations change by ``later`` half way."""
    return [
        Job(_drawn(rng, MEDIAN, sigma) * (later if place >= tasks / 2 else 1), median=MEDIAN * off)
        for place in range(tasks)
    ]


def mixed(
    rng: random.Random, medians: tuple[float, float], share: float = 0.5, *, sigma: float = SIGMA, known: bool
) -> list[Job]:
    """Return two sorts of job, ``share`` of them the second; a client may know them apart."""
    sorts = [int(rng.random() < share) for _ in range(TASKS)]
    return [Job(_drawn(rng, medians[sort], sigma), kind=sort if known else "any") for sort in sorts]


def two_paths(rng: random.Random) -> list[Job]:
    """Return jobs of two endpoints, mixed at random."""
    paths = ("/v1/videos/text2video", "/v1/videos/image2video")
    return [job._replace(path=rng.choice(paths), kind="video") for job in plain(rng)]


def images(rng: random.Random) -> list[Job]:
    """Return image jobs of one to nine pictures."""
    median = 25.0
    return [
        Job(_drawn(rng, median, SIGMA), rng.randint(1, 9), "/v1/images/generations", "image", median)
        for _ in range(TASKS)
    ]


def _drawn(rng: random.Random, median: float, sigma: float) -> float:
    return rng.lognormvariate(math.log(median), sigma)


BASE = (
    Case("prior right", plain, targets=(0.98, 1.02, 1.02)),
    Case("prior 2x too long", partial(plain, off=2.0), targets=(0.98, 1.02, 1.02)),
    Case("prior 2x too short", partial(plain, off=0.5), targets=(0.98, 1.02, 1.02)),
)
VARIANTS = (
    Case("prior 50x too long", partial(plain, off=50.0)),
    Case("prior 50x too short", partial(plain, off=0.02)),
    Case("JWT, two endpoints", two_paths, batch_ids=False),
    Case("API key, two endpoints", two_paths),
    Case("30 % foreign load, comes and goes", plain, foreign=0.3),
    Case("images of weight 1 to 9", images, (9,), (0.88,)),
    Case(
        "12 s + 240 s, known kinds", partial(mixed, medians=(12, 240), known=True), targets=(0.90, 0.97, 0.97)
    ),
    Case("12 s + 240 s, one kind", partial(mixed, medians=(12, 240), known=False)),
    Case("2x longer half way", partial(plain, later=2.0)),
    Case("2x shorter half way", partial(plain, later=0.5)),
    Case("bimodal, 45 s + 180 s", partial(mixed, medians=(45, 180), sigma=0.2, known=False)),
    Case("heavy tail, 5 % take 5x", partial(mixed, medians=(90, 450), share=0.05, known=False)),
    Case("sigma 0.1", partial(plain, sigma=0.1), targets=(0.85, 1.02, 1.02)),
    Case("first 60 tasks", partial(plain, tasks=60), targets=(1.05,) * 3),
    Case("first 100, prior 2x too long", partial(plain, tasks=100, off=2.0), targets=(1.05,) * 3),
    Case("first 100, prior 2x too short", partial(plain, tasks=100, off=0.5), targets=(1.05,) * 3),
)
COST_TARGETS = {5: 2.80, 20: 1.47, 50: 0.97}
STRETCH_TARGETS = {5: 1.0165, 20: 1.009, 50: 1.0075}
RIVALS: dict[str, Callable[[], Policy]] = {
    "20 ids a request, every 3 s": partial(AlignedIds, 3.0),
    "GET each, every 5 s": partial(PerTask, 5.0),
    "GET each, every 10 s": partial(PerTask, 10.0),
    "GET each, back-off": partial(PerTask, 1.0, 1.5, 30.0),
}


def run(case: Case, slots: int, rival: Callable[[], Policy] | None, seed: int) -> Result:
    """Run one case once, with a rival or with our schedule."""
    jobs = case.jobs(random.Random(seed))
    policy = ours(seed, batch_ids=case.batch_ids) if rival is None else rival()
    return Simulation(jobs, slots, policy, foreign=case.foreign, seed=seed).run()


class Measure:
    """Runs cases over many seeds, on all cores."""

    def __init__(self, executor: Executor, seeds: int = SEEDS) -> None:
        self._executor = executor
        self._seeds = range(seeds)
        self._tuned: dict[object, tuple[float, Result]] = {}

    def mean(
        self,
        case: Case,
        slots: int,
        rival: Callable[[], Policy] | None = None,
        seeds: int | None = None,
    ) -> Result:
        """Return the means over all seeds, or the first few."""
        runs = list(self._executor.map(partial(run, case, slots, rival), self._seeds[:seeds]))
        return Result(*(sum(column) / len(runs) for column in zip(*runs, strict=True)))

    def sweep(self, case: Case, slots: int) -> tuple[float, Result]:
        """Return the best interval for a list sweep, by hindsight, and its measurements."""
        jobs = tuple((job.duration, job.weight, job.path) for job in case.jobs(random.Random(0)))
        key = (jobs, slots, case.foreign)  # a sweep uses neither priors nor credentials
        if key not in self._tuned:
            self._tuned[key] = self._tune(case, slots)
        return self._tuned[key]

    def _tune(self, case: Case, slots: int) -> tuple[float, Result]:
        rough = {step: self.mean(case, slots, partial(Sweep, STEP**step), 2) for step in range(0, 36, 3)}
        near = min(rough, key=lambda step: rough[step].cost)
        steps = range(max(0, near - 2), near + 3)
        fine = {step: self.mean(case, slots, partial(Sweep, STEP**step)) for step in steps}
        best = min(fine, key=lambda step: fine[step].cost)
        return STEP**best, fine[best]


def base_table(measure: Measure) -> None:
    """Print the figures of all policies on the plain account."""
    for slots in BASE[0].slots:
        head = f"{'J':>8}{'ratio':>8}{'makespan':>10}{'requests':>10}{'KiB':>8}{'p95 lag':>9}"
        print(f"\n{f'{slots} slots':<30}{head}")
        mine = [measure.mean(case, slots) for case in BASE]
        unit = mine[0].cost
        for case, result in zip(BASE, mine, strict=True):
            line(f"ours, {case.name}", result, unit)
        print(f"{'  target':<30}{COST_TARGETS[slots]:8.3f}{'':8}{STRETCH_TARGETS[slots]:10.4f}")
        interval, best = measure.sweep(BASE[0], slots)
        line(f"list every {interval:.2f} s, hindsight", best, unit)
        for name, rival in RIVALS.items():
            line(name, measure.mean(BASE[0], slots, rival), unit)


def line(name: str, result: Result, unit: float) -> None:
    """Print one line of the base table; the ratio is that of J to ``unit``, ours with the prior right."""
    print(
        f"{name:<30}{result.cost:8.3f}{result.cost / unit:8.3f}{result.stretch:10.4f}{result.requests:10.2f}"
        f"{result.bytes / 1024:8.1f}{result.lag95:9.2f}",
        flush=True,
    )


def variant_table(measure: Measure, cases: Sequence[Case]) -> None:
    """Print J relative to the best sweep, case by case."""
    print(
        f"\n{'J over that of the best sweep':<34}{'slots':>6}{'ours':>8}{'sweep':>8}{'ratio':>8}{'target':>8}"
    )
    for case in cases:
        for slots, target in zip(case.slots, case.targets, strict=True):
            mine = measure.mean(case, slots).cost
            interval, best = measure.sweep(case, slots)
            ratio = mine / best.cost
            mark = "" if ratio <= target else "  missed"
            print(
                f"{case.name:<34}{slots:6}{mine:8.3f}{best.cost:8.3f}{ratio:8.3f}{target:8.2f}"
                f"  d {interval:.2f} s{mark}",
                flush=True,
            )


def main() -> None:
    """Print the tables."""
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        measure = Measure(executor)
        print(f"\nA saturated account: {TASKS} tasks, median {MEDIAN:.0f} s, {SEEDS} seeds, a task")
        base_table(measure)
        variant_table(measure, (*BASE, *VARIANTS))


if __name__ == "__main__":
    main()
