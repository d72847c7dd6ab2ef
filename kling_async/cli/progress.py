"""Count what happens in the demo, show it as ``kling run`` does, and print each ended task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from kling_async.cli.display import make_display
from kling_async.cli.output import Output

if TYPE_CHECKING:
    from kling_async.batch.progress import Progress
    from kling_async.events import Event

__all__ = ["Counts", "DemoProgress"]

_IMMEDIATE: Final = 0.05
"""Seconds in a queue that do not count as waiting: a submit passes through it in any case."""


class Counts(msgspec.Struct):
    """Count the requests of a batch that have ended, with refusals, waits and queries."""

    total: int
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    """Creates refused by a full account (1303), which kept their place in the queue."""
    waited: int = 0
    """Submits that were not sent at once."""
    asked: int = 0
    """Status queries."""


class DemoProgress:
    """Count events, show the progress of a batch on a terminal, and print a line for each ended task.

    Args:
        total: Number of requests.
        output: Written to; None for stdout and stderr of the process.
    """

    def __init__(self, total: int, output: Output | None = None) -> None:
        self.counts = Counts(total)
        self._output = Output() if output is None else output
        on_terminal = self._output.stdout.isatty() and self._output.stderr.isatty()
        self._display = make_display("auto", self._output) if on_terminal else None
        # by external_task_id, which every event of a submit carries from the first one on
        self._queued: dict[str | None, float] = {}
        self._waited: set[str | None] = set()

    def __call__(self, event: Event) -> None:
        """Count one event of the client."""
        counts, name = self.counts, event.external_task_id
        match event.kind:
            case "queued" | "refused":
                counts.refused += event.kind == "refused"
                self._queued.setdefault(name, event.at)
            case "admitted":
                if event.at - self._queued.pop(name, event.at) > _IMMEDIATE:
                    self._waited.add(name)
            case "left":
                self._queued.pop(name, None)
            case "asked":
                counts.asked += 1
            case _:
                pass
        counts.waited = len(self._waited)

    def show(self, progress: Progress) -> None:
        """Show how far the batch is; nothing but ended tasks is printed where that is no terminal."""
        if self._display is not None:
            self._display.show(progress)

    def ended(self, text: str, *, failed: bool = False) -> None:
        """Print how one request ended."""
        if failed:
            self.counts.failed += 1
        else:
            self.counts.succeeded += 1
        if self._display is None:
            self._output.line(text)
        else:  # above the block that is redrawn
            self._display.say(text)

    def close(self) -> None:
        """Take the display away."""
        if self._display is not None:
            self._display.close()
