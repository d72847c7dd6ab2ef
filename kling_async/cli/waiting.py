"""Wait for tasks, store their files, and print how each one ended: for all commands that wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.cli.exit_codes import INTERRUPTED, ExitCode, explain
from kling_async.cli.formats import clock, status_word
from kling_async.cli.messages import printable
from kling_async.cli.run_words import task_command
from kling_async.cli.watching import reference_to, watching
from kling_async.errors import KlingError, TaskTimeout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from kling_async.cli.output import Output
    from kling_async.tasks import Task

__all__ = ["finish", "worst"]


class _End(NamedTuple):
    """The end of waiting for one task."""

    place: int
    task: Task[Any]
    error: KlingError | None
    files: Sequence[Path] = ()


async def finish(output: Output, tasks: Sequence[Task[Any]], options: argparse.Namespace) -> int:
    """Wait for tasks, store their files if ``out`` says where, and print how each one ended.

    Args:
        output: Takes the results and the progress.
        tasks: The tasks.
        options: With ``timeout``, ``out``, ``name``, ``watermarked``, ``sidecar`` and ``progress``.
    """
    codes = []
    names = [reference_to(task) for task in tasks]
    waits = [asyncio.ensure_future(_end(n, task, options)) for n, task in enumerate(tasks)]
    try:
        async with watching(output, tasks, names, options.progress) as display:
            for ended in asyncio.as_completed(waits):
                end = await ended
                display.finished.add(end.place)
                with display.paused():
                    codes.append(_print_end(output, end, options))
    except asyncio.CancelledError:
        return _go_on(output, tasks, options)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return worst(codes)


async def _end(place: int, task: Task[Any], options: argparse.Namespace) -> _End:
    try:
        await task.wait(options.timeout)
        if options.out is None:
            return _End(place, task, None)
        files = await task.download(
            options.out, name=options.name, watermarked=options.watermarked, sidecar=options.sidecar
        )
    except KlingError as error:
        return _End(place, task, error)
    return _End(place, task, None, files)


def worst(codes: Sequence[int]) -> ExitCode:
    """Return the exit code of several tasks: what the account refuses first, then what runs on."""
    for code in (ExitCode.ACCOUNT, ExitCode.USAGE, ExitCode.STOPPED, ExitCode.FAILED):
        if code in codes:
            return code
    return ExitCode.DONE


def _print_end(output: Output, end: _End, options: argparse.Namespace) -> ExitCode:
    """Print how one task ended; return its exit code."""
    _, task, error, files = end
    code, text = (ExitCode.DONE, "") if error is None else explain(error)
    if isinstance(error, TaskTimeout):
        text = _timeout_text(task, error, options)
    if output.json_lines:
        shown: dict[str, Any] = {} if task.record is None else task.record.to_dict()
        shown |= {"files": [str(path) for path in files]} if files else {}
        output.record(shown if error is None else {**shown, "error": text})
        return code
    for path in files:
        output.line(str(path))
    if isinstance(error, TaskTimeout):
        output.say(text)
    elif error is not None and task.status != "failed":
        output.say(f"{reference_to(task)}  {text}")
    elif not files:
        output.line(f"{reference_to(task)}  {_summary(task)}")
    return code


def _timeout_text(task: Task[Any], error: TaskTimeout, options: argparse.Namespace) -> str:
    """Return that a task has not ended in time, and how to wait for it again."""
    reference = reference_to(task)
    known = "had not ended after" if task.record is not None else "was not found within"
    runs_on = " and runs on" if task.record is not None else ""
    again = "" if options.emulator else f": {_command([reference], options)}"
    return f"{reference} {known} {error.timeout:g} s{runs_on}{again}"


def _command(references: Sequence[str], options: argparse.Namespace) -> str:
    return task_command("wait" if options.out is None else "download", references, options)


def _summary(task: Task[Any]) -> str:
    """Return how a task ended, in one line."""
    record = task.record
    if record is None:
        return status_word(task.status)
    words = [status_word(task.status)]
    if record.units:
        words.append(f"{record.units} units")
    if record.updated_at > record.created_at > 0:
        words.append(clock((record.updated_at - record.created_at) / 1000))
    if record.message and task.status == "failed":
        words.append(printable(record.message))
    return "  ".join(words)


def _go_on(output: Output, tasks: Sequence[Task[Any]], options: argparse.Namespace) -> int:
    """Say which tasks run on, and how to wait for them again."""
    left = [reference_to(task) for task in tasks if not task.done]
    if options.emulator:
        output.say("interrupted; the emulator and its tasks end with this command")
        return INTERRUPTED
    left = left or [reference_to(task) for task in tasks]
    output.say("interrupted; the tasks run on. To go on:")
    output.say(f"  {_command(left, options)}")
    return ExitCode.STOPPED
