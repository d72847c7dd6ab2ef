"""Compare the schedule's cost for a single task with the optimum, for several states of its knowledge.

The cost of a list of poll times is exact: the lag expected under the true distribution, plus the price of the
polls expected. The optimum knows the distribution and is found by dynamic programming.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.simulation import COST
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms
from kling_async.core.schedule import Schedule
from kling_async.core.schedule_parts import ScheduleParts
from kling_async.options import Polling, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEDIAN, SIGMA = 90.0, 0.35
END = 900.0
"""Age by which the task has ended; one in ten thousand million has not."""
STEP = 0.1


class LogNormal:
    """The true distribution; can stand in for a learned one that is known exactly."""

    known = 1000
    patience = math.inf
    early = 20.0
    """Age before which practically no task ends."""

    def __init__(self, median: float = MEDIAN, sigma: float = SIGMA) -> None:
        self.mu, self.sigma = math.log(median), sigma

    def ended(self, age: float) -> float:
        """Return the probability of having ended by that age."""
        return _phi((math.log(age) - self.mu) / self.sigma) if age > 0 else 0.0

    def area(self, age: float) -> float:
        """Return the integral of `ended` from 0."""
        if age <= 0:
            return 0.0
        mean = math.exp(self.mu + self.sigma**2 / 2)
        return age * self.ended(age) - mean * _phi((math.log(age) - self.mu) / self.sigma - self.sigma)

    def idle(self, given: float, age: float) -> tuple[float, float]:
        """Return the idle seconds expected and their growth, as `Law.idle` does."""
        alive = max(1 - self.ended(given), 1e-15)
        lag = self.area(age) - self.area(given) - self.ended(given) * (age - given)
        return max(lag, 0.0) / alive, (self.ended(age) - self.ended(given)) / alive

    def learn(self, low: float, high: float) -> None:
        """Learn nothing: the distribution is exact."""


class Cost(NamedTuple):
    """The cost of one way of polling."""

    total: float
    lag: float
    polls: float


def cost(polls: Iterator[float], law: LogNormal) -> Cost:
    """Return the exact cost of polling at these ages until the end is seen."""
    lag = count = before = 0.0
    for age in polls:
        count += 1 - law.ended(before)
        lag += law.area(age) - law.area(before) - law.ended(before) * (age - before)
        before = age
        if age > END:
            break
    return Cost(lag + COST * count, lag, count)


def optimum(law: LogNormal) -> Cost:
    """Return the least cost there is, by dynamic programming over a fine grid of ages."""
    size = int(END / STEP)
    ended = [law.ended(i * STEP) for i in range(size + 1)]
    area = [law.area(i * STEP) for i in range(size + 1)]
    ahead = [0.0] * (size + 1)
    then = [size] * (size + 1)
    for now in range(size - 1, -1, -1):

        def value(at: int, now: int = now) -> float:
            lag = area[at] - area[now] - ended[now] * (at - now) * STEP
            return lag + COST * (1 - ended[now]) + ahead[at]

        at = then[now + 1]  # the next poll of a younger task is no later
        best = value(at)
        while at > now + 1 and (earlier := value(at - 1)) <= best:
            at, best = at - 1, earlier
        ahead[now], then[now] = best, at

    def polls() -> Iterator[float]:
        at = 0
        while at < size:
            at = then[at]
            yield at * STEP
        yield END + 1

    return cost(polls(), law)


def fixed(interval: float) -> Iterator[float]:
    """Poll at a fixed interval."""
    return (interval * number for number in range(1, 10**9))


def back_off(first: float = 1.0, factor: float = 1.5, last: float = 30.0) -> Iterator[float]:
    """Poll after pauses that grow."""
    age, pause = 0.0, first
    while True:
        age += pause
        yield age
        pause = min(last, pause * factor)


def best_fixed(law: LogNormal) -> tuple[float, Cost]:
    """Return the fixed interval that hindsight would choose, and its cost."""
    return min(((d / 20, cost(fixed(d / 20), law)) for d in range(20, 300)), key=lambda found: found[1])


# -- our schedule


class Known:
    """Stands in for `Durations` where the distribution needs no learning."""

    def __init__(self, law: LogNormal) -> None:
        self._law = law

    def law(self, *_: object) -> LogNormal:
        """Return the distribution, whatever the kind."""
        return self._law


class Alone:
    """Our schedule, with one task after the other."""

    def __init__(self, seed: int, prior: float = MEDIAN, law: LogNormal | None = None) -> None:
        self.durations: Any = Durations() if law is None else Known(law)
        self.prior = prior
        self.rng = random.Random(seed)

    def polls(self, end: float = math.inf) -> Iterator[float]:
        """Yield the ages at which it polls a task that ends at ``end``, up to the poll that sees the end."""
        forms = QueryForms(batch_ids=True)
        schedule = Schedule(ScheduleParts(Polling(), Retry(), self.durations, forms, self.rng))
        schedule.add("task", pool="video", path="/v1", kind="kind", median=self.prior, now=0.0)
        schedule.add_waiter("task")
        now = 0.0
        while now < end:
            now = schedule.next_time()
            for query in schedule.ask(now):
                over = now >= end
                schedule.answered(query, () if over else ("task",), ("task",) if over else (), now)
                yield now

    def learn(self, tasks: int, median: float = MEDIAN, sigma: float = SIGMA) -> Alone:
        """Poll that many tasks to their ends, and learn from them."""
        for _ in range(tasks):
            for _ in self.polls(self.rng.lognormvariate(math.log(median), sigma)):
                pass
        return self

    def cost(self, law: LogNormal) -> Cost:
        """Return the cost of the next task, given what is known now."""
        return cost(self.polls(), law)


class Row(NamedTuple):
    """One line of the table."""

    name: str
    ratio: float
    """Cost relative to the optimum, in the mean."""
    ratio90: float | None = None
    target: str = ""
    detail: str = ""


OURS: tuple[tuple[str, Callable[[int], Alone], str], ...] = (
    ("law known", lambda seed: Alone(seed, law=LogNormal()), "1.01"),
    ("after 20 tasks, prior right", lambda seed: Alone(seed).learn(20), "1.04, p90 1.08"),
    ("after 20 tasks, prior 2x too long", lambda seed: Alone(seed, 180.0).learn(20), "1.04, p90 1.08"),
    ("after 20 tasks, prior 2x too short", lambda seed: Alone(seed, 45.0).learn(20), "1.04, p90 1.08"),
    ("fresh, prior right", Alone, "1.20"),
    ("fresh, prior 2x too long", lambda seed: Alone(seed, 180.0), "1.60"),
    ("fresh, prior 2x too short", lambda seed: Alone(seed, 45.0), "1.60"),
    (
        "20 tasks after all became 2x longer",
        lambda seed: Alone(seed, 45.0).learn(100, 45.0).learn(20),
        "1.15",
    ),
    (
        "20 tasks after all became 2x shorter",
        lambda seed: Alone(seed, 180.0).learn(100, 180.0).learn(20),
        "1.15",
    ),
)


def table(seeds: int = 100) -> list[Row]:
    """Measure everything."""
    law = LogNormal()
    best = optimum(law)
    interval, tuned = best_fixed(law)
    rows = [
        Row(
            "optimum, law known", 1.0, detail=f"J {best.total:.2f}, {best.lag:.2f} s, {best.polls:.1f} polls"
        ),
        Row(f"fixed {interval:.1f} s, by hindsight", tuned.total / best.total),
        Row("fixed 5 s", cost(fixed(5), law).total / best.total),
        Row("fixed 10 s", cost(fixed(10), law).total / best.total),
        Row("back-off 1 s x1.5 to 30 s", cost(back_off(), law).total / best.total),
    ]
    for name, made, target in OURS:
        ratios = sorted(made(seed).cost(law).total / best.total for seed in range(seeds))
        rows.append(Row(name, sum(ratios) / seeds, ratios[int(0.9 * seeds)], target))
    return rows


def main() -> None:
    """Print the table."""
    print("\nOne task alone: cost (lag + request_cost x polls) over that of the optimum")
    print(f"{'':<38}{'mean':>7}{'p90':>7}  {'target':<15}")
    for row in table():
        p90 = f"{row.ratio90:7.3f}" if row.ratio90 is not None else " " * 7
        print(f"{row.name:<38}{row.ratio:7.3f}{p90}  {row.target:<15}{row.detail}".rstrip())


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


if __name__ == "__main__":
    main()
