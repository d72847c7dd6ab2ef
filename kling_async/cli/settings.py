"""Run ``kling settings``: where keys and settings come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.cli.arguments import add_account_arguments, add_json_argument
from kling_async.cli.config import default_path, read_configuration
from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.output import Column, Output

if TYPE_CHECKING:
    import argparse

    from kling_async.cli.commands import LazyParser

__all__ = ["add_settings_arguments", "run_settings"]


def add_settings_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling settings``."""
    parser.description = (
        "Show which settings are found, and where each comes from; their values are not shown."
    )
    add_json_argument(parser)
    add_account_arguments(parser)


def run_settings(options: argparse.Namespace) -> int:
    """Print each setting with its source, and no value: some are keys."""
    output = Output(json_lines=options.json)
    configuration = read_configuration(options)
    for note in configuration.notes:
        output.warn(note)
    found = configuration.settings
    if output.json_lines:
        for name, setting in found.items():
            output.record({"setting": name, "source": setting.source})
    elif found:
        columns = [Column("setting"), Column("source", wide=True)]
        output.table(columns, [(name, setting.source) for name, setting in found.items()])
    else:
        output.say(f"no settings in the environment, and none in {default_path()}")
    return ExitCode.DONE
