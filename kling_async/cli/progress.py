"""One live line of progress, from a client's events. Drawing is a pure function of the counts."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, TextIO

import msgspec

if TYPE_CHECKING:
    from kling_async.events import Event

__all__ = ["Counts", "Progress", "line"]

_AT_ONCE = 0.05


class Counts(msgspec.Struct):
    """How far a batch is."""

    total: int
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    """Creates that met a full account (1303) and went back to their place."""
    waited: int = 0
    """Submits that were not sent at once."""
    asked: int = 0
    files: int = 0


def line(counts: Counts, width: int = 16) -> str:
    """Draw the counts.

    >>> line(Counts(total=4, running=1, succeeded=2), width=4)
    '##-.  2/4 done, 1 running, 0 queued'
    """
    ended = counts.succeeded + counts.failed
    done = width * ended // max(1, counts.total)
    running = -(-width * min(counts.running, counts.total - ended) // max(1, counts.total))
    running = min(running, width - done)
    bar = "#" * done + "-" * running + "." * (width - done - running)
    text = f"{bar}  {ended}/{counts.total} done, {counts.running} running, {counts.queued} queued"
    if counts.refused:
        text += f", {counts.refused} x full"
    return text + (f", {counts.failed} failed" if counts.failed else "")


class Progress:
    """Counts events and shows them: one line that renews itself on a terminal, else a line per ended task."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.counts = Counts(total)
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._queued: dict[str | None, float] = {}
        self._sent: set[str | None] = set()
        self._waited: set[str | None] = set()
        self._length = 0

    def __call__(self, event: Event) -> None:
        """Take one event of the client's."""
        counts, name = self.counts, event.external_task_id
        match event.kind:
            case "queued" | "refused":
                counts.refused += event.kind == "refused"
                if event.kind == "queued" or name in self._sent:  # else its submitter has left
                    self._queued.setdefault(name, event.at)
                self._sent.discard(name)
            case "admitted":
                self._sent.add(name)
                if event.at - self._queued.pop(name, event.at) > _AT_ONCE:
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
                counts.running -= 1
            case "downloaded":
                counts.files += 1
            case _:
                pass
        counts.queued, counts.waited = len(self._queued), len(self._waited)
        self._show()

    def ended(self, text: str, *, failed: bool = False) -> None:
        """Say how one job ended, above the live line."""
        if failed:
            self.counts.failed += 1
        else:
            self.counts.succeeded += 1
        self.say(text)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        blank = "\r" + " " * self._length + "\r" if self._live else ""
        print(f"{blank}{text}", file=self._stream, flush=True)
        self._length = 0
        self._show()

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._live and self._length:
            print(file=self._stream, flush=True)
        self._length = 0

    def _show(self) -> None:
        if self._live:
            text = line(self.counts)[: shutil.get_terminal_size().columns - 1]  # a line that wraps stays
            print("\r" + text.ljust(self._length), end="", file=self._stream, flush=True)
            self._length = len(text)
