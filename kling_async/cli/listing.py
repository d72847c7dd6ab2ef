"""Run ``kling list``: the newest tasks of an endpoint."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from kling_async.catalog import TASKS
from kling_async.cli.arguments import add_account_arguments, add_json_argument, positive
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.formats import length, time_span
from kling_async.cli.output import Column, Output

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.cli.commands import LazyParser
    from kling_async.client import Client
    from kling_async.records import TaskRecord

__all__ = ["add_list_arguments", "run_list"]

_PAGE: Final = 100
"""Most tasks that are asked for at once: the first lines should come soon."""
_LIMIT: Final = 30
_STATUSES: Final = ("submitted", "processing", "succeed", "failed")


def add_list_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling list``."""
    parser.description = "List the newest tasks of an endpoint, as the vendor has them."
    names = [row.name for row in TASKS]
    parser.add_argument("endpoint", metavar="ENDPOINT", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument(
        "--limit", type=positive, default=_LIMIT, metavar="N", help=f"at most N tasks (default: {_LIMIT})"
    )
    parser.add_argument(
        "--status",
        action="append",
        choices=_STATUSES,
        metavar="WORD",
        help="only those: submitted, processing, succeed, failed; repeatable",
    )
    parser.add_argument(
        "--since", type=_since, metavar="TIME", help="only those made since: 2h, 3d, or 2026-11-20"
    )
    add_json_argument(parser)
    add_account_arguments(parser)


def _since(text: str) -> dt.datetime:
    try:
        return time_span(text, dt.datetime.now(dt.UTC))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2h, 3d, or 2026-11-20") from None


async def run_list(options: argparse.Namespace, client: Client, output: Output) -> int:
    """List tasks."""
    records = [record async for record in _records(client, options)]
    if output.json_lines:
        for record in records:
            output.record(record.to_dict())
    elif records:
        _print_table(output, records)
    else:
        output.say(f"no tasks of {options.endpoint}{' that match' if _filters(options) else ''}")
    return ExitCode.DONE


def _filters(options: argparse.Namespace) -> bool:
    return bool(options.status or options.since)


async def _records(client: Client, options: argparse.Namespace) -> AsyncIterator[TaskRecord]:
    """Iterate over the records that match, newest first, until there are enough."""
    kind: Any = next(row.request for row in TASKS if row.name == options.endpoint)
    since = 0.0 if options.since is None else options.since.timestamp() * 1000
    left: int = options.limit
    size = min(_PAGE, left) if not options.status else _PAGE
    for page in range(1, 1001):
        records = await client.list(kind, page=page, page_size=size)
        for record in records:
            if 0 < record.created_at < since:  # they come newest first
                return
            if options.status and record.status not in options.status:
                continue
            yield record
            left -= 1
            if not left:
                return
        if len(records) < size:
            return


def _print_table(output: Output, records: list[TaskRecord]) -> None:
    """Print a table; columns that the vendor's answers leave empty are left out."""
    now = dt.datetime.now(dt.UTC)
    rows = [_row(record, now) for record in records]
    columns = (
        Column("task_id"),
        Column("status"),
        Column("age", right=True),
        Column("units", right=True),
        Column("external_task_id", wide=True),
        Column("prompt", wide=True),
        Column("message", wide=True),
    )
    used = [at for at in range(len(columns)) if at < 4 or any(row[at] for row in rows)]
    output.table([columns[at] for at in used], [[row[at] for at in used] for row in rows])


def _row(record: TaskRecord, now: dt.datetime) -> tuple[str, ...]:
    age = "-" if record.created is None else length((now - record.created).total_seconds())
    shown = (record.task_id, record.status, age, record.units or "", record.external_task_id or "")
    return (*shown, _prompt(record), record.message)


def _prompt(record: TaskRecord) -> str:
    """Return the prompt of a task; most answers do not show it."""
    raw = record.raw
    places = (raw, raw.get("task_info"), raw.get("input"))
    texts = (place.get("prompt") for place in places if isinstance(place, dict))
    return next((text for text in texts if isinstance(text, str)), "")
