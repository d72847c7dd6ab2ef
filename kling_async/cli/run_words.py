"""Write the commands that go on with a run or with tasks, quoted for a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["go_on_command", "look_command", "retry_command", "task_command"]

_DEFAULTS: Final[dict[str, Any]] = {
    "out": "out",
    "name": None,
    "journal": None,
    "max_units": None,
    "retries": 0,
    "order": "given",
    "skip_bad": False,
    "allow_files": None,
    "endpoint": None,
    "format": None,
    "progress": "auto",
    "json": False,
    "env_file": None,
    "config": None,
    "profile": None,
    "emulator": False,
}
"""Options of ``kling run`` that the next run needs too, with their defaults."""


def go_on_command(options: argparse.Namespace, journal: Path | None) -> str:
    """Return the command that goes on with a run; one of standard input needs the same input again."""
    return shlex.join(_words(options)) + _input(options, journal)


def retry_command(options: argparse.Namespace, journal: Path | None) -> str:
    """Return the command that tries again what has failed."""
    return shlex.join([*_words(options), "--retry-failed"]) + _input(options, journal)


def look_command(options: argparse.Namespace, journal: Path | None) -> str:
    """Return the command that shows the jobs of a journal which the jobs file no longer names."""
    return shlex.join([*_program(), "journal", "show", str(journal), "--jobs", options.jobs])


def task_command(
    action: Literal["wait", "get", "download"],
    references: Sequence[str],
    options: argparse.Namespace,
    **more: str,
) -> str:
    """Return the command that goes on with tasks, of the same account and into the same files.

    Args:
        action: The command.
        references: The tasks, as ``ENDPOINT:ID``.
        options: Those of the command that was given.
        **more: Options that are given instead of its own.
    """
    names = _ACCOUNT if action == "get" else (*_STORING, *_ACCOUNT)
    given = {name: getattr(options, name, None) for name in names} | more
    words = [*_program(), action, *references]
    for name, value in given.items():
        if value is True:
            words.append(_flag(name))
        elif value and value != _TASK_DEFAULTS.get(name):
            words += _with_value(_flag(name), _text(value))
    return shlex.join(words)


_STORING: Final = ("out", "name", "watermarked", "sidecar", "json")
_TASK_DEFAULTS: Final = {"name": "{task_id}"}
_ACCOUNT: Final = ("env_file", "config", "profile")


def _input(options: argparse.Namespace, journal: Path | None) -> str:
    return " < the same input" if options.jobs == "-" and journal is not None else ""


def _words(options: argparse.Namespace) -> list[str]:
    words = [*_program(), "run", _positional(options.jobs)]
    given = {name: getattr(options, name) for name in _DEFAULTS}
    for name, value in given.items():
        if value is True:
            words.append(_flag(name))
        elif value != _DEFAULTS[name]:
            words += _with_value(_flag(name), _text(value))
    limits = {pool: size for some in options.limit for pool, size in some.items()}
    return words + (_with_value("--limit", _text(limits)) if limits else [])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_value(flag: str, value: str) -> list[str]:
    """Return an option with its value; in one word where the value would be taken for an option."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _positional(jobs: str) -> str:
    return f"./{jobs}" if jobs.startswith("-") and jobs != "-" else jobs


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(part)}" for name, part in value.items())
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _program() -> list[str]:
    """Return how this program was started."""
    if Path(sys.argv[0]).name != "__main__.py":
        return ["kling"]
    name = Path(sys.executable).name
    return [name if shutil.which(name) == sys.executable else sys.executable, "-m", "kling_async"]
