"""Show how a batch goes, on stderr: a block that is redrawn by ``rich``, or plain lines, or nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.cli.formats import clock
from kling_async.cli.messages import printable
from kling_async.cli.output import has_rich

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.batch.progress import Progress
    from kling_async.cli.output import Output

__all__ = ["BatchDisplay", "make_display", "plain_line", "state_lines"]

_LINE_SECONDS: Final = 10.0
"""Seconds between two plain lines, where something has changed."""
_QUIET_SECONDS: Final = 60.0
"""Seconds after which a plain line is printed though nothing has changed."""
_GAP: Final = "   "
_BAR: Final = 36
"""Most columns of the bar; on a wide terminal a longer one says no more."""


class BatchDisplay(Protocol):
    """Shows the progress of a batch."""

    def show(self, progress: Progress) -> None:
        """Show how far the batch is."""
        ...

    def say(self, text: str, *, command: bool = False) -> None:
        """Print a message that stays; one with a command is left in one line, so that it can be copied."""
        ...

    def close(self) -> None:
        """Take the block away. Harmless to repeat; messages are printed still."""
        ...


def make_display(mode: str, output: Output) -> BatchDisplay:
    """Return the display of a command.

    Args:
        mode: ``auto``: a block on a terminal with ``rich``, else plain lines; ``plain``; ``none``.
        output: Its stderr is written to.
    """
    mixes = output.json_lines and output.stdout.isatty()  # lines for machines on the same screen
    if mode == "none" or (mode == "auto" and mixes):
        return _Silent(output)
    if mode == "auto" and output.stderr.isatty() and has_rich():
        return _Block(output)
    return _Lines(output)


# -- words


def _slots(progress: Progress) -> str:
    used = [
        f"{name} {pool.held}/{pool.limit}"
        for name, pool in sorted(progress.slots.items())
        if pool.held or pool.queued or name in progress.units
    ]
    return f"slots {', '.join(used)}" if used else ""


def _units(progress: Progress) -> str:
    spent = [f"{units:.10g} {pool}" for pool, units in sorted(progress.units.items())]
    return f"{' + '.join(spent)} units" if spent else ""


def _left(progress: Progress) -> str:
    if progress.paused:
        return "paused"
    if progress.stopping:
        return "stopping"
    if progress.seconds_left is None:
        return f"{clock(progress.seconds)} so far"
    if progress.seconds_left < 1 and progress.running:
        return "any moment now"
    return f"{clock(progress.seconds_left)} left"


def _of_total(progress: Progress) -> str:
    return (
        f"{progress.finished} finished"
        if progress.total is None
        else f"{progress.finished} of {progress.total}"
    )


def state_lines(progress: Progress, width: int) -> list[str]:
    """Return the lines under the bar: jobs by state, then slots, units and rate, then the last file."""
    counts = {"running": progress.running, "queued": progress.queued, "done": progress.done}
    counts |= {name: n for name in ("failed", "skipped") if (n := getattr(progress, name))}
    rate = f"{progress.rate:.1f} a minute" if progress.rate else ""
    last = [] if progress.last_file is None else [f"last  {printable(str(progress.last_file))}"]
    jobs = [f"{name} {count}" for name, count in counts.items()]
    use = [part for part in (_slots(progress), _units(progress), rate) if part]
    return [*_packed(jobs, width), *_packed(use, width), *last]


def _packed(parts: list[str], width: int) -> list[str]:
    """Return parts beside each other, in as few lines of a width as hold them."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(_GAP) + len(part) <= width:
            lines[-1] += _GAP + part
        else:
            lines.append(part)
    return lines


def plain_line(progress: Progress) -> str:
    """Return all in one line, for logs."""
    counts = {"failed": progress.failed, "skipped": progress.skipped}
    parts = [_of_total(progress), *(f"{n} {name}" for name, n in counts.items() if n)]
    parts += [f"{progress.running} running", f"{progress.queued} queued", _slots(progress), _units(progress)]
    return ", ".join(filter(None, (*parts, _left(progress))))


# -- displays


class _Silent:
    """Shows nothing but messages."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def say(self, text: str, *, command: bool = False) -> None:  # noqa: ARG002 - nothing is broken here
        """Print a message."""
        self._output.say(text)

    def close(self) -> None:
        """Do nothing."""


class _Lines(_Silent):
    """Prints a line when jobs have ended, every ten seconds at most; without control characters."""

    def __init__(self, output: Output, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(output)
        self._now = now
        self._shown = -_QUIET_SECONDS
        self._finished: tuple[int, int] | None = None

    def show(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        state = progress.finished, progress.running
        if not (progress.running or progress.finished):
            return  # the first tasks are on their way
        age = self._now() - self._shown
        if age >= _QUIET_SECONDS or (state != self._finished and age >= _LINE_SECONDS):
            self._shown, self._finished = self._now(), state
            self._output.say(plain_line(progress))


class _Block:
    """Redraws a block below the messages."""

    def __init__(self, output: Output) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(file=output.stderr, no_color="NO_COLOR" in os.environ, highlight=False)
        # transient: the report takes the place of the block
        self._live: Live | None = Live(console=self._console, auto_refresh=False, transient=True)
        self._output = output
        self._started = False

    def show(self, progress: Progress) -> None:
        """Redraw the block."""
        if self._live is None:
            return
        if not self._started:
            self._started = True
            self._live.start()
        self._live.update(_drawn(progress, self._console.width), refresh=True)

    def say(self, text: str, *, command: bool = False) -> None:
        """Print a message above the block."""
        if self._live is None or not self._started:
            self._output.say(text)
        else:
            from rich.text import Text  # noqa: PLC0415

            self._console.print(Text(printable(text)), soft_wrap=command)

    def close(self) -> None:
        """Take the block away."""
        live, self._live = self._live, None
        if live is not None and self._started:
            live.stop()


def _drawn(progress: Progress, width: int) -> Any:
    """Return the block for ``rich``."""
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    words = f"  {_of_total(progress)}   {_left(progress)}"
    head: Any = Text(words.strip(), no_wrap=True, overflow="ellipsis")
    if progress.total:
        head = Table.grid()
        bar = max(4, min(_BAR, width - len(words) - 1))
        head.add_row(
            ProgressBar(total=progress.total, completed=progress.finished, width=bar),
            Text(words, no_wrap=True, overflow="ellipsis"),
        )
    lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in state_lines(progress, width)]
    for line in lines[1:]:
        line.stylize("dim")
    if progress.failed:
        lines[0].highlight_regex(r"failed \d+", "red")
    return Group(head, *lines)
