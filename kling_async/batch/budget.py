"""The money of a batch: units are reserved before a create, and settled once its task has ended.

Pure: no clock, no I/O. A limit given as one number holds for each pool by itself, for a unit of video is not
one of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.batch.entry import spent_on
from kling_async.core.pool_sizes import POOLS
from kling_async.errors import Problem, RequestInvalid
from kling_async.prices import estimate, is_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.batch.entry import Entry
    from kling_async.batch.exclusions import Exclusions, SkipReason
    from kling_async.batch.lifecycle import BatchLife
    from kling_async.core.queue import Kind
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["BatchControl", "Budget", "Reservation", "price_of"]


def price_of(
    request: TaskRequest[Any], price: Callable[[TaskRequest[Any]], float | None] | None = None
) -> Estimate:
    """Return what a request may cost: by the caller's own price, else by the price pages.

    Raises:
        RequestInvalid: The caller's price raises, or is not a number of units.
    """
    found = estimate(request)
    try:
        units = None if price is None else price(request)
    except Exception as error:
        problem = Problem("price", f"raised {type(error).__name__}: {error}")
        raise RequestInvalid("batch", [problem]) from error
    if units is None:
        return found
    if not is_amount(units):
        raise RequestInvalid(
            "batch", [Problem("price", f"returned {units!r:.40}, not units from 0, or None")]
        )
    return found.of(units)


class Reservation(NamedTuple):
    """The units set aside for one job while the end of its task is not known."""

    price: Estimate
    units: float
    sent: bool = True
    """Whether a create of the job may have been sent, by this run or an earlier one."""

    @property
    def pool(self) -> str:
        """The pool whose units these are."""
        return self.price.pool


class Budget:
    """Spent and reserved units, pool by pool.

    Args:
        most: The limit for each pool, or limits by pool; None: no limit.
    """

    def __init__(self, most: float | Mapping[str, float] | None) -> None:
        self._most = most
        self.counts_earlier_runs = most is not None
        """Whether the units of earlier runs are among these: without a limit nobody needs them."""
        self.spent: dict[str, float] = {}
        self.reserved: dict[str, float] = {}
        self._returnable: dict[str, int] = {}
        self._recalled: dict[str, float] = {}
        """Units among ``spent`` that earlier runs spent."""
        self._unsent: dict[str, float] = {}
        """Units among ``reserved`` of jobs that nothing was sent for."""

    @property
    def spent_now(self) -> dict[str, float]:
        """Units that this run spent, by pool."""
        now = {pool: round(spent - self._recalled.get(pool, 0.0), 6) for pool, spent in self.spent.items()}
        return {pool: spent for pool, spent in now.items() if spent}

    def limit_to(self, most: float | Mapping[str, float] | None, *, begun: bool) -> None:
        """Change the limit, of a batch that has begun or of one that has not."""
        self._most = most
        if not begun:
            self.counts_earlier_runs = most is not None

    @property
    def limited(self) -> bool:
        """Whether any pool has a limit."""
        return self._most is not None

    @property
    def everything_limited(self) -> bool:
        """Whether every pool has a limit."""
        return all(self.limit(pool) is not None for pool in POOLS)

    def limit(self, pool: str) -> float | None:
        """Return the limit of a pool's units; None: there is none."""
        return self._most if isinstance(self._most, int | float | None) else self._most.get(pool)

    def fits(self, pool: str, units: float) -> bool:
        """Tell whether so many units more may be reserved now."""
        limit = self.limit(pool)
        taken = self.spent.get(pool, 0.0) + self.reserved.get(pool, 0.0)
        # rounded, or tasks of 0.1 and 0.2 units would not fit into 0.3: their sum is 0.30000000000000004
        return limit is None or round(taken + units, 6) <= limit

    def may_send(self, reservation: Reservation) -> bool:
        """Tell whether units spent, reserved for what was sent, and of this job keep within the limit.

        They do not where the limit was lowered, or is lower than what earlier runs have reserved. Other jobs
        that nothing was sent for do not count, so those first in turn are made.
        """
        own = 0.0 if reservation.sent else reservation.units
        return self.fits(reservation.pool, own - self._unsent.get(reservation.pool, 0.0))

    def send(self, reservation: Reservation) -> Reservation:
        """Note that a create of the job is about to be sent; return the reservation as it is from now on."""
        self._end_unsent(reservation)
        return reservation._replace(sent=True)

    def _end_unsent(self, reservation: Reservation) -> None:
        if not reservation.sent:
            pool = reservation.pool
            self._unsent[pool] = round(self._unsent[pool] - reservation.units, 6)

    def may_fit_later(self, pool: str, units: float) -> bool:
        """Tell whether units would fit if every reserved unit came back unspent."""
        limit = self.limit(pool)
        return limit is None or round(self.spent.get(pool, 0.0) + units, 6) <= limit

    def gives_back(self, pool: str) -> bool:
        """Tell whether a job of this run may still give back units of the pool.

        Jobs of other runs, and creates of unknown fate, keep their reservations.
        """
        return self._returnable.get(pool, 0) > 0

    # -- by amounts

    def reserve(self, pool: str, units: float) -> None:
        """Set units aside for a task."""
        self.reserved[pool] = round(self.reserved.get(pool, 0.0) + units, 6)

    def settle(self, pool: str, reserved: float, spent: float) -> None:
        """Exchange a reservation for what the task cost, once it has ended."""
        self.reserved[pool] = max(0.0, round(self.reserved.get(pool, 0.0) - reserved, 6))
        self.spent[pool] = round(self.spent.get(pool, 0.0) + spent, 6)

    # -- by jobs

    def recall(self, entry: Entry) -> None:
        """Count what a job of earlier runs has spent, and what is reserved while its task may run."""
        pool, spent = entry.pool, spent_on(entry)
        self.settle(pool, 0.0, spent)
        self._recalled[pool] = round(self._recalled.get(pool, 0.0) + spent, 6)
        if not entry.ended:
            self.reserve(pool, entry.reserved)

    def open(self, reservation: Reservation) -> None:
        """Expect units back from a job that begins."""
        pool = reservation.pool
        if not reservation.sent:
            self._unsent[pool] = round(self._unsent.get(pool, 0.0) + reservation.units, 6)
        if reservation.units > 0:
            self._returnable[pool] = self._returnable.get(pool, 0) + 1

    def close(self, reservation: Reservation, cost: float | None) -> None:
        """Settle a job that is over; cost None: its task may still be billed, so its reservation stays."""
        self._end_unsent(reservation)
        if reservation.units > 0:
            self._returnable[reservation.pool] -= 1
        if cost is not None:
            self.settle(reservation.pool, reservation.units, cost)


class BatchControl(NamedTuple):
    """Decides whether jobs may make tasks: the batch's state, its money, and what it skips."""

    life: BatchLife
    budget: Budget
    exclusions: Exclusions

    @property
    def may_create(self) -> bool:
        """Whether jobs under way may make tasks."""
        return self.life.may_create

    def obstacle(self, kind: Kind, reservation: Reservation) -> SkipReason | None:
        """Return why a create whose units are reserved may not be sent now; None if it may."""
        reason = self.exclusions.reason(kind)
        return "max_units" if reason is None and not self.budget.may_send(reservation) else reason
