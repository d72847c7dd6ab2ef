"""Options of the commands about jobs files and journals: ``run``, ``check``, ``journal``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from kling_async.cli.arguments import (
    add_account_arguments,
    add_json_argument,
    add_progress_argument,
    by_pool,
    count,
    positive,
)

if TYPE_CHECKING:
    from kling_async.cli.commands import LazyParser

__all__ = [
    "add_check_arguments",
    "add_journal_arguments",
    "add_reading_arguments",
    "add_run_arguments",
]

_JOBS: Final = "a file of JSON lines or CSV (kling help job-files); - for standard input"


def add_run_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling run``."""
    parser.description = (
        "Run all jobs of a file: as many at a time as the account's slots allow, each made once, its files "
        "stored. Every line is checked before anything is paid. A journal beside the file lets the same "
        "command go on after any end; nothing is made or paid twice."
    )
    parser.add_argument("jobs", metavar="FILE", help=_JOBS)
    _add_keeping(parser)
    _add_limits(parser)
    parser.add_argument(
        "--order",
        choices=("given", "longest"),
        default="given",
        help="longest: begin with the longest tasks, so that all end sooner (default: given)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show jobs, units and time; make and pay nothing"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without the lines that are wrong")
    add_reading_arguments(parser)
    add_progress_argument(parser)
    add_json_argument(parser)
    add_account_arguments(parser)


def _add_keeping(parser: LazyParser) -> None:
    """Add the options that tell what is kept of a run: files, and a journal."""
    parser.add_argument("--out", default="out", metavar="DIR", help="where the files go (default: out)")
    parser.add_argument(
        "--name",
        metavar="TEMPLATE",
        help="names of files, with {key}, {index}, {task_id}, {endpoint}, {n} or {name} (default: {key} "
        "where every job has one, else {index}-{task_id})",
    )
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="the file that notes how far each job has come (default: FILE.journal.sqlite; none for a stream "
        "and with --emulator)",
    )


def _add_limits(parser: LazyParser) -> None:
    """Add the options that tell how much is made: slots, units, new tasks for failed ones."""
    parser.add_argument(
        "--limit",
        type=_limits,
        action="append",
        default=[],
        metavar="POOL=N,...",
        help="slots to use, such as video=20 (default: by the account's packs)",
    )
    parser.add_argument(
        "--max-units",
        type=_units,
        metavar="N",
        help="spend at most N units of each pool, or video=N,image=N; all runs with the journal together",
    )
    parser.add_argument(
        "--retries", type=count, default=0, metavar="N", help="new tasks for one that failed (default: 0)"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try again what earlier runs wrote down as failed"
    )


def add_reading_arguments(parser: LazyParser) -> None:
    """Add the options that tell how a jobs file is read."""
    parser.add_argument(
        "--allow-files",
        metavar="DIR",
        help="lines may name files below this folder (default: that of the jobs file; none for a stream)",
    )
    parser.add_argument("--endpoint", metavar="NAME", help="the endpoint of lines that name none")
    parser.add_argument(
        "--format", choices=("jsonl", "csv"), help="default: by the name, .csv is CSV; else JSON lines"
    )


def add_check_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling check``."""
    parser.description = (
        "Check every line of a jobs file; name line, field and fix of what is wrong, then the totals and "
        "what the jobs cost. Nothing is sent, no key is needed."
    )
    parser.add_argument("jobs", metavar="FILE", help=_JOBS)
    add_reading_arguments(parser)
    add_json_argument(parser)


def add_journal_arguments(parser: LazyParser) -> None:
    """Add the sub-commands of ``kling journal``."""
    parser.description = "Look into the journal of kling run, also while a run writes it."
    parsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (summary, fill) in _ACTIONS.items():
        parsers.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", fill=fill)


def _add_show(parser: LazyParser) -> None:
    _add_journal(parser)
    _add_jobs(parser, "also count the jobs that this jobs file no longer names")
    add_json_argument(parser)


def _add_export(parser: LazyParser) -> None:
    _add_journal(parser)
    _add_jobs(
        parser, "add the requests, which only the jobs file holds, and the jobs that no run has begun yet"
    )
    parser.add_argument(
        "--with-files",
        action="store_true",
        help="write the files of requests as Base64, so that these can be sent from any machine",
    )
    parser.add_argument(
        "--as", dest="written", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl"
    )


def _add_verify(parser: LazyParser) -> None:
    _add_journal(parser)
    parser.add_argument(
        "--out", default="out", metavar="DIR", help="the folder of the stored files (default: out)"
    )
    add_json_argument(parser)


def _add_move(parser: LazyParser) -> None:
    _add_journal(parser)
    parser.add_argument("--to", metavar="TEXT", help="where to, for people (default: another machine)")
    parser.add_argument("--batch", metavar="NAME", help="the batch there (default: the journal's name)")
    parser.add_argument(
        "--back", action="store_true", help="take the mark back: the fleet will never get the jobs"
    )
    parser.add_argument("--yes", action="store_true", help="with --back: do not ask for confirmation")


def _add_journal(parser: LazyParser) -> None:
    parser.add_argument("journal", metavar="JOURNAL", help="the journal's file")


def _add_jobs(parser: LazyParser, words: str) -> None:
    parser.add_argument("--jobs", metavar="FILE", help=words)
    add_reading_arguments(parser)


_ACTIONS: Final = {
    "show": ("show counts, units, failures and unfinished jobs", _add_show),
    "export": ("print every job as a line, with ids, state and files (kling help export)", _add_export),
    "verify": ("check the journal and the stored files", _add_verify),
    "move": ("mark a journal as moved to a fleet, so that no run goes on with its jobs", _add_move),
    "compact": ("remove what is not needed any more from the journal", _add_journal),
}


def _limits(text: str) -> dict[str, int]:
    """Read slots by pool."""
    return by_pool(text, positive)


def _units(text: str) -> float | dict[str, float]:
    """Read units for each pool, or by pool."""
    try:
        if "=" not in text:
            return _amount(text)
        return by_pool(text, _amount)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: use a number of units, or video=N,image=N") from None


def _amount(text: str) -> float:
    amount = float(text)
    if not 0 <= amount < float("inf"):
        raise ValueError(text)
    return amount
