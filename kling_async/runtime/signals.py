"""Ctrl-C and a polite kill while a batch runs: heard once to end in good order, twice to end at once.

Only where nobody else listens: a web server that has handlers of its own keeps them.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SignalWatcher"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class SignalWatcher:
    """Calls ``heard`` with a signal's name, between `listen` and `deafen`; unless nobody is to be heard."""

    def __init__(self, heard: Callable[[str], None], *, anybody: bool = True) -> None:
        self._heard = heard
        self._anybody = anybody
        self._desk: _Desk | None = None

    def listen(self) -> None:
        """Take over those signals that nobody else handles."""
        if not self._anybody or threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        self._desk = desk = _desks.setdefault(loop, _Desk(loop))
        desk.join(self._heard)

    def deafen(self) -> None:
        """Give them back, if nobody else listens."""
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.leave(self._heard)


class _Desk:
    """Takes the signals of one loop for all who listen there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: list[Callable[[str], None]] = []
        self._before: dict[signal.Signals, tuple[Any, Any]] = {}

    def join(self, heard: Callable[[str], None]) -> None:
        self._listeners.append(heard)
        if len(self._listeners) > 1:
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if not _is_free(handler):
                continue
            try:
                self._loop.add_signal_handler(number, self._tell, number.name)
            except (NotImplementedError, RuntimeError):  # Windows, or a loop without signals
                continue
            self._before[number] = handler, self._present(number)

    def _present(self, number: signal.Signals) -> tuple[Any, Any]:
        """What handles a signal now: of the process, and within the loop where that can be seen."""
        return signal.getsignal(number), getattr(self._loop, "_signal_handlers", {}).get(number)

    def _tell(self, name: str) -> None:
        for heard in tuple(self._listeners):
            heard(name)

    def leave(self, heard: Callable[[str], None]) -> None:
        self._listeners.remove(heard)
        if self._listeners:
            return
        for number, (before, ours) in self._before.items():
            if self._present(number) != ours:
                continue  # somebody else took it meanwhile
            if not self._loop.is_closed():
                self._loop.remove_signal_handler(number)
            signal.signal(number, before)
        self._before.clear()
        _desks.pop(self._loop, None)


_desks: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Desk]] = WeakKeyDictionary()


def _is_free(handler: Any) -> bool:
    """Whether a handler is Python's own: its default, or what ``asyncio.run`` puts in its place."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    inner = getattr(handler, "func", None)  # asyncio.Runner installs a partial of a method of its own
    return isinstance(getattr(inner, "__self__", None), asyncio.Runner)
