"""Run ``kling run``: all jobs of a file through one account, checked before, journaled, stored, reported."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.display import make_display
from kling_async.cli.exit_codes import INTERRUPTED, ExitCode, explain
from kling_async.cli.formats import counted
from kling_async.cli.interrupts import Interrupts
from kling_async.cli.jobs import CountedJobs, JobsFile, check_whole, print_bad_lines, print_errors
from kling_async.cli.run_report import Failures, ending, print_plan, print_report
from kling_async.cli.run_words import go_on_command, look_command, retry_command
from kling_async.errors import KlingError, LineInvalid

if TYPE_CHECKING:
    import argparse

    from kling_async.batch.batch import Batch
    from kling_async.batch.outcomes import Outcome
    from kling_async.batch.source import Requests
    from kling_async.cli.jobs import Checked
    from kling_async.cli.output import Output
    from kling_async.client import Client

__all__ = ["run_jobs"]

_PATIENCE: Final = 2.0
"""Seconds that a file may be checked for before that is said."""
_FAILURES_SHOWN: Final = 20
"""Most failures that are shown while the batch runs; the report counts all."""


async def run_jobs(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Run the jobs; return the exit status."""
    jobs = JobsFile(options)
    limits = {pool: size for given in options.limit for pool, size in given.items()}
    if limits:
        client.set_limits(limits)
    checked = None
    if not jobs.is_stream:
        checked = await _checked(jobs, client, output)
        if checked.bad:
            print_bad_lines(output, jobs, checked)
            if not options.skip_bad:
                output.say(_refusal(jobs, checked))
                return ExitCode.USAGE
            output.say(f"kling: {counted(checked.bad, 'wrong line')} left out")
        if not checked.good:
            output.say(f"kling: {jobs.name} has no jobs")
            return ExitCode.FAILED if checked.bad else ExitCode.DONE
    run = _Run(options, client, output, jobs, checked)
    return await (run.plan() if options.dry_run else run.run())


async def _checked(jobs: JobsFile, client: Client, output: Output) -> Checked:
    """Check a whole file in a thread; cancelled, the thread ends at its next line."""
    stop = threading.Event()
    checking = asyncio.ensure_future(asyncio.to_thread(check_whole, jobs, client.check, stop))
    try:
        done, _ = await asyncio.wait([checking], timeout=_PATIENCE)
        if not done:
            output.say(f"checking {jobs.name} ...")
        return await checking
    finally:
        stop.set()


def _refusal(jobs: JobsFile, checked: Checked) -> str:
    wrong = counted(checked.bad, "wrong line")
    return (
        f"kling: {wrong} of {jobs.name}, {checked.good} right; nothing was made or paid."
        " Correct them, or go on without them by --skip-bad"
    )


class _Run:
    """One run of a jobs file.

    Args:
        options: Of the command.
        client: Of the account.
        output: Takes results and messages.
        jobs: The file.
        checked: What was found in it; None for a stream.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        client: Client,
        output: Output,
        jobs: JobsFile,
        checked: Checked | None,
    ) -> None:
        self._options = options
        self._client = client
        self._output = output
        self._jobs = jobs
        self._checked = checked
        self._display = make_display(_progress_mode(options), output)
        self._failures = Failures()
        self._loop = asyncio.get_running_loop()
        self._bad = 0 if checked is None else checked.bad
        self._files = 0
        self._interrupted = ""
        self._journal = _journal_of(options, jobs)

    def _batch(self) -> Batch[Any]:
        options, checked = self._options, self._checked
        keyed = checked is not None and checked.all_keyed
        return self._client.batch(
            self._requests(),
            journal=self._journal,
            download_to=options.out,
            name=options.name or ("{key}" if keyed else "{index}-{task_id}"),
            max_units=options.max_units,
            retries=options.retries,
            retry_failed=options.retry_failed,
            order=options.order,
            progress=self._display.show,
            signals=False,
        )

    def _requests(self) -> Requests[Any]:
        # the reader works in a thread of the batch's
        on_bad = self._skip_bad if self._options.skip_bad else None
        reader = self._jobs.reader(self._client.check, on_bad)
        return reader if self._checked is None else CountedJobs(reader, self._checked.good)

    def _skip_bad(self, error: LineInvalid) -> None:
        """Leave out a wrong line of a stream; those of a file were shown before."""
        if self._checked is None:
            self._bad += 1
            self._loop.call_soon_threadsafe(print_errors, self._display.say, (error,))

    async def plan(self) -> int:
        """Show what the run would make; return the exit status."""
        plan = await self._batch().dry_run()
        print_plan(self._output, plan)
        return ExitCode.FAILED if plan.refused or self._bad else ExitCode.DONE

    async def run(self) -> int:
        """Run the batch; return the exit status."""
        batch = self._batch()
        error: KlingError | OSError | None = None
        try:
            with Interrupts(self._on_interrupt(batch)):
                async with batch as results:
                    try:
                        async for outcome in results:
                            self._take(outcome)
                    except BrokenPipeError:
                        raise
                    except (KlingError, OSError) as ended:  # of the input, the account, the journal
                        error = ended
        except BrokenPipeError:  # the reader of --json has gone; what runs is in the journal
            self._display.close()
            self._say_how_to_go_on()
            raise
        finally:
            self._display.close()
        if error is not None:
            self._tell(error)
        return self._report(batch, error)

    def _tell(self, error: KlingError | OSError) -> None:
        """Say why the batch has ended early."""
        if isinstance(error, LineInvalid):
            print_errors(self._output.say, (error,))
            self._output.say("kling: nothing of the input was read after this line; --skip-bad goes on")
        elif error is not self._failures.latest:  # else it was told as the failure of a job
            self._output.say(f"kling: {explain(error).text}")

    def _report(self, batch: Batch[Any], error: Exception | None) -> int:
        """Print the report and how to go on; return the exit code."""
        report, wrong = batch.report, isinstance(error, LineInvalid)
        progress = batch.progress()
        left = progress.total is None or progress.queued + report.running > 0
        code = ending(report, bad=self._bad, wrong=wrong, interrupted=bool(self._interrupted) and left)
        print_report(
            self._output,
            report,
            self._failures,
            files=self._files,
            folder=self._options.out,
            look=look_command(self._options, self._journal),
        )
        resumes = self._journal is not None
        if code is ExitCode.STOPPED and self._interrupted and not resumes:  # that was said when it came
            return INTERRUPTED
        if code in (ExitCode.STOPPED, ExitCode.ACCOUNT) or (wrong and resumes):
            self._say_how_to_go_on()
        elif report.failed and resumes:
            retry = retry_command(self._options, self._journal)
            self._display.say(f"To try the failed ones again: {retry}", command=True)
        return code

    def _take(self, outcome: Outcome[Any]) -> None:
        self._files += len(outcome.files)
        if self._output.json_lines:
            self._output.record({"endpoint": outcome.request.endpoint_name, **outcome.row()})
        if outcome.error is not None and self._failures.add(outcome) <= _FAILURES_SHOWN:
            name = outcome.key if outcome.key is not None else f"job {outcome.position}"
            self._display.say(f"failed  {name}: {outcome.error}")

    def _on_interrupt(self, batch: Batch[Any]) -> Any:
        def stop(signal: str) -> None:
            self._interrupted = signal
            batch.stop()
            running = batch.progress().running
            tasks = f"{counted(running, 'running task')} {'is' if running == 1 else 'are'} waited for"
            self._display.say(
                f"Stopping: {tasks if running else 'nothing runs'}. Ctrl-C again leaves at once."
            )
            self._say_how_to_go_on()

        return lambda signal: self._loop.call_soon_threadsafe(stop, signal)

    def _say_how_to_go_on(self) -> None:
        if self._journal is not None:
            command = go_on_command(self._options, self._journal)
            self._display.say(f"To go on: {command}", command=True)
        elif self._options.emulator:
            self._display.say("Nothing is left to go on with: the emulator ends with this command.")
        else:
            self._display.say("This run cannot be resumed: it has no journal. Next time give --journal FILE.")


def _progress_mode(options: argparse.Namespace) -> str:
    """Return how progress is shown; what is typed line by line would mix with a block that is redrawn."""
    typed = options.jobs == "-" and options.progress == "auto" and sys.stdin.isatty()
    return "plain" if typed else str(options.progress)


def _journal_of(options: argparse.Namespace, jobs: JobsFile) -> Path | None:
    """Return the journal's path; None: none is kept."""
    if options.journal is not None:
        return Path(options.journal)
    if jobs.is_stream or options.emulator:  # tasks of an emulator of its own end with it
        return None
    return Path(f"{jobs.name}.journal.sqlite")
