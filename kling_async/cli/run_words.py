"""Write the commands that go on with a run, quoted for a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

__all__ = ["go_on_command", "retry_command"]

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


def _input(options: argparse.Namespace, journal: Path | None) -> str:
    return " < the same input" if options.jobs == "-" and journal is not None else ""


def _words(options: argparse.Namespace) -> list[str]:
    words = [*_program(), "run", _positional(options.jobs)]
    for name, default in _DEFAULTS.items():
        value = getattr(options, name)
        if value != default:
            flag = f"--{name.replace('_', '-')}"
            # with =, a value that begins with a dash is no option
            words.append(flag if value is True else f"{flag}={_text(value)}")
    limits = {pool: size for given in options.limit for pool, size in given.items()}
    if limits:
        words.append(f"--limit={_text(limits)}")
    return words


def _positional(jobs: str) -> str:
    return f"./{jobs}" if jobs.startswith("-") and jobs != "-" else jobs


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(part)}" for name, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _program() -> list[str]:
    """Return how this program was started."""
    if Path(sys.argv[0]).name != "__main__.py":
        return ["kling"]
    name = Path(sys.executable).name
    return [name if shutil.which(name) == sys.executable else sys.executable, "-m", "kling_async"]
