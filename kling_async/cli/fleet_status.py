"""Run ``kling fleet status``: print a snapshot of a fleet, or show it as it changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.fleet_dsn import dsn_of
from kling_async.cli.fleet_words import head_line, status_lines
from kling_async.cli.output import has_rich
from kling_async.fleet.database import need_extra

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Iterator

    from kling_async.cli.output import Output
    from kling_async.fleet.looking import Look

__all__ = ["fleet_status"]

_LINE_SECONDS: Final = 10.0
"""Seconds between two lines where nothing is redrawn."""


async def fleet_status(options: argparse.Namespace, output: Output) -> int:
    """Print a snapshot, or with ``--watch`` one after the other until interrupted."""
    dsn = dsn_of(options, output)
    need_extra()
    from kling_async.fleet.looking import look_once  # noqa: PLC0415 - with the extra only

    status = await look_once(dsn)
    if options.watch:
        return await _watch(dsn, output)
    if output.json_lines:
        output.record(status.to_dict())
        return ExitCode.DONE
    width = _width(output)
    for line in status_lines(status, width):
        output.line(line)
    return ExitCode.DONE


def _width(output: Output) -> int | None:
    """Return the columns of the terminal; None: there is none, and nothing is cut."""
    if not output.stdout.isatty():
        return None
    return os.get_terminal_size(output.stdout.fileno()).columns or None


async def _watch(dsn: str, output: Output) -> int:
    from kling_async.fleet.looking import looks  # noqa: PLC0415 - with the extra only

    async with contextlib.aclosing(looks(dsn)) as looking:
        if output.json_lines:
            await _print_records(looking, output)
        elif output.stdout.isatty() and has_rich():
            await _draw(looking, output)
        else:
            await _print_lines(looking, output)
    return ExitCode.DONE


async def _print_records(looking: AsyncIterator[Look], output: Output) -> None:
    """Print each snapshot as JSON, and on stderr when the database goes away and comes back."""
    away = False
    async for look in looking:
        if bool(look.away) != away:
            away = bool(look.away)
            output.say(f"kling: the database is away: {look.away}" if away else "kling: the database is back")
        if look.status is not None and not away:
            output.record(look.status.to_dict())


async def _print_lines(looking: AsyncIterator[Look], output: Output) -> None:
    """Print a line every ten seconds, without control characters."""
    loop = asyncio.get_running_loop()
    due, away = loop.time(), False
    async for look in looking:
        if loop.time() >= due or bool(look.away) != away:
            due, away = loop.time() + _LINE_SECONDS, bool(look.away)
            output.line(_away_words(look) if away else head_line(look.status))


def _away_words(look: Look) -> str:
    return f"database away for {look.seconds:.0f} s, tried each second: {look.away}"


async def _draw(looking: AsyncIterator[Look], output: Output) -> None:
    """Redraw a block each second; the last one stays when the command ends."""
    from rich.text import Text  # noqa: PLC0415 - an extra

    with _live(output) as (update, size):
        async for look in looking:
            width, height = size()
            lines = [] if look.status is None else status_lines(look.status, width)
            if look.away:
                lines.insert(0, _away_words(look))
            most = max(1, height - 1)
            if len(lines) > most:
                lines = [*lines[: most - 1], f"... {len(lines) - most + 1} more lines"]
            text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")
            if look.away:
                text.stylize("red", 0, len(lines[0]))
            update(text)


@contextlib.contextmanager
def _live(output: Output) -> Iterator[tuple[Callable[[Any], None], Callable[[], tuple[int, int]]]]:
    """Make what redraws a block; yield a function that draws, and one that returns the terminal's size."""
    from rich.console import Console  # noqa: PLC0415 - an extra
    from rich.live import Live  # noqa: PLC0415

    console = Console(file=output.stdout, no_color="NO_COLOR" in os.environ, highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        yield (
            lambda text: live.update(text, refresh=True),
            lambda: (console.size.width, console.size.height),
        )
