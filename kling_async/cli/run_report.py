"""Print the end of a run: counts, units, failures by reason, files, seconds; or the plan of a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.formats import clock, counted, units_by_pool
from kling_async.cli.output import Column
from kling_async.errors import APIError, JobFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.batch.outcomes import Outcome, Plan, Report, Spent
    from kling_async.cli.output import Output

__all__ = ["Failures", "ending", "print_plan", "print_report", "reason_of"]

_REASONS_SHOWN: Final = 10
_STOPPING: Final = ("SIGINT", "SIGTERM", "max_units", "error", "journal", "disk", "storage")
"""Reasons for which a batch stopped that the same command may go on after."""


def reason_of(error: Exception) -> str:
    """Return the reason of a failure, the same for all that failed alike."""
    if isinstance(error, APIError):
        return f"{type(error).__name__} (code {error.code})"
    return error.kind if isinstance(error, JobFailed) else type(error).__name__


class Failures:
    """Counts failures by reason, with one example of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, str] = {}
        self._total = 0
        self.latest: Exception | None = None

    def add(self, outcome: Outcome[Any]) -> int:
        """Count a failed outcome; return how many there are by now."""
        assert outcome.error is not None  # noqa: S101 - of failures
        reason = reason_of(outcome.error)
        self._total += 1
        self.latest = outcome.error
        self._counts[reason] = self._counts.get(reason, 0) + 1
        name = outcome.key if outcome.key is not None else f"job {outcome.position}"
        self._examples.setdefault(reason, f"{name}: {outcome.error}")
        return self._total

    def rows(self) -> list[tuple[str, str, str]]:
        """Return count, reason and an example of each, the most frequent first."""
        ordered = sorted(self._counts.items(), key=lambda item: -item[1])
        return [(str(count), reason, self._examples[reason]) for reason, count in ordered[:_REASONS_SHOWN]]


def ending(report: Report, *, bad: int, wrong: bool, interrupted: bool) -> ExitCode:
    """Return the exit code of a run.

    Args:
        report: Of the batch.
        bad: How many wrong lines were left out.
        wrong: Whether a wrong line has ended the input.
        interrupted: Whether a signal stopped it before all was done.
    """
    reasons = {line.reason for line in report.skipped}
    if report.stopped == "account" or "account" in reasons:
        return ExitCode.ACCOUNT
    if wrong:
        return ExitCode.USAGE
    if interrupted or report.stopped in _STOPPING or "max_units" in reasons:
        return ExitCode.STOPPED
    incomplete = report.stopped not in ("", "stop()") or reasons or bad  # after stop() all may have been made
    return ExitCode.FAILED if report.failed or incomplete else ExitCode.DONE


def print_report(
    output: Output, report: Report, failures: Failures, *, files: int, folder: str, look: str
) -> None:
    """Print the end of a run: for people, so on stderr where stdout has lines for machines.

    Args:
        output: Takes the lines.
        report: Of the batch.
        failures: Its failures.
        files: How many files there are.
        folder: Where they are.
        look: The command that shows the jobs which the input no longer names.
    """
    line = output.say if output.json_lines else output.line
    line(_headline(report, files, folder))
    for spent in _spent_lines(report.spent):
        line(f"  {spent}")
    for count, reason, example in failures.rows():
        line(f"  {count} {reason}, such as")
        line(f"    {example}")
    for skipped in report.skipped:
        what = f"{skipped.requests} of {skipped.what}" if skipped.requests else f"more of {skipped.what}"
        line(f"  not made: {what} ({skipped.text.rstrip('.')})")
    if report.running:
        line(f"  running on at the vendor's: {counted(report.running, 'task')}")
    if report.unclaimed:
        line(f"  {counted(report.unclaimed, 'job')} of the journal not in this file, see: {look}")


def _headline(report: Report, files: int, folder: str) -> str:
    total = report.this_run
    parts = [f"{report.done} done"]
    earlier = report.done - total.done
    parts[0] += f" ({earlier} by earlier runs)" if earlier else ""
    parts += [f"{report.failed} failed"] if report.failed else []
    parts += [f"{counted(files, 'file')} in {folder}"] if files else []
    parts += [units_by_pool(total.units)] if total.units else []
    return ", ".join([*parts, clock(report.seconds)])


def _spent_lines(spent: Iterable[Spent]) -> list[str]:
    lines = list(spent)
    if len(lines) < 2:
        return []
    names = [f"{line.endpoint} {line.model}".strip() for line in lines]
    width = max(map(len, names))
    return [
        f"{name:<{width}}  {line.tasks:>4} tasks  {line.units:.10g} units"
        for name, line in zip(names, lines, strict=True)
    ]


# -- the plan


def print_plan(output: Output, plan: Plan) -> None:
    """Print what a run would make."""
    if output.json_lines:
        output.record(plan.to_dict())
        return
    rows = [
        (line.endpoint, line.model, str(line.tasks), f"{line.estimated:.10g}", line.pool)
        for line in plan.models
    ]
    if rows:
        columns = [
            Column("endpoint"),
            Column("model"),
            Column("tasks", right=True),
            Column("units", right=True),
            Column("pool"),
        ]
        output.table(columns, rows)
    for text in _plan_lines(plan):
        output.line(text)
    for text in plan.problems:
        output.say(text)


def _plan_lines(plan: Plan) -> list[str]:
    known = {
        "done by earlier runs": plan.done,
        "files to fetch": plan.fetched,
        "running": plan.running,
        "in doubt": plan.doubtful,
        "wrong": plan.refused,
        "not in this file": plan.unclaimed,
    }
    parts = [f"{plan.jobs} jobs", *(f"{count} {name}" for name, count in known.items() if count)]
    lines = [", ".join(parts)]
    if plan.units:
        usd = f" (${plan.usd:.2f} at the list price)" if plan.usd else ""
        lines.append(f"{units_by_pool(plan.units)}{usd}, about {clock(plan.seconds)}")
    lines += [f"{count} without a known price: {why}" for why, count in plan.unknown.items()]
    return lines
