"""Run ``kling create`` and ``kling estimate``: one request from the command line."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from kling_async.catalog import TASKS
from kling_async.cli.arguments import (
    add_account_arguments,
    add_json_argument,
    add_progress_argument,
    add_storing_arguments,
    seconds_above_0,
)
from kling_async.cli.exit_codes import INTERRUPTED, ExitCode
from kling_async.cli.fields import add_field_arguments, by_option, request_of
from kling_async.cli.formats import price_words
from kling_async.cli.output import Output
from kling_async.cli.run_words import task_command
from kling_async.cli.waiting import finish
from kling_async.cli.watching import reference_to, watching
from kling_async.errors import RequestInvalid, TaskTimeout
from kling_async.prices import estimate
from kling_async.wire.describe import summary

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from kling_async.cli.commands import LazyParser
    from kling_async.client import Client
    from kling_async.options import SubmitOptions
    from kling_async.tasks import Task

__all__ = ["add_create_arguments", "add_estimate_arguments", "run_create", "run_estimate"]


def add_create_arguments(parser: LazyParser) -> None:
    """Add the endpoints of ``kling create``, each with the options of its fields."""
    parser.description = (
        "Create one task: checks the request, shows what it costs, waits for a free slot, and prints the "
        "task as ENDPOINT:ID. With --wait or --out it waits for the end, too."
    )
    _add_endpoints(parser, _add_create_options)


def add_estimate_arguments(parser: LazyParser) -> None:
    """Add the endpoints of ``kling estimate``: the same as of ``kling create``."""
    parser.description = "Show what a request costs; nothing is sent. Options are those of kling create."
    _add_endpoints(parser, _add_create_options)


def _add_endpoints(parser: LazyParser, add_options: Callable[[LazyParser], None]) -> None:
    endpoints = parser.add_subparsers(title="endpoints", dest="endpoint", required=True, metavar="ENDPOINT")
    for row in TASKS:
        text = summary(row.request)
        endpoints.add_parser(
            row.name,
            help=text.partition(":")[0].partition("\n")[0].rstrip("."),
            description=text.replace("``", ""),
            usage="%(prog)s [OPTION ...]",
            fill=functools.partial(_fill, add_options, row.name),
        )


def _fill(add_options: Callable[[LazyParser], None], endpoint: str, parser: LazyParser) -> None:
    add_field_arguments(parser, endpoint)
    add_options(parser)


def _add_create_options(parser: LazyParser) -> None:
    task = parser.add_argument_group("task")
    task.add_argument("--wait", action="store_true", help="wait until the task has ended")
    task.add_argument("--timeout", type=seconds_above_0, metavar="SECONDS", help="wait at most so long")
    add_storing_arguments(task, out="store its files there; waits for them")
    task.add_argument(
        "--external-task-id", metavar="ID", help="an id of your own, by which the task can be found"
    )
    task.add_argument(
        "--if-exists",
        choices=("error", "attach"),
        default="error",
        help="where that id has a task already: refuse (default), or take that task",
    )
    task.add_argument(
        "--callback-url", metavar="URL", help="address to which the vendor posts changes of status"
    )
    add_progress_argument(task)
    add_json_argument(task)
    add_account_arguments(parser)


async def run_create(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Create a task; wait for it if asked to."""
    request: Any = request_of(options, options.endpoint)
    try:
        client.check(request)
    except RequestInvalid as error:
        raise by_option(error) from None
    output.say(f"price: {price_words(client.estimate(request), terms=False)}")
    task = await client.enqueue(request, **_submit_options(options))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with watching(output, [task], [options.endpoint], options.progress):
            await task.accepted(options.timeout)
    except asyncio.CancelledError:
        return _take_back(output, task, options, "interrupted", INTERRUPTED)
    except TaskTimeout:
        return _take_back(output, task, options, f"no slot within {options.timeout:g} s", ExitCode.FAILED)
    if options.timeout is not None:
        options.timeout = max(0.001, options.timeout - (loop.time() - begun))
    if options.wait or options.out is not None:
        return await finish(output, [task], options)
    if output.json_lines:
        output.record(_shown(task))
    else:
        try:
            output.line(reference_to(task))
        finally:  # also where stdout is full or closed: the task is paid, and only its id finds it
            _say_how_to_go_on(output, reference_to(task), options)
    return ExitCode.DONE


def _submit_options(options: argparse.Namespace) -> SubmitOptions:
    given: SubmitOptions = {"if_exists": options.if_exists}
    if options.external_task_id is not None:
        given["external_task_id"] = options.external_task_id
    if options.callback_url is not None:
        given["callback_url"] = options.callback_url
    return given


def _take_back(output: Output, task: Task[Any], options: argparse.Namespace, why: str, status: int) -> int:
    """Take a submit back; where it is too late for that, say how to find its task."""
    if task.withdraw():
        output.say(f"{why}: it still queued, and was withdrawn; nothing was sent")
        return status
    output.say(f"{why}: its create was on its way, and the task may exist. To look:")
    name = f"{options.endpoint}:{task.external_task_id}"
    output.say(f"  {task_command('get', [name], options)}")
    return ExitCode.STOPPED


def _shown(task: Task[Any]) -> dict[str, Any]:
    return {} if task.record is None else task.record.to_dict()


def _say_how_to_go_on(output: Output, address: str, options: argparse.Namespace) -> None:
    if options.emulator:
        output.say("its emulator ends with this command: add --wait or --out DIR, or run: kling emulator")
        return
    for words, command in (
        ("wait for it", task_command("wait", [address], options)),
        ("look at it", task_command("get", [address], options)),
        ("fetch its files", task_command("download", [address], options, out="out")),
    ):
        output.say(f"  {words:<17}{command}")


def run_estimate(options: argparse.Namespace) -> int:
    """Show what a request costs."""
    output = Output(json_lines=options.json)
    price = estimate(request_of(options, options.endpoint))
    if output.json_lines:
        output.record({**price.to_dict(), "usd": price.usd})
    else:
        output.line(price_words(price))
    return ExitCode.DONE
