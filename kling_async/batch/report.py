"""Add up the outcomes of a batch: counts, costs, and how to resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.batch.entry import spent_on
from kling_async.batch.outcomes import Report, Spent, Totals
from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid, ResultExpired

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.batch.budget import Budget
    from kling_async.batch.entry import Entry
    from kling_async.batch.exclusions import Skipped
    from kling_async.batch.outcomes import Outcome, StopReason
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["Bill", "Charge", "Counted", "ReportBuilder"]


class Charge(NamedTuple):
    """The cost of one job's tasks in this run."""

    request: TaskRequest[Any]
    label: str
    price: Estimate
    """Estimate made before the create."""
    units: float
    """Units by the vendor's word at the task's end; 0 where it gave none."""
    tasks: int = 1


class _Line:
    """One line of a bill."""

    __slots__ = ("estimated", "tasks", "units")

    def __init__(self) -> None:
        self.tasks = 0
        self.units = self.estimated = 0.0


class Bill:
    """Adds up costs by endpoint, model, label and pool."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, str, str], _Line] = {}

    def add(self, charge: Charge) -> None:
        """Add the tasks of one job."""
        endpoint, price = endpoint_of(charge.request), charge.price
        model = str(getattr(charge.request, "model_name", None) or "")
        line = self._lines.setdefault((endpoint.name, model, charge.label, price.pool), _Line())
        line.tasks += charge.tasks
        line.units += charge.units
        line.estimated += charge.tasks * (price.units or 0.0)

    def lines(self) -> tuple[Spent, ...]:
        """Return the sums, sorted."""
        # prices are decimals: without rounding, 0.1 + 0.2 shows as 0.30000000000000004
        return tuple(
            Spent(
                endpoint=endpoint,
                model=model,
                label=label,
                pool=pool,
                tasks=line.tasks,
                units=round(line.units, 6),
                estimated=round(line.estimated, 6),
            )
            for (endpoint, model, label, pool), line in sorted(self._lines.items())
        )


class _Counts:
    """The finished requests of one run, or of several, and the units spent on them."""

    __slots__ = ("done", "failed", "units")

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.units: dict[str, float] = {}

    def add(self, *, ok: bool) -> None:
        self.done += ok
        self.failed += not ok

    def spend(self, pool: str, units: float) -> None:
        if units:
            self.units[pool] = round(self.units.get(pool, 0.0) + units, 6)

    def __add__(self, other: _Counts) -> _Counts:
        total = _Counts()
        total.done, total.failed = self.done + other.done, self.failed + other.failed
        for pool, units in (*self.units.items(), *other.units.items()):
            total.spend(pool, units)
        return total

    def totals(self) -> Totals:
        return Totals(done=self.done, failed=self.failed, units=dict(self.units))


class Counted(NamedTuple):
    """The counts of a report, without the words."""

    done: int
    failed: int
    resumed: int
    seconds: float
    last_file: Path | None


class ReportBuilder:
    """Counts the outcomes of one batch.

    Args:
        journal_only: Whether the batch has no input but its journal.
    """

    def __init__(self, *, journal_only: bool = False) -> None:
        self._journal_only = journal_only
        self._started = 0.0
        self._now = _Counts()
        self._earlier = _Counts()
        self._invalid = 0
        self._failed_for_good = 0
        self._unfinished = 0
        self._left_running = 0
        self._explanation = ""
        self._bill = Bill()
        self._last_file: Path | None = None

    def start(self, now: float) -> None:
        """Note when the batch begins, by the event loop's clock."""
        self._started = now

    def add(self, outcome: Outcome[Any], *, finished: bool, charge: Charge | None) -> None:
        """Count an outcome of this run.

        Args:
            outcome: Of the job.
            finished: Whether the next run would find nothing to do for the job.
            charge: Its tasks' cost; None if an earlier run counted it, or there is no task.
        """
        invalid = isinstance(outcome.error, RequestInvalid)
        (self._earlier if outcome.resumed else self._now).add(ok=outcome.ok)
        self._invalid += invalid
        self._failed_for_good += finished and not (outcome.ok or isinstance(outcome.error, ResultExpired))
        self._unfinished += not (outcome.ok or invalid or finished)
        if outcome.files:
            self._last_file = outcome.files[-1]
        if charge is not None:
            self._bill.add(charge)

    def counts(self, now: float) -> Counted:
        """Return the counts as of now, by the event loop's clock."""
        total, resumed = self._now + self._earlier, self._earlier.done + self._earlier.failed
        return Counted(total.done, total.failed, resumed, now - self._started, self._last_file)

    def add_remembered(self, *, ok: bool, expired: bool = False) -> None:
        """Count an outcome of an earlier run."""
        self._earlier.add(ok=ok)
        self._failed_for_good += not (ok or expired)

    def add_spent_earlier(self, entry: Entry) -> None:
        """Count what earlier runs spent on a job."""
        self._earlier.spend(entry.pool, spent_on(entry))

    def explain(self, text: str) -> None:
        """Note in words why the batch was stopped."""
        self._explanation = text

    def add_left_running(self, tasks: int) -> None:
        """Count tasks that run on though their jobs are over."""
        self._left_running += tasks

    def report(
        self,
        *,
        stopped: StopReason,
        skipped: tuple[Skipped, ...],
        running: int,
        waiting: int,
        budget: Budget,
        now: float,
        journal: Path | None,
        unclaimed: int = 0,
        unclaimed_running: tuple[str, ...] = (),
    ) -> Report:
        """Return the report as of now.

        Args:
            skipped: Requests that were not made though others were.
            stopped: Why no more tasks are made; empty if more are, or the input has ended.
            running: Jobs under way whose task runs, or may run.
            waiting: Jobs under way without a task.
            budget: Of the batch.
            now: By the event loop's clock.
            journal: The journal's file; None if nothing is kept.
            unclaimed: Jobs of the journal that the input did not name.
            unclaimed_running: The ids of the unfinished ones.
        """
        running += self._left_running
        self._now.units = budget.spent_now
        total = self._now + self._earlier
        state = self._advice(stopped, skipped, running, waiting, journal)
        return Report(
            done=total.done,
            failed=total.failed,
            resumed=self._earlier.done + self._earlier.failed,
            running=running,
            stopped=stopped,
            skipped=skipped,
            unclaimed=unclaimed,
            unclaimed_running=unclaimed_running,
            units={pool: spent for pool, spent in budget.spent.items() if spent},
            spent=self._bill.lines(),
            seconds=now - self._started,
            advice=" ".join(filter(None, [state, _unclaimed_words(unclaimed_running, journal)])),
            this_run=self._now.totals(),
            all_runs=total.totals(),
        )

    def _advice(
        self,
        stopped: StopReason,
        skipped: tuple[Skipped, ...],
        running: int,
        waiting: int,
        journal: Path | None,
    ) -> str:
        """Say how to resume, if anything is left to do."""
        invalid = f"{self._invalid} refused unsent: their errors name what to change"
        count = self._failed_for_good if journal is not None else 0
        means = "the batch's input with retry_failed=True" if self._journal_only else "retry_failed=True"
        again = f"{count} failed for good: {means} tries them again" if count else ""
        if not (stopped or running or waiting or self._unfinished):
            parts = [again] if again else []
            parts += [invalid] if self._invalid else []
            return f"{', '.join(parts)}." if parts else ""
        total = self._now + self._earlier
        parts = [f"{total.done} done"]
        parts += [f"{total.failed} failed"] if total.failed else []
        parts[-1] += (
            f" (in this run {self._now.totals()})" if self._earlier.done + self._earlier.failed else ""
        )
        parts += [f"{running} still running at the vendor"] if running else []
        parts += [invalid] if self._invalid else []
        parts += [_skipped_words(line) for line in skipped]
        parts += [f"stopped, since {self._explanation}"] if self._explanation else []
        state = ", ".join(parts)
        if journal is not None:
            again = f"{again}. " if again else ""
            how = self._how(skipped, journal)
            return f"{state}. {again}To go on, {how}: nothing is made or paid twice."
        bills = (
            " Running tasks will be billed; the client's tasks() and unresolved() list them."
            if running
            else ""
        )
        return f"{state}. There is no journal: run what is missing again, or next time give journal=.{bills}"

    def _how(self, skipped: tuple[Skipped, ...], journal: Path) -> str:
        reasons = {line.reason for line in skipped}
        if self._journal_only and "unsent" not in reasons:
            return f"call client.resume({str(journal)!r}, ...) again"
        what = "the batch with its input" if self._journal_only else "the same again"
        more = ", and a larger max_units" if "max_units" in reasons else ""
        return f"run {what} with journal={str(journal)!r}{more}"


def _unclaimed_words(running: tuple[str, ...], journal: Path | None) -> str:
    if not running:
        return ""
    jobs = "1 unfinished job" if len(running) == 1 else f"{len(running)} unfinished jobs"
    return (
        f"{jobs} of the journal not named by the input (a changed request is another job):"
        f" client.resume({str(journal)!r}, ...) makes nothing, waits for them and fetches their files."
    )


def _skipped_words(line: Skipped) -> str:
    what = f"{line.requests} of {line.what} not made" if line.requests else f"no more of {line.what} are made"
    return f"{what} ({line.text.rstrip('.')})"
