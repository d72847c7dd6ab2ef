"""Table of the commands, and the parser made from it: a command's own options are added once it is named."""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from kling_async._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "Command", "LazyParser", "load_function", "make_parser"]


class Command(NamedTuple):
    """One command. Functions are named ``module:function``, the module below ``kling_async.cli``."""

    summary: str
    """One line in the list of commands."""
    arguments: str
    """Adds the command's options to its parser; may add sub-commands, each a `LazyParser`."""
    run: str
    """Runs the command with its options; returns the exit status, or a coroutine of it."""


COMMANDS: Final[dict[str, Command]] = {
    "demo": Command(
        "run a batch of prompts, against the emulator or, with --live, your account",
        "arguments:add_demo_arguments",
        "demo:run_demo",
    ),
    "emulator": Command(
        "serve a local emulator of the API", "arguments:add_emulator_arguments", "serve:run_emulator"
    ),
}
"""All commands, in the order of the help."""

_SECRETS: Final = re.compile(r"--(api|access|secret)[-_]?key|--webhook[-_]secret|--token")
"""Options that people try in order to give a key, and that would show it to every process list."""


def load_function(name: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"kling_async.cli.{module}"), function)
    return found


class LazyParser(argparse.ArgumentParser):
    """A parser that adds its arguments when it is used: most of them never are.

    Args:
        fill: Adds the arguments.
        **keywords: As for `argparse.ArgumentParser`.
    """

    def __init__(self, *, fill: Callable[[LazyParser], object] | None = None, **keywords: Any) -> None:
        # abbreviations would change their meaning whenever an option is added
        super().__init__(**{"allow_abbrev": False, **keywords})
        self._fill = fill

    def filled(self) -> LazyParser:
        """Add the arguments, unless that was done; return this parser."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
            self.add_argument(
                "--debug", action="store_true", help="show tracebacks and the log (or KLING_DEBUG=1)"
            )
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with all arguments added; what is left over is an error of the innermost parser."""
        self.filled()
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, with what may be meant; end with status 2."""
        if "unrecognized arguments" in message and _SECRETS.search(message):
            # the message would repeat the key
            message = "keys are not taken from the command line; see: kling help environment"
        elif (found := _CHOICE.search(message)) is not None:
            close = difflib.get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), n=1)
            if close:
                message = f"{message[: found.start(2)].rstrip(' (')}; did you mean {close[0]!r}?"
        elif (found := _UNKNOWN.search(message)) is not None:
            known = [word for action in self._actions for word in action.option_strings]
            close = difflib.get_close_matches(found[1], known, n=1)
            message += f"; did you mean {close[0]}?" if close else ""
        super().error(message)


_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \((choose from .*)\)$")
_UNKNOWN: Final = re.compile(r"unrecognized arguments: (--[\w-]+)")


def make_parser(commands: Sequence[str] | None = None) -> LazyParser:
    """Return the parser of the whole command.

    Args:
        commands: The commands to know; None: all.
    """
    parser = LazyParser(
        prog="kling",
        description="Client for the Kling AI media API.",
        epilog="kling COMMAND --help shows a command's options, kling help TOPIC explains a topic.",
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"kling-async {__version__}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS if commands is None else commands:
        command = COMMANDS[name]
        fill = functools.partial(_add_arguments, command)
        parsers.add_parser(name, help=command.summary, fill=fill)
    return parser


def _add_arguments(command: Command, parser: LazyParser) -> None:
    load_function(command.arguments)(parser)
