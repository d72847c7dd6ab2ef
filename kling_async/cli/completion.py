"""Run ``kling completion``: print the script by which a shell completes commands, endpoints and options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.commands import LazyParser, make_parser
from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["add_completion_arguments", "run_completion"]

SHELLS: Final = ("bash", "zsh", "tcsh")

_HOW: Final = """To use it now and in new shells:
  bash  kling completion bash > ~/.local/share/bash-completion/completions/kling
  zsh   kling completion zsh > ~/.zfunc/_kling   # with fpath+=~/.zfunc before compinit
  tcsh  kling completion tcsh > ~/.kling.tcsh    # and: source ~/.kling.tcsh"""


def add_completion_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling completion``."""
    parser.description = "Print the script by which a shell completes kling. Needs the extra cli (shtab)."
    parser.epilog = _HOW
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run_completion(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        message = 'completion is written by shtab: pip install "kling-async[cli]"'
    else:
        parser = make_parser()
        for action in _all_actions(parser):
            complete = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "@FILE|URL": shtab.FILE}
            if isinstance(action.metavar, str) and action.metavar in complete:
                action.complete = complete[action.metavar]
        print(shtab.complete(parser, shell=options.shell))
        return 0
    raise ConfigurationError(message)


def _all_actions(parser: LazyParser) -> Iterator[Any]:
    """Iterate over the arguments of a parser and of all parsers below it, filled."""
    for action in parser.filled()._actions:  # noqa: SLF001 - argparse has no other list of them
        yield action
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _all_actions(below)
