"""Show how far a batch has come: a value, and the function or bar that gets it while the batch runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from kling_async.display.fields import fields_bundle
from kling_async.events import facts
from kling_async.orchestrator.pool_states import PoolState
from kling_async.redaction import Serializable

__all__ = ["Progress", "ProgressBar", "ProgressReporter", "ShowProgress"]

log = logging.getLogger("kling_async.batch")

_PAUSE: Final = 0.1
"""Seconds between two looks."""
_UNCHANGED: Final = 1.0
"""Seconds after which a value is shown though no count has changed: times have."""
_SHARE: Final = 20
"""A look may take a twentieth of the time: with very many jobs under way looks become rarer."""


class Progress(Serializable, frozen=True, kw_only=True):
    """The progress of a batch at one moment, as `Batch.progress` returns it.

    Where the total is known, queued, running, done, failed and skipped add up to it.
    """

    total: int | None
    """Requests in the input; None while that is not known: an input without a length tells at its end."""
    queued: int
    """Requests without a task: those at hand, and, where the total is known, those yet to be read."""
    running: int
    """Requests whose task runs, or may run."""
    done: int
    """Requests with a result, those that earlier runs finished included."""
    failed: int
    """Requests without a result, or without a file that was asked for, likewise."""
    skipped: int
    """Requests that are not made though others are: see `Report.skipped`."""
    resumed: int
    """Requests among ``done`` and ``failed`` that earlier runs finished."""
    units: dict[str, float]
    """Units that this run has spent, by pool."""
    seconds: float
    """How long the batch has run."""
    rate: float
    """Requests that this run has finished a minute."""
    seconds_left: float | None
    """Expected seconds until all is done, at the present slots; None while that is not known: the total is
    not, or no task of a pool was seen to end yet."""
    slots: dict[str, PoolState]
    """The slots of each pool, as ``client.account.limits()`` shows them."""
    last_file: Path | None
    """The file stored last."""
    paused: bool
    """Whether the batch is paused."""
    stopping: bool
    """Whether no more tasks are made, and those that run are waited for."""

    _repr_mimebundle_ = fields_bundle

    @property
    def finished(self) -> int:
        """Requests that are over: done, failed or skipped."""
        return self.done + self.failed + self.skipped


@runtime_checkable
class ProgressBar(Protocol):
    """A bar of tqdm, as far as it is used: total, place, and words behind."""

    total: float | None
    n: float
    initial: float

    def set_postfix(self, ordered_dict: Any = None, refresh: bool | None = True, **kwargs: Any) -> object:
        """Set the words behind the bar."""
        ...

    def refresh(self) -> object:
        """Draw the bar."""
        ...


ShowProgress: TypeAlias = Callable[[Progress], object] | ProgressBar
"""Takes the progress of a batch: a function, or a bar of tqdm."""


class ProgressReporter:
    """Shows the progress of a batch while it runs: at most ten times a second, and once at the end.

    Args:
        look: Returns the progress.
        show: Gets it. An exception in it is logged, once.
    """

    def __init__(self, look: Callable[[], Progress], show: ShowProgress) -> None:
        self._look = look
        self._show = _draw_in(show) if isinstance(show, ProgressBar) else show
        self._task: asyncio.Task[None] | None = None
        self._raised = False

    def start(self) -> None:
        """Begin to show."""
        self._task = asyncio.create_task(self._run(), name="kling_async batch progress")

    async def stop(self) -> None:
        """Show the end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(task, return_exceptions=True)
            self._tell(self._look())

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        told, counts = clock(), None
        while True:
            before = time.perf_counter()
            progress = self._look()
            took = time.perf_counter() - before
            new = _counts(progress)
            if new != counts or clock() - told >= _UNCHANGED:
                told, counts = clock(), new
                self._tell(progress)
            await asyncio.sleep(min(_UNCHANGED, max(_PAUSE, _SHARE * took)))

    def _tell(self, progress: Progress) -> None:
        try:
            self._show(progress)
        except Exception:
            if not self._raised:
                self._raised = True
                log.exception("progress= raised; further exceptions in it are not logged", extra=facts())


def _counts(progress: Progress) -> tuple[object, ...]:
    """Return what of a progress is worth being shown at once."""
    p = progress
    return (p.total, p.queued, p.running, p.done, p.failed, p.skipped, p.last_file, p.paused, p.stopping)


def _draw_in(bar: ProgressBar) -> Callable[[Progress], object]:
    """Return the function that shows progress in a bar of tqdm; its owner closes it."""

    def show(progress: Progress) -> None:
        bar.total, bar.n, bar.initial = progress.total, progress.finished, progress.resumed
        words: dict[str, object] = {"running": progress.running, "queued": progress.queued}
        words |= {"failed": progress.failed} if progress.failed else {}
        words |= {f"{pool} units": f"{units:.10g}" for pool, units in progress.units.items()}
        bar.set_postfix(words, refresh=False)
        bar.refresh()

    return show
