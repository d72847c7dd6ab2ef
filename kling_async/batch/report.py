"""The bookkeeping of a batch: what was done and spent, what it would cost, how to go on."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from kling_async.batch.entry import JobState
from kling_async.batch.entry import ResumeAction as RecordPlan
from kling_async.batch.outcomes import Plan, Report, Spent
from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid, ResultExpired
from kling_async.orchestrator.bodies import check_media
from kling_async.wire.checks import wrong_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kling_async.batch.job import JobRun
    from kling_async.batch.outcomes import Outcome
    from kling_async.batch.planner import PlannedJob
    from kling_async.orchestrator.engine import Engine
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["Accounts", "plan_of"]

_PROBLEMS_MAX: Final = 20


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

    def add(
        self, request: TaskRequest[Any], label: str, price: Estimate | None, units: float, tasks: int = 1
    ) -> None:
        endpoint = endpoint_of(request)
        model = str(getattr(request, "model_name", None) or "")
        pool = price.pool if price is not None else endpoint.pool
        row = self._rows.setdefault((endpoint.name, model, label, pool), _Row())
        row.tasks += tasks
        row.units += units
        row.estimated += tasks * (price.units or 0.0) if price is not None else 0.0

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
        self._done = self._failed = self._resumed = self._open = self._wrong = 0
        self._bill = _Bill()

    def begin(self, now: float) -> None:
        """The batch begins."""
        self._began = now

    def add(self, run: JobRun, outcome: Outcome[Any]) -> None:
        """Count one outcome."""
        self._done += outcome.ok
        self._failed += not outcome.ok
        self._resumed += outcome.resumed
        wrong = isinstance(outcome.error, RequestInvalid)
        self._wrong += wrong
        closed = run.entry.state is JobState.FAILED or isinstance(outcome.error, ResultExpired)
        self._open += not (outcome.ok or wrong or closed)
        if not run.paid and run.entry.task_id is not None:
            units = (outcome.units or run.entry.earlier) - run.earlier
            self._bill.add(run.item.request, run.entry.label, run.price, units, run.tasks)

    def remembered(self, *, ok: bool) -> None:
        """Count an outcome that an earlier run had; its bill was paid then."""
        self._done += ok
        self._failed += not ok
        self._resumed += 1

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
        wrong = f"{self._wrong} refused unsent: the errors say what to mend"
        if not (stopped or running or waiting or self._open):
            return f"{wrong}." if self._wrong else ""
        said = [f"{self._done} done"]
        said += [f"{self._failed} failed"] if self._failed else []
        said += [f"{running} still running at the vendor"] if running else []
        said += [wrong] if self._wrong else []
        state = ", ".join(said)
        if journal is not None:
            more = ", and a larger max_units" if stopped == "max_units" else ""
            again = f"run the same again with journal={str(journal)!r}{more}"
            return f"{state}. To go on, {again}: nothing is made or paid twice."
        runs = " What runs will be billed; the client's tasks() and unresolved() name it." if running else ""
        return f"{state}. There is no journal: run what is missing again, or next time give journal=.{runs}"


_COUNTED: Final = {
    RecordPlan.NOTHING: "done",
    RecordPlan.FETCH: "fetched",
    RecordPlan.WAIT: "running",
    RecordPlan.CREATE_DOUBTFUL: "doubtful",
}


class _Sum:
    """What the jobs of a dry run add up to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.counts: dict[str, int] = dict.fromkeys(("jobs", *_COUNTED.values(), "refused"), 0)
        self.units: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.unknown: dict[str, int] = {}
        self.usd = 0.0
        self.problems: list[str] = []
        self.bill = _Bill()
        self.work: dict[str, float] = {}
        self.longest: dict[str, float] = {}

    def refused(self, job: PlannedJob, error: RequestInvalid) -> None:
        self.counts["refused"] += 1
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(f"requests[{job.item.position}]: {error}")

    def takes(self, request: TaskRequest[Any]) -> None:
        """Its task takes slots for a while."""
        endpoint = endpoint_of(request)
        seconds = self._engine.expected_seconds(request)
        load = seconds * max(1, endpoint.weight(request))
        self.work[endpoint.pool] = self.work.get(endpoint.pool, 0.0) + load
        self.longest[endpoint.pool] = max(self.longest.get(endpoint.pool, 0.0), seconds)

    def costs(self, job: PlannedJob, price: Estimate) -> None:
        """Its task is yet to be made."""
        self.bill.add(job.item.request, job.entry.label, price, 0.0)
        if price.units is None:
            self.unknown[price.why] = self.unknown.get(price.why, 0) + 1
        else:
            self.units[price.pool] = round(self.units.get(price.pool, 0.0) + price.units, 6)
            self.usd += price.usd or 0.0
        if price.most is not None:
            self.most[price.pool] = round(self.most.get(price.pool, 0.0) + price.most, 6)


async def plan_of(
    engine: Engine,
    chunks: AsyncIterator[list[PlannedJob]],
    price_of: Callable[[TaskRequest[Any]], Estimate],
) -> Plan:
    """Add up what the input asks for and the journal has not finished."""
    total = _Sum(engine)
    pools: set[str] = set()
    async for jobs in chunks:
        for job in jobs:
            total.counts["jobs"] += 1
            if job.plan in _COUNTED and job.error is None:
                total.counts[_COUNTED[job.plan]] += 1
            elif (error := job.error or await _wrong(engine, job)) is not None:
                total.refused(job, error)
                continue
            if job.plan in (RecordPlan.NOTHING, RecordPlan.FETCH):
                continue
            if job.plan is not RecordPlan.WAIT:
                total.costs(job, price_of(job.item.request))
            total.takes(job.item.request)
            pools.add(job.entry.pool)
        await asyncio.sleep(0)
    await engine.packs.known(pools)
    return Plan(
        **total.counts,
        problems=tuple(total.problems),
        units=total.units,
        most=total.most,
        unknown=total.unknown,
        usd=round(total.usd, 4),
        seconds=_makespan(engine, total.work, total.longest),
        models=total.bill.rows(),
    )


async def _wrong(engine: Engine, job: PlannedJob) -> RequestInvalid | None:
    """Return what a submit would refuse."""
    if (wrong := wrong_with(job.item.request)) is not None:
        return wrong
    try:
        await check_media(job.item.request, engine.scope)
    except RequestInvalid as error:
        return error
    return None


def _makespan(engine: Engine, work: dict[str, float], longest: dict[str, float]) -> float:
    """Return when the last pool is through, each at its limit as known now."""
    times = [0.0]
    for pool, load in work.items():
        limit = engine.limiter.pool(pool).limit
        times.append(max(math.ceil(load / limit), longest[pool]))
    return max(times)
