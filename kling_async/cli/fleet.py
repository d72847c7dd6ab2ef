"""Run ``kling fleet``: write jobs into the database, read their outcomes, try again, take back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.commands import load_function
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.fleet_database import new_fleet
from kling_async.cli.fleet_export import is_export, print_submitted, submit_export
from kling_async.cli.formats import counted
from kling_async.cli.jobs import JobsFile, bad_line_texts, check_whole, print_bad_lines
from kling_async.cli.output import Output
from kling_async.errors import LineInvalid, Problem, RequestInvalid
from kling_async.fleet.submit_options import batch_name_of
from kling_async.wire.checks import check

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterator

    from kling_async.batch.outcomes import Outcome

__all__ = ["run_fleet"]


async def run_fleet(options: argparse.Namespace) -> int:
    """Run one of the actions; return the exit status."""
    run: Callable[[argparse.Namespace, Output], Awaitable[int]] = load_function(_ACTIONS[options.action])
    # their lines, about each job and each broken connection, are no news for people
    with (
        contextlib.nullcontext()
        if options.debug
        else _quiet(logging.getLogger("procrastinate"), logging.getLogger("psycopg"))
    ):
        return await run(options, Output(json_lines=options.json))


@contextlib.contextmanager
def _quiet(*logs: logging.Logger) -> Iterator[None]:
    """Keep the lines of some logs from the terminal."""
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


_ACTIONS: Final = {
    "init": "fleet:fleet_init",
    "submit": "fleet:fleet_submit",
    "worker": "fleet_worker:fleet_worker",
    "status": "fleet_status:fleet_status",
    "results": "fleet:fleet_results",
    "retry": "fleet:fleet_retry",
    "cancel-queued": "fleet:fleet_cancel_queued",
    "dashboard": "fleet_dashboard:fleet_dashboard",
}
"""The functions of the actions, which are loaded when they are run."""


async def fleet_init(options: argparse.Namespace, output: Output) -> int:
    """Make the tables."""
    fleet = new_fleet(options, output)
    before, after = await fleet.init()
    if output.json_lines:
        output.record({"before": before.tables, "after": after.tables, "procrastinate": after.procrastinate})
    elif before == after:
        output.line(f"{fleet!r}: the tables are up to date, version {after.tables}")
    else:
        how = f"brought from version {before.tables} to {after.tables}" if before.tables else "made"
        output.line(f"{fleet!r}: tables {how}, version {after.tables}")
    return ExitCode.DONE


# -- submit


async def fleet_submit(options: argparse.Namespace, output: Output) -> int:
    """Write the jobs of a file; each line is checked before anything is written, a stream's as it comes."""
    jobs = JobsFile(options)
    if is_export(jobs):
        return await submit_export(options, output, jobs)
    bad = 0
    async with new_fleet(options, output) as fleet:
        if not jobs.is_stream:
            checked = await asyncio.to_thread(check_whole, jobs, check, threading.Event())
            if checked.bad:
                print_bad_lines(output, jobs, checked)
                if not options.skip_bad:
                    wrong = counted(checked.bad, "wrong line")
                    output.say(
                        f"kling: {wrong} of {jobs.name}; nothing was submitted, --skip-bad leaves them out"
                    )
                    return ExitCode.USAGE
            bad = checked.bad

        def skip(error: LineInvalid) -> None:
            nonlocal bad
            if jobs.is_stream:  # those of a file were shown before
                bad += 1
                for text in bad_line_texts(error):
                    output.say(text)

        reader = jobs.reader(check, skip if options.skip_bad else None)
        name = options.batch or _batch_name(jobs)
        made = await fleet.submit(reader, batch=name, priority=options.priority, label=options.label)
    print_submitted(output, made, bad)
    return ExitCode.FAILED if bad else ExitCode.DONE


def _batch_name(jobs: JobsFile) -> str:
    if jobs.name == "-":
        raise RequestInvalid("kling fleet submit", [Problem("--batch", "is needed for standard input")])
    return batch_name_of(jobs.name)


# -- results


async def fleet_results(options: argparse.Namespace, output: Output) -> int:
    """Print the outcomes of a batch."""
    done = failed = 0
    async with new_fleet(options, output) as fleet:
        reading = fleet.results(options.batch, follow=options.follow, after=options.after, folder=options.out)
        async with contextlib.aclosing(reading):
            async for outcome in reading:
                done += outcome.ok
                failed += not outcome.ok
                _print_outcome(output, outcome, reading.place)
    if done + failed:
        output.say(f"{options.batch}: {done} done, {failed} failed; to go on: --after {reading.place}")
    else:
        output.say(f"{options.batch}: none")
    return ExitCode.FAILED if failed else ExitCode.DONE


def _print_outcome(output: Output, outcome: Outcome[Any], place: int) -> None:
    addresses = [file.url for file in outcome.result.files()] if outcome.result is not None else []
    if output.json_lines:
        record = outcome.record
        ids = {"task_id": None if record is None else record.task_id, "urls": addresses, "place": place}
        output.record({"endpoint": outcome.request.endpoint_name, **outcome.row(), **ids})
        return
    name = outcome.key if outcome.key is not None else f"job {outcome.position}"
    if outcome.error is not None:
        output.line(f"failed  {name}: {outcome.error}")
    else:
        output.line(
            "  ".join([f"done    {name}", *(map(str, outcome.files) if outcome.files else addresses)])
        )


# -- again


async def fleet_retry(options: argparse.Namespace, output: Output) -> int:
    """Try the failed jobs of a batch again."""
    async with new_fleet(options, output) as fleet:
        made = await fleet.retry(options.batch)
    if output.json_lines:
        output.record(made.to_dict())
    else:
        kept = f"; {made.kept} left as they are: their tasks were paid, or their requests are not at hand"
        output.line(
            f"{options.batch}: {counted(made.retried, 'job')} queued again{kept if made.kept else ''}"
        )
    return ExitCode.DONE


async def fleet_cancel_queued(options: argparse.Namespace, output: Output) -> int:
    """Take back the jobs of a batch of which nothing was sent."""
    async with new_fleet(options, output) as fleet:
        made = await fleet.cancel_queued(options.batch)
    if output.json_lines:
        output.record(made.to_dict())
    else:
        sent = f"; {counted(made.sent, 'job')} sent before go on" if made.sent else ""
        output.line(f"{options.batch}: {counted(made.cancelled, 'job')} taken back{sent}")
    return ExitCode.DONE
