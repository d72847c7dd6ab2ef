"""Options of ``kling fleet``: jobs that run on many machines."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING, Final

from kling_async.cli.arguments import (
    add_account_arguments,
    add_json_argument,
    add_settings_file_arguments,
    count,
    port_number,
    positive,
    seconds_above_0,
)
from kling_async.cli.job_arguments import add_reading_arguments
from kling_async.fleet.submit_options import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.cli.commands import LazyParser

__all__ = ["FLEET_ACTIONS", "add_dsn_argument", "add_fleet_arguments"]


def add_fleet_arguments(parser: LazyParser) -> None:
    """Add the sub-commands of ``kling fleet``."""
    parser.description = (
        "Run jobs on many machines with one account: jobs lie in a PostgreSQL database, workers on each "
        "machine take them, and all share the account's slots (kling help fleet)."
    )
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (summary, fill) in FLEET_ACTIONS.items():
        parsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", fill=fill)


def add_dsn_argument(parser: LazyParser) -> None:
    """Add the option that names the database."""
    parser.add_argument(
        "--dsn",
        metavar="DSN",
        help="the database, postgresql://user@host:5432/name (default: KLING_FLEET_DSN); a password belongs "
        "into PGPASSWORD or ~/.pgpass",
    )


def _add_common(parser: LazyParser) -> None:
    """Add the options of all commands but the worker's."""
    add_dsn_argument(parser)
    add_settings_file_arguments(parser)
    add_json_argument(parser)


def _add_submit(parser: LazyParser) -> None:
    parser.add_argument(
        "jobs",
        metavar="FILE",
        help="a file of JSON lines or CSV (kling help job-files), or what kling journal export prints; - for "
        "standard input",
    )
    parser.add_argument(
        "--batch",
        metavar="NAME",
        help="the name that the jobs are found by (default: the file's name without its ending)",
    )
    parser.add_argument(
        "--priority",
        type=_priority,
        default=0,
        metavar="N",
        help="jobs of higher priority go first (default: 0)",
    )
    parser.add_argument(
        "--label", default="", metavar="NAME", help="labels take turns within a priority (default: none)"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without the lines that are wrong")
    parser.add_argument(
        "--moved",
        action="store_true",
        help="of an export: its journal, on another machine, was marked by kling journal move",
    )
    add_reading_arguments(parser)
    _add_common(parser)


def _add_worker(parser: LazyParser) -> None:
    parser.add_argument(
        "--concurrency",
        type=positive,
        metavar="N",
        help="new jobs that this worker has at once, waiting for slots or running; those taken over from "
        "others come on top (default: twice the slots, at least 16)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="store the files here (default: only addresses are kept)"
    )
    parser.add_argument(
        "--retries", type=count, default=0, metavar="N", help="new tasks for one that failed (default: 0)"
    )
    parser.add_argument(
        "--grace",
        type=seconds_above_0,
        metavar="S",
        help="seconds to wait for running tasks after SIGTERM or Ctrl-C; another worker takes over what is "
        "left (default: until all have ended)",
    )
    add_dsn_argument(parser)
    add_json_argument(parser)
    add_account_arguments(parser)


def _add_status(parser: LazyParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show it until Ctrl-C, as it changes")
    _add_common(parser)


def _add_dashboard(parser: LazyParser) -> None:
    parser.add_argument(
        "--port", type=port_number, default=0, metavar="N", help="0 takes a free one (default: 0)"
    )
    _add_common(parser)


def _add_results(parser: LazyParser) -> None:
    _add_batch(parser)
    parser.add_argument("--follow", action="store_true", help="wait until all jobs have ended")
    parser.add_argument(
        "--after",
        type=count,
        default=0,
        metavar="N",
        help="go on after place N, as an earlier reading told",
    )
    parser.add_argument("--out", metavar="DIR", help="the workers' folder of files, as seen from here")
    _add_common(parser)


def _add_batch_action(parser: LazyParser) -> None:
    _add_batch(parser)
    _add_common(parser)


def _add_batch(parser: LazyParser) -> None:
    parser.add_argument("batch", metavar="BATCH", help="the batch's name")


def _priority(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (number := int(text)) in PRIORITIES:
            return number
    raise argparse.ArgumentTypeError(f"{text!r}: use a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}")


FLEET_ACTIONS: Final[dict[str, tuple[str, Callable[[LazyParser], object]]]] = {
    "init": ("make the tables, or bring them up to date; harmless to repeat", _add_common),
    "submit": ("write jobs, each once; workers make them", _add_submit),
    "worker": ("take jobs and run them until SIGTERM or Ctrl-C, which drain it", _add_worker),
    "status": ("show jobs, slots, workers, batches, rate and time left", _add_status),
    "results": ("print the outcomes of a batch, as its jobs end", _add_results),
    "retry": ("try the failed jobs of a batch again", _add_batch_action),
    "cancel-queued": ("take back the jobs of a batch of which nothing was sent", _add_batch_action),
    "dashboard": ("serve a page on this machine that shows the fleet as it works", _add_dashboard),
}
"""The sub-commands, in the order of the help."""
