"""Run ``kling models``: what each model can do, by endpoint."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kling_async.cli.arguments import add_json_argument
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.output import Column, Output
from kling_async.errors import Problem, RequestInvalid
from kling_async.redaction import json_types
from kling_async.v1.capabilities import capabilities
from kling_async.v2.models import model_capabilities

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from kling_async.cli.commands import LazyParser
    from kling_async.v1.capabilities import Capability

__all__ = ["add_models_arguments", "run_models"]


def add_models_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling models``."""
    parser.description = "Show what each model can do, as this version knows it; nothing is sent."
    parser.add_argument("endpoint", nargs="?", metavar="ENDPOINT", help="only the models of this endpoint")
    parser.add_argument("--model", metavar="NAME", help="only this model")
    parser.add_argument("--all", action="store_true", help="show retired models, too")
    add_json_argument(parser)


def run_models(options: argparse.Namespace) -> int:
    """Show the capabilities."""
    output = Output(json_lines=options.json)
    known = *capabilities(), *model_capabilities()
    rows = [row for row in known if options.all or options.model or not row.retired]
    rows = [row for row in rows if options.model in (None, row.model)]
    endpoints = list(dict.fromkeys(row.endpoint for row in rows))
    if options.endpoint is not None and options.endpoint not in endpoints:
        words = f"models are known for {', '.join(endpoints)}" if endpoints else "no such model"
        raise RequestInvalid("models", [Problem(options.endpoint, words)])
    rows = [row for row in rows if options.endpoint in (None, row.endpoint)]
    if not rows:
        raise RequestInvalid("models", [Problem("--model", f"{options.model} is not known")])
    order = list(dict.fromkeys((row.endpoint, row.model) for row in rows))
    rows.sort(key=lambda row: (endpoints.index(row.endpoint), order.index((row.endpoint, row.model))))
    if output.json_lines:
        for row in rows:
            output.record(json_types(row, signed=True))
    else:
        _print_models(output, rows)
    return ExitCode.DONE


def _print_models(output: Output, rows: Sequence[Capability]) -> None:
    """Print a table for each endpoint; where it is not for people, one table whose rows say all."""
    columns = [
        Column("model"),
        Column("modes"),
        Column("durations"),
        Column("resolutions"),
        Column("features", wrap=True),
    ]
    if not output.stdout.isatty():
        output.table([Column("endpoint"), *columns], [(row.endpoint, *_cells(row)) for row in rows])
        return
    for n, (endpoint, group) in enumerate(itertools.groupby(rows, lambda row: row.endpoint)):
        if n:
            output.line()
        output.line(endpoint)
        output.table(columns, _once([_cells(row) for row in group]))
    if any(not row.sure for row in rows):
        output.say("? no good source confirms this row")


def _cells(row: Capability) -> list[str]:
    return [
        row.model + (" (retired)" if row.retired else ""),
        " ".join(row.modes),
        _range(row.durations),
        " ".join(row.resolutions),
        " ".join([*row.features, *([] if row.sure else ["?"])]),
    ]


def _once(rows: list[list[str]]) -> list[list[str]]:
    """Return rows in which a model is named in the first of its rows only."""
    before = ["", *(row[0] for row in rows)]
    return [["" if row[0] == name else row[0], *row[1:]] for name, row in zip(before, rows, strict=False)]


def _range(durations: Sequence[int]) -> str:
    if len(durations) > 2 and list(durations) == list(range(durations[0], durations[-1] + 1)):
        return f"{durations[0]}-{durations[-1]}"
    return " ".join(map(str, durations))
