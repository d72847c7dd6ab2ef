"""Jupyter kernels: let a cell that waits notice its interrupt within a second.

A kernel makes a cancellation out of SIGINT in a handler of Python's, and Python calls handlers only between
its own instructions. A loop that sleeps until its next timer runs none: an interrupt was seen after 4 to 12
seconds (measured with ipykernel 7 while a task was polled). A timer that does nothing wakes it.
"""

from __future__ import annotations

import contextvars
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from kling_async.errors import KlingWarning

if TYPE_CHECKING:
    import asyncio

__all__ = ["in_kernel", "keep_awake", "show_warning"]

_TICK: Final = 1.0
"""Seconds between two looks."""


class Closable(Protocol):
    """A client's work in a loop (`kling_async.runtime.loop.LoopScope`)."""

    closed: bool


_awake: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[Closable]]] = WeakKeyDictionary()
"""The loops that are woken, and the clients for which they are."""


def in_kernel() -> bool:
    """Tell whether this process is a Jupyter kernel; nothing is imported to find out."""
    module = sys.modules.get("ipykernel.kernelapp")
    app: Any = getattr(module, "IPKernelApp", None)
    return app is not None and bool(app.initialized())


def keep_awake(loop: asyncio.AbstractEventLoop, client: Closable) -> None:
    """Wake a kernel's loop once a second while the client lives and is not closed; else do nothing."""
    if not in_kernel():
        return
    if (clients := _awake.get(loop)) is None:
        clients = _awake[loop] = WeakSet()
        loop.call_later(_TICK, _tick, loop, context=contextvars.Context())
    clients.add(client)


def _tick(loop: asyncio.AbstractEventLoop) -> None:
    """Run, which lets Python call its signal handlers; run again in a second while a client is open."""
    if all(client.closed for client in _awake.get(loop, ())):
        _awake.pop(loop, None)
    else:
        loop.call_later(_TICK, _tick, loop, context=contextvars.Context())


def show_warning(text: str) -> None:
    """Show a warning below the cell, in a kernel: nobody has set up logging there.

    Called by a ``__del__``; the warning names the line of the cell that dropped the object.
    """
    if in_kernel():
        warnings.warn(text, KlingWarning, stacklevel=3)
