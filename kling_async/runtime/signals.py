"""Listen to SIGINT and SIGTERM while a batch runs, if the program has no handlers for them.

A web server that has handlers of its own keeps them. Listeners are called within the event loop; while that
is blocked, by an input that waits or a function of the caller's, the second signal ends the process.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SignalWatcher"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_DEAF_SECONDS: Final = 0.1
"""Seconds after which a loop that has not heard a signal counts as blocked. A signal may come twice at once:
from the terminal, and handed on by a parent process."""


class SignalWatcher:
    """Call ``on_signal`` with the name of each signal between `start` and `stop`.

    Args:
        on_signal: Called in the event loop.
        enabled: False: `start` does nothing.
    """

    def __init__(self, on_signal: Callable[[str], None], *, enabled: bool = True) -> None:
        self._on_signal = on_signal
        self._enabled = enabled
        self._handlers: _LoopHandlers | None = None

    def start(self) -> None:
        """Take over the signals that have Python's own handlers; do nothing outside the main thread."""
        # Python lets only the main thread set signal handlers
        if not self._enabled or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        self._handlers = handlers = _by_loop.setdefault(loop, _LoopHandlers(loop))
        handlers.add(self._on_signal)

    def stop(self) -> None:
        """Stop listening; the last watcher of a loop restores the handlers that were there before."""
        handlers, self._handlers = self._handlers, None
        if handlers is not None:
            handlers.remove(self._on_signal)


class _LoopHandlers:
    """The signal handlers of one event loop, shared by all watchers in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: list[Callable[[str], None]] = []
        self._replaced: dict[signal.Signals, tuple[Any, Any]] = {}
        """Signal: the handler before ours, and ours as `_current` sees it."""
        self._unheard: float | None = None
        """When the first signal came that the loop has not heard yet."""

    def add(self, listener: Callable[[str], None]) -> None:
        """Call a listener on signals; install the handlers for the first one."""
        self._listeners.append(listener)
        if len(self._listeners) > 1:
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if not _is_default(handler):
                continue
            try:
                # unlike signal.signal() this calls back within the loop, not between any two bytecodes
                self._loop.add_signal_handler(number, self._notify, number.name)
            except (NotImplementedError, RuntimeError):  # Windows, or a loop without signals
                continue
            self._notice(number)
            self._replaced[number] = handler, self._current(number)

    def _current(self, number: signal.Signals) -> tuple[Any, Any]:
        """Return the present handler of the process, and that of the loop where it can be seen."""
        return signal.getsignal(number), getattr(self._loop, "_signal_handlers", {}).get(number)

    def _notice(self, number: signal.Signals) -> None:
        """Run a handler of ours before the loop's, which only wakes the loop: a blocked one hears nothing."""
        wake = signal.getsignal(number)

        def noticed(signum: int, frame: Any) -> None:
            now = time.monotonic()
            if self._unheard is not None and now - self._unheard > _DEAF_SECONDS:
                self._end_process(number)
            self._unheard = self._unheard or now
            if callable(wake):
                wake(signum, frame)

        # unlike the loop's, this handler interrupts a system call that waits
        signal.signal(number, noticed)

    def _end_process(self, number: signal.Signals) -> None:
        """End the process as it would have ended without any handler.

        Raises:
            KeyboardInterrupt: On SIGINT.
        """
        self._unheard = None
        for replaced in self._replaced:
            signal.signal(replaced, _DEFAULTS[replaced])
        if number is signal.SIGINT:
            raise KeyboardInterrupt
        signal.raise_signal(number)

    def _notify(self, name: str) -> None:
        self._unheard = None
        for listener in tuple(self._listeners):  # a copy: a listener may stop listening when called
            listener(name)

    def remove(self, listener: Callable[[str], None]) -> None:
        """Stop calling a listener; restore the handlers after the last one."""
        self._listeners.remove(listener)
        if self._listeners:
            return
        for number, (before, ours) in self._replaced.items():
            if self._current(number) != ours:
                continue  # another handler replaced ours meanwhile
            if not self._loop.is_closed():
                self._loop.remove_signal_handler(number)
            # the loop has restored Python's default, not the handler that asyncio.run had installed
            signal.signal(number, before)
        self._replaced.clear()
        _by_loop.pop(self._loop, None)


_DEFAULTS: Final[dict[signal.Signals, Any]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
_by_loop: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopHandlers]] = WeakKeyDictionary()


def _is_default(handler: Any) -> bool:
    """Tell whether a handler is Python's own: its default, or the one that ``asyncio.run`` installs."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    inner = getattr(handler, "func", None)  # asyncio.Runner installs a partial of a method of its own
    return isinstance(getattr(inner, "__self__", None), asyncio.Runner)
