"""Show the progress of a batch from a client's events; drawing the line is a pure function of counts."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

if TYPE_CHECKING:
    from kling_async.events import Event

__all__ = ["Counts", "Progress", "progress_line"]

_IMMEDIATE: Final = 0.05
"""Seconds in a queue that do not count as waiting: a submit passes through it in any case."""


class Counts(msgspec.Struct):
    """Count the requests of a batch by their state, with refusals, waits, queries and files."""

    total: int
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    """Creates refused by a full account (1303), which kept their place in the queue."""
    waited: int = 0
    """Submits that were not sent at once."""
    asked: int = 0
    """Status queries."""
    files: int = 0


def progress_line(counts: Counts, width: int = 16) -> str:
    """Draw the counts as one line, with a bar of ``width`` characters.

    >>> progress_line(Counts(total=4, running=1, succeeded=2), width=4)
    '##-.  2/4 done, 1 running, 0 queued'
    """
    ended = counts.succeeded + counts.failed
    done = width * ended // max(1, counts.total)
    # rounded up, so that one running task of many is seen
    running = -(-width * min(counts.running, counts.total - ended) // max(1, counts.total))
    running = min(running, width - done)
    bar = "#" * done + "-" * running + "." * (width - done - running)
    text = f"{bar}  {ended}/{counts.total} done, {counts.running} running, {counts.queued} queued"
    if counts.refused:
        text += f", {counts.refused} x full"
    return text + (f", {counts.failed} failed" if counts.failed else "")


class Progress:
    """Count events and show them: one line redrawn in place on a terminal, else a line per ended task.

    Args:
        total: Number of requests.
        stream: Written to; None for stdout.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.counts = Counts(total)
        self._stream = sys.stdout if stream is None else stream
        self._redraws = self._stream.isatty()
        # by external_task_id, which every event of a submit carries from the first one on
        self._queued: dict[str | None, float] = {}
        self._sent: set[str | None] = set()
        self._waited: set[str | None] = set()
        self._shown_length = 0

    def __call__(self, event: Event) -> None:
        """Count one event of the client and redraw."""
        counts, name = self.counts, event.external_task_id
        match event.kind:
            case "queued" | "refused":
                counts.refused += event.kind == "refused"
                # a refusal that comes after the submitter gave up queues nothing
                if event.kind == "queued" or name in self._sent:
                    self._queued.setdefault(name, event.at)
                self._sent.discard(name)
            case "admitted":
                self._sent.add(name)
                if event.at - self._queued.pop(name, event.at) > _IMMEDIATE:
                    self._waited.add(name)
            case "left":
                self._sent.discard(name)
                self._queued.pop(name, None)
            case "created" | "adopted":
                self._sent.discard(name)
                counts.running += 1
            case "asked":
                counts.asked += 1
            case "ended":
                # success or failure counts in `ended`, once the outcome has come with its files
                counts.running -= 1
            case "downloaded":
                counts.files += 1
            case _:
                pass
        counts.queued, counts.waited = len(self._queued), len(self._waited)
        self._redraw()

    def ended(self, text: str, *, failed: bool = False) -> None:
        """Print how one request ended, above the redrawn line."""
        if failed:
            self.counts.failed += 1
        else:
            self.counts.succeeded += 1
        self._print(text)

    def _print(self, text: str) -> None:
        """Print a line that stays."""
        blank = "\r" + " " * self._shown_length + "\r" if self._redraws else ""
        print(f"{blank}{text}", file=self._stream, flush=True)
        self._shown_length = 0
        self._redraw()

    def close(self) -> None:
        """End the redrawn line, so that the cursor is on a line of its own."""
        if self._redraws and self._shown_length:
            print(file=self._stream, flush=True)
        self._shown_length = 0

    def _redraw(self) -> None:
        if self._redraws:
            # "\r" goes back to the start of one row only, so the line must not wrap
            text = progress_line(self.counts)[: shutil.get_terminal_size().columns - 1]
            print("\r" + text.ljust(self._shown_length), end="", file=self._stream, flush=True)
            self._shown_length = len(text)
