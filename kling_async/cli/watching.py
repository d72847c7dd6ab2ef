"""Show how tasks go while a command waits for them, on stderr: state, position, time left."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.formats import clock, status_word
from kling_async.cli.output import has_rich

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from kling_async.cli.output import Output
    from kling_async.tasks import Task

__all__ = ["Display", "reference_to", "state_line", "watching"]

_TICK: Final = 1.0
"""Seconds between two redraws of a live display."""
_REMINDER: Final = 30.0
"""Seconds after which a task that has not changed is shown once more, where nothing is redrawn."""
_SHOWN_MAX: Final = 8
"""Most tasks of a live display; the rest is counted."""


def reference_to(task: Task[Any]) -> str:
    """Return what ``kling wait`` takes for a task: ``ENDPOINT:ID``."""
    record = task.record
    known = task.tracked.endpoint.name if record is None or not record.endpoint else record.endpoint
    return f"{known}:{task.id}"


def state_line(task: Task[Any]) -> str:
    """Return the state of a task that is waited for: status, place in the queue, time taken and left."""
    if task.done:
        return f"{status_word(task.status)}, storing its files"
    words = [status_word(task.status)]
    if task.position is not None:
        words.append("next" if task.position == 0 else f"{task.position} before it")
    now = dt.datetime.now(dt.UTC)
    if task.created_at is not None:
        words.append(clock((now - task.created_at).total_seconds()))
    if task.eta is not None:
        left = (task.eta - now).total_seconds()
        words.append(f"about {clock(left)} left" if left >= 1 else "any moment now")
    return ", ".join(words)


class Display:
    """Shows tasks until it is closed. Whoever prints meanwhile does it within `paused`.

    Args:
        output: Its stderr is written to.
        tasks: The tasks.
        names: How each one is called.
    """

    def __init__(self, output: Output, tasks: Sequence[Task[Any]], names: Sequence[str]) -> None:
        self.output = output
        self.tasks = tasks
        self.names = names
        self.finished: set[int] = set()
        """Places of the tasks of which nothing more is awaited: neither the end nor a file."""

    async def show(self) -> None:
        """Show until cancelled."""

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Make room for other lines."""
        yield


@contextlib.asynccontextmanager
async def watching(
    output: Output, tasks: Sequence[Task[Any]], names: Sequence[str], mode: str = "auto"
) -> AsyncIterator[Display]:
    """Show the tasks while the block runs.

    Args:
        output: Its stderr is written to.
        tasks: The tasks.
        names: How each one is called.
        mode: ``auto``: a block that is redrawn, on a terminal with ``rich``; ``plain``: a line for each
            change; ``none``: nothing.
    """
    terminal = output.stderr.isatty()
    kind: type[Display] = _Lines
    if mode == "none" or (output.json_lines and not terminal):
        kind = Display
    elif mode == "auto" and terminal and has_rich():
        kind = _Live
    display = kind(output, tasks, names)
    work = asyncio.ensure_future(display.show())
    try:
        yield display
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


class _Lines(Display):
    """Prints a line when a task has changed, and now and then one that it has not."""

    async def show(self) -> None:
        """Show until cancelled."""
        shown: dict[int, tuple[str, int | None]] = {}
        at = [-_REMINDER] * len(self.tasks)
        while True:
            for n, (task, name) in enumerate(zip(self.tasks, self.names, strict=True)):
                state = task.status, task.position
                now = time.monotonic()
                if n not in self.finished and (shown.get(n) != state or now - at[n] >= _REMINDER):
                    shown[n], at[n] = state, now
                    self.output.say(f"{name}  {state_line(task)}")
            await asyncio.sleep(_TICK)


class _Live(Display):
    """Redraws a block of lines, by ``rich``."""

    def __init__(self, output: Output, tasks: Sequence[Task[Any]], names: Sequence[str]) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.live import Live  # noqa: PLC0415

        super().__init__(output, tasks, names)
        console = Console(file=output.stderr, highlight=False)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    async def show(self) -> None:
        """Show until cancelled."""
        from rich.text import Text  # noqa: PLC0415

        with self._live:
            while True:
                lines = block(self)
                text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
                self._live.update(text, refresh=True)
                await asyncio.sleep(_TICK)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Erase the block, and draw it again afterwards."""
        running = self._live.is_started
        self._live.stop()
        try:
            yield
        finally:
            if running:
                self._live.start(refresh=True)


def block(display: Display) -> list[str]:
    """Return the lines of a live display: the tasks that are waited for, and how many have ended."""
    pairs = enumerate(zip(display.tasks, display.names, strict=True))
    open_ = [f"{name}  {state_line(task)}" for n, (task, name) in pairs if n not in display.finished]
    more = len(open_) - _SHOWN_MAX
    lines = open_[:_SHOWN_MAX] + ([f"and {more} more"] if more > 0 else [])
    total = len(display.tasks)
    return lines + ([f"{total - len(open_)} of {total} ended"] if total > 1 else [])
