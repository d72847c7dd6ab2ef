"""Run the command ``kling``: parse the arguments, then load the command that was asked for.

`commands` has the table of commands: their options and functions are loaded by name, when asked for, so that
``kling --help`` answers without aiohttp and msgspec. `arguments` has the options that several commands share.
A command that needs a client gets one from `session`, which reads the settings by `config`; it prints by
`output` (results on stdout, messages on stderr), runs by `running`, and returns an `exit_codes.ExitCode`.
Most commands have a module of their name; `by_id` has wait, get and download, `topics` has help. `fields`
makes options out of a request's fields, `jobs` reads jobs files; `display` draws a batch and `watching` tasks
while they run, `fleet_words` a fleet; `formats` has the words for times and numbers.

From outside: `main`, the entry point of the console script. Arguments go in, an exit status comes out.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from kling_async.cli.commands import COMMANDS, load_function, make_parser
from kling_async.cli.exit_codes import INTERRUPTED, ExitCode, explain
from kling_async.cli.messages import Messages
from kling_async.errors import KlingError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status. Ctrl-C and expected errors end it without a traceback.

    Args:
        argv: Arguments; None for those of the process.
    """
    _open_closed_streams()
    options = make_parser().parse_args(argv)
    debug = bool(options.debug or os.environ.get("KLING_DEBUG"))
    with Messages(debug=debug) as messages:
        try:
            return _run(options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except (BrokenPipeError, BaseExceptionGroup) as error:
            # a task group wraps the broken pipe; a group with any other error in it is a real failure
            if isinstance(error, BaseExceptionGroup) and error.split(BrokenPipeError)[1] is not None:
                raise
            # the reader of our output has gone; Python flushes stdout at exit and would fail once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.FAILED
        except (KlingError, OSError) as error:
            if debug:
                raise
            code, text = explain(error)
            messages.error(text)
            return code


def _open_closed_streams() -> None:
    """Put the null device where the process was started without a standard stream (``kling ... >&-``).

    Otherwise Python has None there, and the next file that is opened, such as a journal, gets the number of
    the stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - kept open


def _run(options: argparse.Namespace) -> int:
    """Run a command's function to its end, on an event loop if it is a coroutine."""
    command = COMMANDS[options.command]
    function = load_function(command.run)
    # by name: the module that makes clients is on the same level as commands that use one
    with_client = load_function("session:with_client") if command.needs_client else None
    result = function(options) if with_client is None else with_client(options, function)
    if isinstance(result, int):
        return result
    status: int = load_function("running:run_coroutine")(result)
    return status
