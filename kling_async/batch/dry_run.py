"""Estimate the tasks, costs and duration of a batch; send nothing but one query for the packs."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.entry import ResumeAction
from kling_async.batch.outcomes import Plan
from kling_async.batch.report import Bill, Charge
from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid
from kling_async.orchestrator.bodies import check_media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kling_async.batch.planned import PlannedJob
    from kling_async.orchestrator.engine import Engine
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["dry_run"]

_PROBLEMS_MAX: Final = 20
"""Most errors listed in `Plan.problems`; `Plan.refused` counts the others too."""


class _PoolLoad(NamedTuple):
    """The work that tasks bring to one pool."""

    slot_seconds: float = 0.0
    longest: float = 0.0
    """Seconds of the longest task."""


class _Totals:
    """Adds up the jobs of a dry run."""

    def __init__(self) -> None:
        self.jobs = 0
        self.done = 0
        self.fetched = 0
        self.running = 0
        self.doubtful = 0
        self.refused = 0
        self.unsent = 0
        self.problems: list[str] = []
        self.costs = _Costs()
        self.loads: dict[str, _PoolLoad] = {}

    def count(self, action: ResumeAction) -> None:
        """Count a job that an earlier run began."""
        self.done += action is ResumeAction.NOTHING
        self.fetched += action is ResumeAction.FETCH
        self.running += action is ResumeAction.WAIT
        self.doubtful += action is ResumeAction.CREATE_DOUBTFUL

    def refuse(self, position: int, error: RequestInvalid) -> None:
        """Count a request that cannot be made."""
        self.refused += 1
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(f"requests[{position}]: {error}")

    def occupy(self, request: TaskRequest[Any], seconds: float) -> None:
        """Add the slots that a task holds for so long."""
        endpoint = endpoint_of(request)
        load = self.loads.get(endpoint.pool, _PoolLoad())
        # tasks of weight 0 (custom elements) take time as well, so each counts as one slot
        self.loads[endpoint.pool] = _PoolLoad(
            load.slot_seconds + seconds * max(1, endpoint.weight(request)), max(load.longest, seconds)
        )


class _Costs:
    """Adds up what tasks yet to be made would cost."""

    def __init__(self) -> None:
        self.units: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.unknown: dict[str, int] = {}
        self.usd = 0.0
        self.bill = Bill()

    def add(self, job: PlannedJob, price: Estimate) -> None:
        self.bill.add(Charge(job.item.request, job.entry.label, price, 0.0))
        if price.units is None:
            self.unknown[price.why] = self.unknown.get(price.why, 0) + 1
        else:
            self.units[price.pool] = round(self.units.get(price.pool, 0.0) + price.units, 6)
            self.usd += price.usd or 0.0
        if price.most is not None:
            self.most[price.pool] = round(self.most.get(price.pool, 0.0) + price.most, 6)


async def dry_run(
    engine: Engine,
    chunks: AsyncIterator[list[PlannedJob]],
    price_of: Callable[[TaskRequest[Any]], Estimate],
) -> Plan:
    """Add up what the input asks for and earlier runs have not finished.

    Args:
        engine: Checks media files, estimates durations and knows the pools' limits.
        chunks: The whole input, planned.
        price_of: Returns what a request may cost.
    """
    totals = _Totals()
    async for jobs in chunks:
        for job in jobs:
            await _add(engine, totals, job, price_of)
        await asyncio.sleep(0)  # a large input must not block the event loop
    await engine.packs.known(set(totals.loads))
    costs = totals.costs
    return Plan(
        jobs=totals.jobs,
        done=totals.done,
        fetched=totals.fetched,
        running=totals.running,
        doubtful=totals.doubtful,
        refused=totals.refused,
        problems=tuple(totals.problems),
        units=costs.units,
        most=costs.most,
        unknown=costs.unknown,
        usd=round(costs.usd, 4),
        seconds=_makespan(engine, totals.loads),
        models=costs.bill.lines(),
        unsent=totals.unsent,
    )


async def _add(
    engine: Engine, totals: _Totals, job: PlannedJob, price_of: Callable[[TaskRequest[Any]], Estimate]
) -> None:
    totals.jobs += 1
    request = job.item.request
    if job.is_new and not job.sendable:
        totals.unsent += 1
        return
    error = job.refusal()
    if error is None and job.is_new:
        error = await _media_error(engine, request)
    if error is not None:
        totals.refuse(job.item.position, error)
        return
    done = job.action in (ResumeAction.NOTHING, ResumeAction.FETCH)
    price = None
    if job.sendable and not (done or job.action is ResumeAction.WAIT):
        try:
            price = price_of(request)
        except RequestInvalid as wrong:  # the caller's price fails one job alone
            totals.refuse(job.item.position, wrong)
            return
    totals.count(job.action)
    if done:
        return
    if price is not None:
        totals.costs.add(job, price)
    totals.occupy(request, engine.expected_seconds(request))


async def _media_error(engine: Engine, request: TaskRequest[Any]) -> RequestInvalid | None:
    """Return why the request's media would be refused; reads the beginnings of its files."""
    try:
        await check_media(request, engine.scope, local=engine.local)
    except RequestInvalid as error:
        return error
    return None


def _makespan(engine: Engine, loads: dict[str, _PoolLoad]) -> float:
    """Return the seconds until the last pool has finished, each at its limit as known now."""
    times = [0.0]
    for pool, load in loads.items():
        limit = engine.limiter.pool(pool).limit
        # the two lower bounds of any schedule: all slots busy to the end, and the longest task alone
        times.append(max(math.ceil(load.slot_seconds / limit), load.longest))
    return max(times)
