"""The money of a batch: what its tasks may cost, have cost, and cost in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.batch.budget import Budget, is_amount
from kling_async.batch.entry import cost_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.prices import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.batch.job import JobRun
    from kling_async.batch.journal import Journal
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["Purse"]


class Purse(Budget):
    """A budget that knows prices, and reads a journal."""

    def __init__(
        self,
        most: float | Mapping[str, float] | None,
        price: Callable[[TaskRequest[Any]], float | None] | None,
    ) -> None:
        super().__init__(most)
        self._price = price

    def priced(self, request: TaskRequest[Any]) -> Estimate:
        """Return what a request may cost: as the caller says, else by the price pages."""
        found = estimate(request)
        units = None if self._price is None else self._price(request)
        if units is None:
            return found
        if not is_amount(units):
            raise RequestInvalid(
                "batch", [Problem("price", f"gave {units!r:.40}, not units from 0, or None")]
            )
        return found.of(units)

    async def recall(self, journal: Journal) -> None:
        """Count what earlier runs have spent, and what they set aside for tasks that may still cost it."""
        if not self.limited:
            return
        async for entry in journal.entries():
            self.settle(entry.pool, 0.0, entry.earlier + (cost_of(entry) if entry.ended else 0.0))
            if not entry.ended:
                self.reserve(entry.pool, entry.reserved)

    def settle_run(self, run: JobRun) -> None:
        """What was set aside for it is free, or spent; unless it may still be billed, unseen."""
        if not run.paid and not run.may_cost_yet:
            self.settle(_pool(run), run.reserved, cost_of(run.entry))

    def settle_attempt(self, run: JobRun) -> None:
        """It failed, and another one follows, for which the same is set aside."""
        self.settle(_pool(run), 0.0, cost_of(run.entry))


def _pool(run: JobRun) -> str:
    return run.price.pool if run.price else ""
