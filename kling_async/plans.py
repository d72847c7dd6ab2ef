"""The bookkeeping of a batch: what was done and spent, what it would cost, how to go on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from kling_async.catalog import endpoint_of
from kling_async.core.packs import DEFAULTS
from kling_async.core.record import State
from kling_async.outcomes import Plan, Report, Spent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kling_async.engine import Engine
    from kling_async.outcomes import Outcome
    from kling_async.prices import Estimate
    from kling_async.register import Known
    from kling_async.runs import Run
    from kling_async.wire import TaskRequest

__all__ = ["Accounts", "expected_seconds", "plan_of"]

_USUAL_CLIP: Final = 5


class _Row:
    """One line of a bill."""

    __slots__ = ("estimated", "tasks", "units")

    def __init__(self) -> None:
        self.tasks = 0
        self.units = self.estimated = 0.0


class _Bill:
    """What tasks cost, by endpoint, model, label and pool."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, str], _Row] = {}

    def add(self, request: TaskRequest[Any], label: str, price: Estimate | None, units: float) -> None:
        endpoint = endpoint_of(request)
        model = str(getattr(request, "model_name", None) or "")
        pool = price.pool if price is not None else endpoint.pool
        row = self._rows.setdefault((endpoint.name, model, label, pool), _Row())
        row.tasks += 1
        row.units += units
        row.estimated += (price.units or 0.0) if price is not None else 0.0

    def rows(self) -> tuple[Spent, ...]:
        return tuple(
            Spent(
                endpoint=endpoint,
                model=model,
                label=label,
                pool=pool,
                tasks=row.tasks,
                units=round(row.units, 6),
                estimated=round(row.estimated, 6),
            )
            for (endpoint, model, label, pool), row in sorted(self._rows.items())
        )


class Accounts:
    """Counts the outcomes of one batch."""

    def __init__(self) -> None:
        self._began = 0.0
        self._done = self._failed = self._resumed = self._open = 0
        self._bill = _Bill()

    def begin(self, now: float) -> None:
        """The batch begins."""
        self._began = now

    def add(self, run: Run, outcome: Outcome[Any]) -> None:
        """Count one outcome."""
        self._done += outcome.ok
        self._failed += not outcome.ok
        self._resumed += outcome.resumed
        self._open += not outcome.ok and run.entry.state not in (State.DONE, State.FAILED)
        if not run.paid and run.entry.task_id is not None:
            self._bill.add(run.item.request, run.entry.label, run.price, outcome.units or 0.0)

    def report(
        self,
        *,
        stopped: str,
        running: int,
        waiting: int,
        units: dict[str, float],
        now: float,
        journal: Path | None,
    ) -> Report:
        """Return how it stands."""
        return Report(
            done=self._done,
            failed=self._failed,
            resumed=self._resumed,
            running=running,
            stopped=stopped,
            units={pool: spent for pool, spent in units.items() if spent},
            spent=self._bill.rows(),
            seconds=now - self._began,
            advice=self._advice(stopped, running, waiting, journal),
        )

    def _advice(self, stopped: str, running: int, waiting: int, journal: Path | None) -> str:
        """Say how to go on, if anything is left."""
        if not (stopped or running or waiting or self._open):
            return ""
        said = [f"{self._done} done"]
        said += [f"{self._failed} failed"] if self._failed else []
        said += [f"{running} still running at the vendor"] if running else []
        state = ", ".join(said)
        if journal is None:
            return f"{state}. There is no journal: run what is missing again, or next time give journal=."
        again = f"run the same again with journal={str(journal)!r}"
        return f"{state}. To go on, {again}: nothing is made or paid twice."


def expected_seconds(engine: Engine, request: TaskRequest[Any]) -> float:
    """Return how long its task may take: as learned, else by the endpoint's usual time and its length."""
    endpoint = endpoint_of(request)
    law = engine.durations.law((endpoint.name, endpoint.kind(request)), endpoint.median)
    length = getattr(request, "duration", None) or _USUAL_CLIP
    longer = 1.0 if law.known else length / _USUAL_CLIP
    return law.quantile(0.5) * longer


async def plan_of(
    engine: Engine,
    found: AsyncIterator[Known],
    is_over: Callable[[Known], bool],
    price_of: Callable[[TaskRequest[Any]], Estimate],
) -> Plan:
    """Add up what the input asks for and the journal has not finished."""
    jobs = done = 0
    units: dict[str, float] = {}
    most: dict[str, float] = {}
    unknown: dict[str, int] = {}
    usd = 0.0
    work: dict[str, float] = {}
    longest: dict[str, float] = {}
    bill = _Bill()
    async for job in found:
        jobs += 1
        if is_over(job):
            done += 1
            continue
        request = job.item.request
        endpoint, price = endpoint_of(request), price_of(request)
        bill.add(request, job.entry.label, price, 0.0)
        if price.units is None:
            unknown[price.why] = unknown.get(price.why, 0) + 1
        else:
            units[price.pool] = round(units.get(price.pool, 0.0) + price.units, 6)
            usd += price.usd or 0.0
        if price.most is not None:
            most[price.pool] = round(most.get(price.pool, 0.0) + price.most, 6)
        seconds = expected_seconds(engine, request)
        load = seconds * max(1, endpoint.weight(request))
        work[endpoint.pool] = work.get(endpoint.pool, 0.0) + load
        longest[endpoint.pool] = max(longest.get(endpoint.pool, 0.0), seconds)
    return Plan(
        jobs=jobs,
        done=done,
        units=units,
        most=most,
        unknown=unknown,
        usd=round(usd, 4),
        seconds=_makespan(engine, work, longest),
        models=bill.rows(),
    )


def _makespan(engine: Engine, work: dict[str, float], longest: dict[str, float]) -> float:
    """Return when the last pool is through, each at its limit as known now."""
    pools = engine.limiter.pools
    times = [0.0]
    for pool, load in work.items():
        limit = pools[pool].limit if pool in pools else DEFAULTS.get(pool, 1)
        times.append(max(math.ceil(load / limit), longest[pool]))
    return max(times)
