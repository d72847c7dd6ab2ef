"""Journals for people and for programs: a summary of all jobs, and one row for each job."""

from __future__ import annotations

import base64
import csv
import json
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TextIO

from kling_async.batch.entry import JobState, pack, spent_on
from kling_async.batch.exported import EXPORT_VERSION
from kling_async.cli.formats import counted
from kling_async.cli.output import Column

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from kling_async.batch.entry import Entry, Failure
    from kling_async.batch.journal_view import JournalView
    from kling_async.cli.output import Output

__all__ = ["CsvRows", "JournalSummary", "job_row", "print_summary", "state_of_job"]

_SHOWN: Final = 20
"""Most unfinished jobs that are shown; the export has all."""
_STATES: Final = {
    JobState.CREATED: "running",
    JobState.SUCCEEDED: "files to fetch",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
}


def state_of_job(entry: Entry) -> str:
    """Return how far a job has come, in words."""
    if entry.missing:
        return "missing"
    if entry.state is JobState.PLANNED:
        return "not sent" if entry.times.planned is None else "in doubt"
    return _STATES[entry.state]


# -- one row for each job


def job_row(view: JournalView, entry: Entry, request: dict[str, Any] | None) -> dict[str, Any]:
    """Return all that a journal knows of a job in JSON types: enough to go on with it elsewhere.

    Args:
        view: The journal.
        entry: The job's.
        request: What it asks for, in JSON types, if the input is at hand.
    """
    times, error = entry.times, entry.error
    return {
        "journal": view.id,  # first: by this `kling fleet submit` knows what it is given
        "identity": entry.identity,
        **_facts(entry),
        "attempt": entry.attempt,
        "label": entry.label,
        "pool": entry.pool,
        "units": spent_on(entry),
        "reserved": entry.reserved,
        "files": [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in entry.files or ()],
        "error": None if error is None else {"kind": error.kind, "message": error.message, **error.facts},
        "planned": times.planned,
        "created": times.created,
        "ended": times.ended,
        "done": times.done,
        "account": entry.account,
        "path": str(view.path),
        "host": socket.gethostname(),
        "moved": None if view.moved is None else view.moved._asdict(),
        "version": EXPORT_VERSION,
        "entry": base64.b64encode(pack(entry)).decode(),
        "request": request,
    }


class CsvRows:
    """Writes rows as CSV, with a header; lists and objects as JSON.

    Args:
        stream: Written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._begun = False

    def write(self, row: dict[str, Any]) -> None:
        """Write one row."""
        if not self._begun:
            self._begun = True
            self._writer.writerow(row)
        self._writer.writerow(_cell(value) for value in row.values())


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return "" if value is None else value


# -- all jobs together


class JournalSummary:
    """Counts, units and unfinished jobs of a journal.

    Args:
        view: Of the journal.
    """

    def __init__(self, view: JournalView) -> None:
        self.path = str(view.path)
        self.moved = view.moved
        self.states: Counter[str] = Counter()
        self.units: dict[tuple[str, str], float] = {}
        """Units spent, by label and pool."""
        self.reserved: dict[str, float] = {}
        """Units of tasks whose end was not seen, by pool."""
        self.failures: Counter[str] = Counter()
        self.unfinished: list[dict[str, Any]] = []
        self.unclaimed: list[dict[str, Any]] | None = None
        """Jobs that the input does not name; None: there was no input to compare with."""
        self.new = 0
        """Jobs of the input that the journal does not know."""
        for entry in view.entries():
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.states[state_of_job(entry)] += 1
        if spent := spent_on(entry):
            at = entry.label, entry.pool
            self.units[at] = round(self.units.get(at, 0.0) + spent, 6)
        if entry.error is not None:
            self.failures[_reason(entry.error)] += 1
        if not entry.ended or entry.state is JobState.SUCCEEDED:
            self.unfinished.append(_facts(entry))
        if entry.reserved and not entry.ended:
            self.reserved[entry.pool] = round(self.reserved.get(entry.pool, 0.0) + entry.reserved, 6)

    def compare(self, view: JournalView, named: AbstractSet[str]) -> None:
        """Note the jobs that an input does not name, and those of it that the journal does not know."""
        self.unclaimed = [_facts(entry) for entry in view.entries() if entry.identity not in named]
        self.new = len(named) - (sum(self.states.values()) - len(self.unclaimed))

    def to_dict(self) -> dict[str, Any]:
        """Return all as one object."""
        return {
            "journal": self.path,
            "jobs": sum(self.states.values()),
            "states": dict(self.states),
            "units": [
                {"label": label, "pool": pool, "units": units}
                for (label, pool), units in sorted(self.units.items())
            ],
            "reserved": self.reserved,
            "failures": dict(self.failures.most_common()),
            "unfinished": self.unfinished,
            "unclaimed": self.unclaimed,
            "new": None if self.unclaimed is None else self.new,
            "moved": None if self.moved is None else self.moved._asdict(),
        }


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "position": entry.position,
        "endpoint": entry.endpoint,
        "state": state_of_job(entry),
        "task_id": entry.task_id,
        "external_task_id": entry.external_task_id,
    }


def _reason(error: Failure) -> str:
    code = error.facts.get("code")
    return error.kind if code is None else f"{error.kind} (code {code})"


def print_summary(output: Output, summary: JournalSummary) -> None:
    """Print a summary."""
    if output.json_lines:
        output.record(summary.to_dict())
        return
    if summary.moved is not None:
        output.line(str(summary.moved))
    states = ", ".join(f"{count} {state}" for state, count in summary.states.most_common())
    output.line(f"{counted(sum(summary.states.values()), 'job')}{': ' if states else ''}{states}")
    for (label, pool), units in sorted(summary.units.items()):
        output.line(f"  {units:.10g} {pool} units spent{f' for {label}' if label else ''}")
    for pool, units in sorted(summary.reserved.items()):
        output.line(f"  {units:.10g} {pool} units reserved for tasks that run")
    for reason, count in summary.failures.most_common():
        output.line(f"  {count} {reason}")
    _print_jobs(output, "unfinished", summary.unfinished)
    if summary.unclaimed is not None:
        _print_jobs(output, "not named by the jobs file", summary.unclaimed)
        output.line(f"not in the journal yet: {counted(summary.new, 'job')} of the file")


def _print_jobs(output: Output, title: str, jobs: list[dict[str, Any]]) -> None:
    if not jobs:
        return
    output.line(f"{len(jobs)} {title}:")
    rows = [
        (
            job["key"] or f"job {job['position']}",
            job["state"],
            f"{job['endpoint']}:{job['task_id'] or job['external_task_id']}",
        )
        for job in jobs[:_SHOWN]
    ]
    output.table([Column("job"), Column("state"), Column("task")], rows)
    if len(jobs) > _SHOWN:
        output.line(f"and {len(jobs) - _SHOWN} more: kling journal export has all")
