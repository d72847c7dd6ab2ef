"""Messages on stderr: errors, warnings and the log of the library, each a line with ``kling:`` before it."""

from __future__ import annotations

import logging
import sys
import unicodedata
import warnings
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Messages", "printable"]


def printable(text: str) -> str:
    """Return a text in one line without control characters: those of strangers could steer a terminal."""
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if char in "\n\r\t":
        return " "
    # Cc are controls; Cf holds those that reverse the direction of a line; Cs cannot be encoded
    return "?" if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char != "\u200d" else char


class Messages:
    """While entered: warnings and the log of this package go to stderr as short lines.

    Args:
        debug: Whether the whole log is shown; else warnings about status queries that fail, because somebody
            waits for them. What else the log warns of, the commands tell in their own words.
    """

    def __init__(self, *, debug: bool = False) -> None:
        log, polling = logging.getLogger("kling_async"), logging.getLogger("kling_async.polling")
        self._log = log if debug else polling
        self._level = logging.DEBUG if debug else logging.WARNING
        self._handler = _ToStderr()
        self._before: tuple[int, Callable[..., Any]] = (logging.NOTSET, warnings.showwarning)

    def error(self, text: str) -> None:
        """Print why the command ends."""
        print(f"kling: {printable(text)}", file=sys.stderr)

    def __enter__(self) -> Self:
        self._before = self._log.level, warnings.showwarning
        self._log.addHandler(self._handler)
        self._log.setLevel(self._level)
        warnings.showwarning = self._warn
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self._handler)
        level, warnings.showwarning = self._before
        self._log.setLevel(level)

    def _warn(self, message: Warning | str, *_: object, **__: object) -> None:
        """Print a warning without the place in the source, which helps nobody here."""
        print(f"kling: warning: {printable(str(message))}", file=sys.stderr)


class _ToStderr(logging.Handler):
    """Prints each record of the log as one line, to the stderr of that moment: a live display replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"kling: {record.levelname.lower()}: {printable(record.getMessage())}", file=sys.stderr)
