"""Run a command's coroutine on an event loop of its own; Ctrl-C cancels it, a second one ends the process."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from kling_async.cli.exit_codes import INTERRUPTED
from kling_async.cli.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run_coroutine"]


def run_coroutine(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine; return its exit status.

    The first SIGINT or SIGTERM cancels it. It may catch `asyncio.CancelledError`, say how to go on and return
    a status; else the command ends as interrupted. One that handles signals in its own way enters an
    `Interrupts` of its own within.
    """
    command = _Command(main)
    # entered outside: the second signal must end the process also while the loop is being closed
    with Interrupts(command.cancel):
        try:
            return asyncio.run(command.run())
        except asyncio.CancelledError:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED


class _Command:
    """A coroutine that a signal handler can cancel."""

    def __init__(self, main: Coroutine[Any, Any, int]) -> None:
        self._main = main
        self._task: asyncio.Task[int] | None = None

    async def run(self) -> int:
        self._task = asyncio.ensure_future(self._main)
        return await self._task

    def cancel(self, _: str) -> None:
        if self._task is None:
            self._main.close()
            raise KeyboardInterrupt
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)
