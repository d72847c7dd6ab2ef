"""Spending: reserve the units of submits within ``max_units``, and settle them by what tasks cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from kling_async.core.budget import UnitBudget, wrong_units
from kling_async.errors import ConfigurationError, Problem, RequestInvalid, UnitLimitReached
from kling_async.orchestrator.tracked import TrackedState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.orchestrator.submission import Submission
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import TaskRequest

__all__ = ["Spending", "UnitTotals"]

_SWEEP_MIN: Final = 64
"""Fewest reservations that are looked through for those to settle."""


class Price(Protocol):
    """The price of a request (`kling_async.prices.Estimate`)."""

    @property
    def pool(self) -> str:
        """The pool whose units these are."""
        ...

    @property
    def most(self) -> float | None:
        """Most units that it can cost; None where no bound is known."""
        ...

    @property
    def why(self) -> str:
        """The terms of the price, or why it is not known."""
        ...


class UnitTotals(NamedTuple):
    """The units of a client, by pool."""

    spent: dict[str, float]
    reserved: dict[str, float]
    estimated: dict[str, float]
    """The part of those spent of which the vendor has not said what they were: callbacks show no price."""


class Spending:
    """The units that a client has spent, and has set aside for tasks whose end it has not seen.

    A reservation is settled late: when units are short, are asked for, or many are open. So no driver has to
    report each of the ways in which a submit or a task can end.

    Args:
        most: The limit for each pool, or limits by pool; None: nothing is counted.
        price_of: Tells what the task of a request may cost.

    Raises:
        ConfigurationError: The limit is not one.
    """

    def __init__(
        self, most: float | Mapping[str, float] | None, price_of: Callable[[TaskRequest[Any]], Price]
    ) -> None:
        if problems := list(wrong_units(most)):
            raise ConfigurationError("; ".join(f"{field} {text}" for field, text in problems))
        self._budget = UnitBudget(most)
        self._price_of = price_of
        self._open: dict[Submission, tuple[str, float]] = {}
        """Pool and units of those that are not settled."""
        self._estimated: dict[str, float] = {}
        self._sweep_at = _SWEEP_MIN

    def reserve(self, submission: Submission) -> None:
        """Set aside what the task of a submission may cost; harmless to repeat.

        Raises:
            UnitLimitReached: It could pass the limit.
            RequestInvalid: Its price is not known, and its pool has a limit.
        """
        if not self._budget.limited or submission in self._open:
            return
        pool, units = self._price(submission)
        if len(self._open) >= self._sweep_at or not self._budget.fits(pool, units):
            self._settle()
        limit = self._budget.limit(pool)
        # a batch keeps a limit of its own: its jobs are counted, and not refused here
        if limit is not None and not self._budget.fits(pool, units) and not submission.of_batch:
            spent, reserved = self._budget.spent.get(pool, 0.0), self._budget.reserved.get(pool, 0.0)
            raise UnitLimitReached(pool, units, limit=limit, spent=spent, reserved=reserved)
        self._budget.reserve(pool, units)
        self._open[submission] = pool, units

    def _price(self, submission: Submission) -> tuple[str, float]:
        price = self._price_of(submission.request)
        limited = self._budget.limit(price.pool) is not None
        if price.most is None and limited and not submission.of_batch:
            text = f"{price.why}: without a known price the limit cannot be kept"
            raise RequestInvalid("submit", [Problem("max_units", text)])
        return price.pool, price.most or 0.0

    def totals(self) -> UnitTotals:
        """Return the units spent and the units reserved, by pool."""
        self._settle()
        return UnitTotals(dict(self._budget.spent), dict(self._budget.reserved), dict(self._estimated))

    def _settle(self) -> None:
        """Settle all whose cost is known by now."""
        for submission, (pool, units) in list(self._open.items()):
            cost = _cost(submission, units)
            # any thread may ask for the totals: only one of two settles a reservation
            if cost is not None and self._open.pop(submission, None) is not None:
                self._budget.settle(pool, units, cost)
                if cost and not _is_priced(submission):
                    self._estimated[pool] = round(self._estimated.get(pool, 0.0) + cost, 6)
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self._open))


def _cost(submission: Submission, reserved: float) -> float | None:
    """Return what a submission has cost; None while that is not known: then its units stay reserved."""
    if submission.tracked is not None:
        return _cost_of_task(submission.tracked, reserved)
    return 0.0 if submission.ended and not submission.may_exist else None


def _is_priced(submission: Submission) -> bool:
    """Tell whether the vendor has said what the task of a submission cost."""
    record = None if submission.tracked is None else submission.tracked.record
    return record is not None and record.units is not None


def _cost_of_task(tracked: TrackedTask, reserved: float) -> float | None:
    """Return what a task has cost: as the vendor said, else, if it succeeded, the reservation."""
    record = tracked.record
    if not tracked.done or record is None:
        return None
    if record.units is not None:
        return float(record.units)
    return reserved if tracked.state is TrackedState.SUCCEEDED else 0.0
