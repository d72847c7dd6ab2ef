"""Submit what ``kling journal export`` printed: the jobs of a journal move into a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from kling_async.batch.exported import EXPORT_START, StoredLines
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.fleet_database import new_fleet
from kling_async.cli.formats import counted
from kling_async.cli.jobs import print_errors
from kling_async.errors import LineInvalid, Problem, RequestInvalid

if TYPE_CHECKING:
    import argparse

    from kling_async.cli.jobs import JobsFile
    from kling_async.cli.output import Output
    from kling_async.fleet.submit import Submitted

__all__ = ["is_export", "print_submitted", "submit_export"]


def is_export(jobs: JobsFile) -> bool:
    """Tell whether the input of a submit is an export of a journal, by its first bytes."""
    if jobs.name == "-":
        return _peek(sys.stdin.buffer, len(EXPORT_START)) == EXPORT_START
    if jobs.is_stream:
        return False
    with Path(jobs.name).open("rb") as file:
        return file.read(len(EXPORT_START)) == EXPORT_START


def _peek(stream: BinaryIO, size: int) -> bytes:
    """Return the first bytes of a stream, which are read again later."""
    peek = getattr(stream, "peek", None)
    if peek is not None:
        return bytes(peek(size)[:size])
    found = stream.read(size)
    stream.seek(-len(found), 1)
    return found


async def submit_export(options: argparse.Namespace, output: Output, jobs: JobsFile) -> int:
    """Mark the journal as moved, then write its jobs; return the exit status."""
    from kling_async.fleet.moving import read_movable  # noqa: PLC0415 - an extra

    if options.label:
        text = "exported jobs keep the labels that they have"
        raise RequestInvalid("kling fleet submit", [Problem("--label", text)])
    with contextlib.ExitStack() as stack:
        async with new_fleet(options, output) as fleet:
            # whole, so that whoever prints it has closed the journal before that is marked
            file = stack.enter_context(await asyncio.to_thread(_stored, jobs))
            try:
                exported = stack.enter_context(
                    await asyncio.to_thread(
                        read_movable, StoredLines(file), source=jobs.name, files=jobs.folder
                    )
                )
            except LineInvalid as error:
                if print_errors(output.say, [error]):
                    output.say(f"{jobs.about_files()}; or export them with --jobs FILE --with-files")
                output.say("kling: nothing was moved")
                return ExitCode.USAGE
            made = await fleet.submit_exported(
                exported, batch=options.batch, priority=options.priority, moved=options.moved
            )
    print_submitted(output, made, 0)
    if not output.json_lines and not options.moved:
        output.say(f"{exported.path} is marked as moved: kling run refuses its jobs from now on")
    return ExitCode.DONE


def _stored(jobs: JobsFile) -> BinaryIO:
    """Return an input as a file that can be read again; a stream is copied to the disk."""
    if jobs.name != "-":
        return Path(jobs.name).open("rb")
    with contextlib.ExitStack() as on_error:
        file = on_error.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(sys.stdin.buffer, file)
        on_error.pop_all()
    return cast("BinaryIO", file)


def print_submitted(output: Output, made: Submitted, bad: int) -> None:
    """Print what a submit has written."""
    if output.json_lines:
        output.record({**made.to_dict(), "bad": bad})
        return
    known = f", {made.known} known already" if made.known else ""
    output.line(f"{made.name}: {counted(made.new, 'new job')}{known}")
    output.say(f"to see them: kling fleet status; to have the results: kling fleet results {made.name}")
