"""Run ``kling wait``, ``kling get`` and ``kling download``: tasks by their ids."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Any

from kling_async.catalog import TASKS
from kling_async.cli.arguments import (
    add_account_arguments,
    add_json_argument,
    add_progress_argument,
    add_storing_arguments,
    seconds_above_0,
)
from kling_async.cli.exit_codes import ExitCode, explain
from kling_async.cli.formats import clock, moment, status_word
from kling_async.cli.output import Column, Output
from kling_async.cli.waiting import finish, worst
from kling_async.cli.watching import reference_to
from kling_async.errors import KlingError, Problem, RequestInvalid
from kling_async.redaction import without_query
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kling_async.cli.commands import LazyParser
    from kling_async.client import Client
    from kling_async.records import TaskRecord
    from kling_async.tasks import Task

__all__ = [
    "add_download_arguments",
    "add_get_arguments",
    "add_wait_arguments",
    "run_download",
    "run_get",
    "run_wait",
]

_TASKS_HELP = (
    "ENDPOINT:ID as kling create prints it; or an ID alone, which an API key finds. An id of digits alone is "
    "the vendor's, any other one yours (external_task_id)."
)


def _add_tasks(parser: LazyParser) -> None:
    parser.add_argument("tasks", nargs="+", metavar="TASK", help=_TASKS_HELP)


def _add_waiting(parser: LazyParser, *, out: str) -> None:
    """Add what commands have that wait for tasks; ``out`` says what --out is for."""
    _add_tasks(parser)
    parser.add_argument("--timeout", type=seconds_above_0, metavar="SECONDS", help="wait at most so long")
    add_storing_arguments(parser, out=out)
    add_progress_argument(parser)
    add_json_argument(parser)
    add_account_arguments(parser)


def add_wait_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling wait``."""
    parser.description = "Wait until tasks have ended; print how, a line each as they come."
    _add_waiting(parser, out="store their files there, too")


def add_get_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling get``."""
    parser.description = (
        "Show what the vendor knows of tasks now. Addresses of files are cut, because whoever has a whole "
        "one can fetch the file; --urls and --json print them whole."
    )
    _add_tasks(parser)
    parser.add_argument("--urls", action="store_true", help="print only the files' addresses, whole")
    add_json_argument(parser)
    add_account_arguments(parser)


def add_download_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling download``."""
    parser.description = (
        "Store the files of tasks and print their paths; waits for tasks that still run. Files that are "
        "there already are not fetched again."
    )
    _add_waiting(parser, out="where they go (default: this folder)")


async def run_wait(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Wait for tasks."""
    return await finish(output, await _attached(client, options, output), options)


async def run_download(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Store the files of tasks."""
    options.out = options.out if options.out is not None else "."
    return await run_wait(options, client, output)


# --- from ids to tasks


async def _attached(client: Client, options: argparse.Namespace, output: Output) -> list[Task[Any]]:
    """Return the tasks that the arguments name, each once.

    Raises:
        RequestInvalid: An endpoint or an id cannot be right; nothing was sent.
        KlingError: A bare id was not found.
    """
    if options.emulator:
        output.say("the emulator of a command begins without tasks; see: kling help emulator")
    parsed = [_parsed(text) for text in dict.fromkeys(options.tasks)]
    tasks = []
    for kind, name in parsed:
        if kind is None:
            tasks.append(await client.find(name))
        elif name.isdecimal():
            tasks.append(client.attach(kind, task_id=name))
        else:
            tasks.append(client.attach(kind, external_task_id=name))
    return tasks


def _parsed(text: str) -> tuple[Any, str]:
    """Return the type of requests and the id that an argument names; None for the type of a bare id."""
    endpoint, colon, name = text.rpartition(":")
    if not colon:
        return None, name
    row = next((row for row in TASKS if row.name == endpoint), None)
    if row is not None and not name:
        raise RequestInvalid("TASK", [Problem(text, "write ENDPOINT:ID; the ID is missing")])
    if row is None:
        known = [row.name for row in TASKS]
        close = difflib.get_close_matches(endpoint, known, n=1)
        hint = f"did you mean {close[0]}:{name}?" if close else "kling create --help lists the endpoints"
        raise RequestInvalid("TASK", [Problem(text, f"write ENDPOINT:ID; {hint}")])
    return row.request, name


# --- looking


async def run_get(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Show what is known of tasks."""
    tasks = await _attached(client, options, output)
    errors = await asyncio.gather(*map(_refreshed, tasks))
    codes = []
    for task, error in zip(tasks, errors, strict=True):
        code, text = (ExitCode.DONE, "") if error is None else explain(error)
        codes.append(code)
        if error is not None:
            output.say(f"{reference_to(task)}  {text}")
    known = [task for task, error in zip(tasks, errors, strict=True) if error is None]
    if output.json_lines:
        for task in known:
            output.record({} if task.record is None else task.record.to_dict())
    elif options.urls:
        for task in known:
            for url in _addresses(task):
                output.line(url)
    elif len(known) == 1:
        _print_one(output, known[0])
    elif known:
        _print_many(output, known)
    return worst(codes)


async def _refreshed(task: Task[Any]) -> KlingError | None:
    try:
        await task.refresh()
    except KlingError as error:
        return error
    return None


def _addresses(task: Task[Any]) -> list[str]:
    """Return the whole addresses of a task's files."""
    return [file.url for file in task.result.files()] if isinstance(task.result, Result) else []


def _print_one(output: Output, task: Task[Any]) -> None:
    record = task.record
    assert record is not None  # noqa: S101 - it was just refreshed
    output.line(reference_to(task))
    for name, value in _facts(task, record):
        if value:
            output.line(f"  {name:<10}{value}")


def _facts(task: Task[Any], record: TaskRecord) -> list[tuple[str, str]]:
    took = (record.updated_at - record.created_at) / 1000 if task.done else 0
    return [
        ("status", status_word(record.status)),
        ("reason", record.message),
        ("your id", record.external_task_id or ""),
        ("created", moment(record.created_at)),
        ("took", clock(took) if took > 0 else ""),
        ("units", record.units or ""),
        *(("file", without_query(url)) for url in _addresses(task)),
    ]


def _print_many(output: Output, tasks: Sequence[Task[Any]]) -> None:
    columns = [
        Column("task"),
        Column("status"),
        Column("created"),
        Column("units", right=True),
        Column("files", right=True),
        Column("reason", wide=True),
    ]
    rows = []
    for task in tasks:
        if (record := task.record) is not None:
            counted = str(len(_addresses(task))) if task.done else ""
            about = (
                status_word(record.status),
                moment(record.created_at),
                record.units or "",
                counted,
                record.message,
            )
            rows.append((reference_to(task), *about))
    output.table(columns, rows)
