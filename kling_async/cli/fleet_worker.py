"""Run ``kling fleet worker``: take jobs and carry them until a signal drains the worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.fleet_dsn import dsn_of
from kling_async.cli.session import open_client

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from kling_async.cli.output import Output
    from kling_async.fleet.worker import FleetWorker

__all__ = ["fleet_worker"]


async def fleet_worker(options: argparse.Namespace, output: Output) -> int:
    """Work until a signal; return the exit status: 3 if tasks run on, for other workers."""
    from kling_async.fleet.database import need_extra  # noqa: PLC0415 - an extra

    need_extra()
    from kling_async.fleet.fleet import Fleet  # noqa: PLC0415 - as above

    dsn = dsn_of(options, output)
    with _log_shown(output, debug=options.debug):
        async with open_client(options, output, slots=dsn) as client, Fleet(dsn) as fleet:
            signals = _Signals()
            with signals:
                await fleet.work(
                    client,
                    concurrency=options.concurrency,
                    out=options.out,
                    retries=options.retries,
                    grace=options.grace,
                    signals=False,
                    on_start=signals.listen,
                )
            left = signals.left
    return ExitCode.STOPPED if left else ExitCode.DONE


class _Signals:
    """Signals for a worker: the first drains it, the second lets it leave, the third ends the process."""

    def __init__(self) -> None:
        self._worker: FleetWorker | None = None
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, Any] = {}
        self._heard = 0

    def listen(self, worker: FleetWorker) -> None:
        """Take the worker that signals are for."""
        self._worker = worker

    @property
    def left(self) -> bool:
        """Whether the worker has left tasks that run."""
        return self._worker is not None and self._worker.left > 0

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, _: object) -> None:
        self._heard += 1
        if self._heard > 2 or self._worker is None:
            os._exit(128 + number)
        step = self._worker.drain if self._heard == 1 else self._worker.leave
        self._loop.call_soon_threadsafe(step, signal.Signals(number).name)


@contextlib.contextmanager
def _log_shown(output: Output, *, debug: bool) -> Iterator[None]:
    """Show what the worker says of itself; with ``--debug`` the whole log is shown anyway."""
    handler = _Handler(output)
    own, slots = logging.getLogger("kling_async.fleet"), logging.getLogger("kling_async.orchestrator")
    before = [] if debug else [(own, own.level), (slots, slots.level)]
    for log, _ in before:
        log.addHandler(handler)
        log.setLevel(logging.INFO if log is own else logging.WARNING)
    try:
        yield
    finally:
        for log, old in before:
            log.removeHandler(handler)
            log.setLevel(old)


class _Handler(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as one line."""
        warning = "warning: " if record.levelno >= logging.WARNING else ""
        self._output.say(f"kling: {warning}{record.getMessage()}")
