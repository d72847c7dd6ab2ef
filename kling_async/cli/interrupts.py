"""Signals of a command: the first one ends it in good order, the second one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Interrupts"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR: Final = "\x1b[?25h"
"""A live display hides the cursor; ended at once, it cannot show it again itself."""


class Interrupts:
    """While entered: the first SIGINT or SIGTERM calls a function, the second one ends the process.

    Python handles signals between two instructions of the main thread and within system calls that wait, so
    the second one ends the process also while stdin is read or the event loop is blocked.

    Args:
        on_first: Called with the signal's name, in the signal handler: it must be quick, and may only do what
            is safe from another thread (``loop.call_soon_threadsafe``).
    """

    def __init__(self, on_first: Callable[[str], object]) -> None:
        self._on_first = on_first
        self._before: dict[signal.Signals, Any] = {}
        self._heard = False

    def __enter__(self) -> Self:
        # Python lets only the main thread set signal handlers
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _handle(self, number: int, _: object) -> None:
        if self._heard:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
            os._exit(128 + number)
        self._heard = True
        self._on_first(signal.Signals(number).name)
