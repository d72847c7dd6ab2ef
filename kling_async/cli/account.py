"""Run ``kling account``: the packs, limits and ledgers of the account."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Final, Literal

from kling_async.cli.arguments import add_account_arguments, add_json_argument
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.formats import length, moment, time_span
from kling_async.cli.output import Column, Output
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from kling_async.account import PoolState
    from kling_async.cli.commands import LazyParser
    from kling_async.client import Client
    from kling_async.v1 import BalanceDeduction, Pack, PackageDeduction

__all__ = ["add_account_command_arguments", "run_account"]

_SOURCES: Final = {
    "caller": "your setting",
    "packs": "the packs",
    "learned": "tasks that were accepted",
    "default": "a careful guess",
}
"""Where a limit comes from, in words."""


def add_account_command_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling account``."""
    parser.description = "Show the account: slots by pool, packs with the units left, and what tasks cost."
    parser.add_argument(
        "--ledger",
        choices=("packs", "balance"),
        help="list what each task took: units from packs, or money from the balance",
    )
    parser.add_argument(
        "--since", default="7d", metavar="TIME", help="begin of the ledger: 24h, 7d (default), 2026-11-01"
    )
    parser.add_argument("--all", action="store_true", help="show packs that have ended, too")
    add_json_argument(parser)
    add_account_arguments(parser)


async def run_account(options: argparse.Namespace, client: Client, output: Output) -> int:
    """Show the account: its pools and packs, or a ledger."""
    if options.ledger is not None:
        await _show_ledger(client, options, output)
        return ExitCode.DONE
    packs = (await client.account.costs()).packs
    limits = dict(sorted(client.account.limits().items()))
    shown = [pack for pack in packs if options.all or pack.status in ("online", "toBeOnline")]
    if output.json_lines:
        for name, pool in limits.items():
            output.record({"pool": name, **pool.to_dict()})
        for pack in shown:
            output.record({field: getattr(pack, field) for field in pack.__struct_fields__})
        return ExitCode.DONE
    _print_pools(output, limits)
    output.line()
    _print_packs(output, shown, hidden=len(packs) - len(shown))
    return ExitCode.DONE


def _print_pools(output: Output, limits: dict[str, PoolState]) -> None:
    columns = [
        Column("pool"),
        Column("limit", right=True),
        Column("held", right=True),
        Column("source", wide=True),
    ]
    rows = [
        (name, str(pool.limit), str(pool.held), _SOURCES.get(pool.source, pool.source))
        for name, pool in limits.items()
    ]
    output.table(columns, rows)


def _print_packs(output: Output, packs: list[Pack], *, hidden: int) -> None:
    columns = [
        Column("pack", wide=True),
        Column("status"),
        Column("left", right=True),
        Column("of", right=True),
        Column("ends"),
    ]
    if packs:
        output.table(columns, [_pack_row(pack) for pack in packs])
    if hidden:
        output.say(f"{hidden} packs have ended or run out: --all shows them")
    elif not packs:
        output.say("no packs: tasks are paid from the balance, or not at all")


def _pack_row(pack: Pack) -> tuple[str, ...]:
    left = f"{pack.remaining_quantity:.10g}", f"{pack.total_quantity:.10g}"
    return (pack.resource_pack_name, pack.status, *left, _end_of(pack))


def _end_of(pack: Pack) -> str:
    if not pack.invalid_time:
        return "never"
    left = pack.invalid_time / 1000 - dt.datetime.now(dt.UTC).timestamp()
    return f"{moment(pack.invalid_time)[:10]} ({f'in {length(left)}' if left > 0 else 'over'})"


# --- ledgers


async def _show_ledger(client: Client, options: argparse.Namespace, output: Output) -> None:
    try:
        since = time_span(options.since, dt.datetime.now(dt.UTC))
    except (ValueError, OverflowError):
        raise RequestInvalid("ledger", [Problem("--since", "write 24h, 7d, or 2026-11-01")]) from None
    kind: Literal["packs", "balance"] = options.ledger
    entries = [entry async for entry in client.account.ledger(since, of=kind)]
    if output.json_lines:
        for entry in entries:
            output.record({field: getattr(entry, field) for field in entry.__struct_fields__})
    elif entries:
        _print_entries(output, entries, kind)
    else:
        output.say(f"the ledger has no entries since {since:%Y-%m-%d %H:%M}")


def _print_entries(output: Output, entries: Iterable[PackageDeduction | BalanceDeduction], kind: str) -> None:
    entries = list(entries)
    columns = [
        Column("task_id"),
        Column("product", wide=True),
        Column("model"),
        Column("units" if kind == "packs" else "money", right=True),
    ]
    rows = [
        (entry.task_id, entry.product_function, entry.model_name, f"{entry.deduction_amount:.10g}")
        for entry in entries
    ]
    output.table(columns, rows)
    key = _product_of
    totals = {
        name: sum(entry.deduction_amount for entry in group)
        for name, group in itertools.groupby(sorted(entries, key=key), key)
    }
    output.say(
        f"{len(entries)} tasks: " + ", ".join(f"{total:.10g} {name}" for name, total in totals.items())
    )


def _product_of(entry: PackageDeduction | BalanceDeduction) -> str:
    """Return what the amounts of an entry are counted in."""
    unit = getattr(entry, "currency", "") or f"{getattr(entry, 'product_type', '')} units"
    return unit.strip()
