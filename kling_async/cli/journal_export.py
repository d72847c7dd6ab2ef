"""Run ``kling journal export``: a row for each job, for people, for programs, and for a fleet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from kling_async.batch.counter import SpillCounter
from kling_async.batch.journal_match import entry_of_new_job, named_jobs
from kling_async.batch.journal_view import JournalView
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.formats import counted
from kling_async.cli.jobs import JobsFile
from kling_async.cli.journal_rows import CsvRows, job_row
from kling_async.cli.output import Output
from kling_async.errors import RequestInvalid
from kling_async.orchestrator.bodies import embed_files
from kling_async.wire.checks import check

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncGenerator, Callable

    from kling_async.wire.requests import TaskRequest

__all__ = ["export_journal"]


async def export_journal(options: argparse.Namespace) -> int:
    """Print a row for each job; return the exit status."""
    output = Output(json_lines=True)
    jobs = None if options.jobs is None else _ExportedJobs(options)
    with JournalView(options.journal) as view:
        rows = _Rows(output.record if options.written == "jsonl" else CsvRows(output.stdout).write)
        if jobs is None:
            for entry in view.entries():
                rows.write(job_row(view, entry, None))
        else:
            async with contextlib.aclosing(jobs.rows(view)) as reading:
                async for row in reading:
                    rows.write(row)
        rows.end()
    if jobs is not None:
        jobs.tell(output)
    return ExitCode.DONE


class _Rows:
    """Writes rows, and in each whether it is the last one: an export that was cut short shows.

    Args:
        write: Writes one.
    """

    def __init__(self, write: Callable[[dict[str, Any]], object]) -> None:
        self._write = write
        self._row: dict[str, Any] | None = None

    def write(self, row: dict[str, Any]) -> None:
        """Write a row, as soon as the next one comes."""
        if self._row is not None:
            self._write({**self._row, "last": False})
        self._row = row

    def end(self) -> None:
        """Write the last row."""
        if self._row is not None:
            self._write({**self._row, "last": True})


class _ExportedJobs:
    """The jobs of a jobs file and of the journal together.

    Args:
        options: Of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._file = JobsFile(options)
        self._with_files: bool = options.with_files
        self._bad = 0
        self._unreadable = 0
        self._unwritten = 0

    async def rows(self, view: JournalView) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the jobs in the order of the file, then those of the journal that it does not name."""
        reader = self._file.reader(check, on_bad=lambda _: self._count_bad())
        with contextlib.closing(SpillCounter()) as named:
            jobs = named_jobs(view, reader, self._count_unreadable)
            async with contextlib.aclosing(jobs):
                async for job in jobs:
                    await named.count_before([bytes.fromhex(job.name)])
                    entry = view.entry(job.name) or entry_of_new_job(view, job)
                    yield job_row(view, entry, self._written(job.request))
            for entry in view.entries():
                (count,) = await named.count_before([bytes.fromhex(entry.identity)])
                if not count:
                    yield job_row(view, entry, None)

    def _written(self, request: TaskRequest[Any]) -> dict[str, Any] | None:
        """Return a request in JSON types; None: a file of it cannot be written so."""
        try:
            if self._with_files:
                return embed_files(request).to_dict()
            return request.to_dict(files=self._file.folder)
        except RequestInvalid:
            self._unwritten += 1
            return None

    def _count_bad(self) -> None:
        self._bad += 1

    def _count_unreadable(self) -> None:
        self._unreadable += 1

    def tell(self, output: Output) -> None:
        """Say what was left out."""
        if self._bad:
            output.say(
                f"kling: {counted(self._bad, 'wrong line')} of {self._file.name} left out; kling check"
                f" {self._file.name} shows all"
            )
        if self._unreadable:
            output.say(f"kling: {counted(self._unreadable, 'job')} left out: their files cannot be read")
        if self._unwritten:
            output.say(
                f"kling: {counted(self._unwritten, 'request')} left out: they have files; --with-files writes"
                " those"
            )
