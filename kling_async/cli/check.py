"""Run ``kling check``: every line of a jobs file, what is wrong with it, and what all jobs cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.catalog import endpoint_of
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.formats import counted, units_by_pool
from kling_async.cli.jobs import JobsFile, line_problems, print_errors
from kling_async.cli.output import Column, Output
from kling_async.orchestrator.bodies import check_media_here
from kling_async.prices import estimate
from kling_async.wire.checks import check

if TYPE_CHECKING:
    import argparse

    from kling_async.errors import LineInvalid
    from kling_async.wire.requests import TaskRequest

__all__ = ["run_check"]


def run_check(options: argparse.Namespace) -> int:
    """Check a file; return the exit status."""
    jobs, output, costs = JobsFile(options), Output(json_lines=options.json), _Costs()
    bad, named_files = 0, False

    def on_bad(error: LineInvalid) -> None:
        nonlocal bad, named_files
        bad += 1
        if output.json_lines:
            for field, text in line_problems(error):
                output.record({"line": error.line, "key": error.key, "field": field, "problem": text})
        else:
            named_files = print_errors(output.line, (error,)) or named_files

    for line in jobs.reader(_check_all, on_bad).lines():
        costs.add(line.request)
    if output.json_lines:
        output.record({"jobs": costs.jobs, "wrong": bad, **costs.to_dict()})
    else:
        if named_files:
            output.say(jobs.about_files())
        costs.print(output)
        output.line(counted(costs.jobs, "right job") + (f", {counted(bad, 'wrong line')}" if bad else ""))
    return ExitCode.USAGE if bad else ExitCode.DONE


def _check_all(request: TaskRequest[Any]) -> None:
    """Check a request as a submit does, the beginnings of its files included.

    Raises:
        RequestInvalid: It is wrong.
    """
    check(request)
    check_media_here(request)


class _Costs:
    """Adds up what jobs cost, by endpoint and model."""

    def __init__(self) -> None:
        self.jobs = 0
        self._lines: dict[tuple[str, str, str], tuple[int, float]] = {}
        self._unknown: dict[str, int] = {}
        self._usd = 0.0

    def add(self, request: TaskRequest[Any]) -> None:
        """Add a job."""
        self.jobs += 1
        price = estimate(request)
        model = str(getattr(request, "model_name", None) or "")
        at = endpoint_of(request).name, model, price.pool
        count, units = self._lines.get(at, (0, 0.0))
        self._lines[at] = count + 1, round(units + (price.units or 0.0), 6)
        self._usd += price.usd or 0.0
        if price.units is None:
            self._unknown[price.why] = self._unknown.get(price.why, 0) + 1

    def _units(self) -> dict[str, float]:
        units: dict[str, float] = {}
        for (_, _, pool), (_, some) in self._lines.items():
            units[pool] = round(units.get(pool, 0.0) + some, 6)
        return {pool: some for pool, some in sorted(units.items()) if some}

    def to_dict(self) -> dict[str, Any]:
        """Return the sums in JSON types."""
        return {"units": self._units(), "usd": round(self._usd, 4), "unknown": self._unknown}

    def print(self, output: Output) -> None:
        """Print a table by endpoint and model, and the sums."""
        rows = [
            (endpoint, model, str(count), f"{units:.10g}", pool)
            for (endpoint, model, pool), (count, units) in sorted(self._lines.items())
        ]
        if rows:
            numbers = [Column("jobs", right=True), Column("units", right=True)]
            output.table([Column("endpoint"), Column("model"), *numbers, Column("pool")], rows)
        if units := self._units():
            output.line(f"{units_by_pool(units)} (${self._usd:.2f} at the list price)")
        for why, count in self._unknown.items():
            output.line(f"{count} without a known price: {why}")
