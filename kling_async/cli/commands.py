"""Table of the commands, and the parser made from it: a command's own options are added once it is named."""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import re
import shutil
import sys
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
    needs_client: bool = False
    """Whether ``run`` is a coroutine function of (options, client, output), as `session.with_client` calls
    it; the options are those of `arguments.add_account_arguments` and ``--json``."""


COMMANDS: Final[dict[str, Command]] = {
    "create": Command(
        "create one task", "create:add_create_arguments", "create:run_create", needs_client=True
    ),
    "run": Command(
        "run all jobs of a file", "job_arguments:add_run_arguments", "run:run_jobs", needs_client=True
    ),
    "check": Command("check a jobs file", "job_arguments:add_check_arguments", "check:run_check"),
    "journal": Command(
        "look into the journal of a run", "job_arguments:add_journal_arguments", "journal:run_journal"
    ),
    "wait": Command(
        "wait until tasks have ended", "by_id:add_wait_arguments", "by_id:run_wait", needs_client=True
    ),
    "get": Command(
        "show what is known of tasks", "by_id:add_get_arguments", "by_id:run_get", needs_client=True
    ),
    "download": Command(
        "store the files of tasks", "by_id:add_download_arguments", "by_id:run_download", needs_client=True
    ),
    "estimate": Command("show what a request costs", "create:add_estimate_arguments", "create:run_estimate"),
    "list": Command(
        "list the newest tasks of an endpoint",
        "listing:add_list_arguments",
        "listing:run_list",
        needs_client=True,
    ),
    "account": Command(
        "show packs, slots and costs",
        "account:add_account_command_arguments",
        "account:run_account",
        needs_client=True,
    ),
    "settings": Command(
        "show where keys and settings come from", "settings:add_settings_arguments", "settings:run_settings"
    ),
    "models": Command("show what each model can do", "models:add_models_arguments", "models:run_models"),
    "demo": Command(
        "run a batch of prompts, against the emulator or, with --live, your account",
        "arguments:add_demo_arguments",
        "demo:run_demo",
    ),
    "emulator": Command(
        "serve a local emulator of the API", "arguments:add_emulator_arguments", "serve:run_emulator"
    ),
    "listen": Command("receive callbacks and print them", "listen:add_listen_arguments", "listen:run_listen"),
    "fleet": Command(
        "run jobs on many machines with one account", "fleet_arguments:add_fleet_arguments", "fleet:run_fleet"
    ),
    "completion": Command(
        "print the completion of a shell", "completion:add_completion_arguments", "completion:run_completion"
    ),
    "help": Command("explain a topic", "topics:add_help_arguments", "topics:run_help"),
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
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **keywords)
        self._fill = fill

    def filled(self) -> LazyParser:
        """Add the arguments, unless that was done; return this parser."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
            self._add_common()
        return self

    def _add_common(self) -> None:
        """Add what every command has; ``--emulator`` is accepted also where nothing is sent."""
        self.add_argument(
            "--debug", action="store_true", help="show tracebacks and the log (or KLING_DEBUG=1)"
        )
        if "--emulator" not in self._option_string_actions:
            self.add_argument("--emulator", action="store_true", help=argparse.SUPPRESS)

    if not TYPE_CHECKING:  # the overloads of this method are not the same in every version of typeshed

        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            """Parse, with all arguments added; what is left over is an error of the innermost parser."""
            found, rest = super(LazyParser, self.filled()).parse_known_args(_with_hyphens(args), namespace)
            if rest:
                self.error(f"unrecognized arguments: {' '.join(_without_values(rest))}")
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


class _Formatter(argparse.HelpFormatter):
    """Formats help for people: lines of a wide terminal would be too long to read."""

    def __init__(self, prog: str) -> None:
        columns = min(_HELP_COLUMNS, shutil.get_terminal_size().columns - 2)
        super().__init__(prog, width=columns, max_help_position=28)
        self._action_max_length = 24  # one column for the help of all parts, also of sub-commands


_HELP_COLUMNS: Final = 100
_CHOICE: Final = re.compile(r"invalid choice: '([^']*)' \((choose from .*)\)$")
_UNKNOWN: Final = re.compile(r"unrecognized arguments: (--[\w.-]+)")


def _without_values(words: Sequence[str]) -> list[str]:
    """Return unknown arguments without what may be values of unknown options: one of those may be a key."""
    found: list[str] = []
    options = 0
    for word in words:
        if word.startswith("-"):
            options += 1
            found.append(word.partition("=")[0] if word.startswith("--") else word[:2])
        elif not options:
            found.append(word)
    return found


def _with_hyphens(args: Sequence[str] | None) -> list[str]:
    """Return arguments in which options may be spelt like fields: ``--model_name`` is ``--model-name``.

    Args:
        args: The arguments; None for those of the process.
    """
    args = sys.argv[1:] if args is None else args
    found: list[str] = []
    for at, arg in enumerate(args):
        if arg == "--":
            return found + list(args[at:])
        option, sign, value = arg.partition("=")
        found.append(f"{option.replace('_', '-')}{sign}{value}" if arg.startswith("--") else arg)
    return found


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
    parsers = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS if commands is None else commands:
        command = COMMANDS[name]
        fill = functools.partial(_add_arguments, command)
        parsers.add_parser(name, help=command.summary, fill=fill)
    return parser


def _add_arguments(command: Command, parser: LazyParser) -> None:
    load_function(command.arguments)(parser)
