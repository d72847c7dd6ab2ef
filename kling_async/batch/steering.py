"""Steer a batch while it runs: hold its creates back for a while, change its limit of units."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from kling_async.batch.pausing import PauseSwitch
from kling_async.errors import Problem, RequestInvalid
from kling_async.orchestrator.leftovers import running_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.batch.budget import Budget
    from kling_async.batch.feeder import Feeder
    from kling_async.batch.lifecycle import BatchLife
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.outcomes import OutcomeQueue, Report
    from kling_async.display.html import MimeBundle
    from kling_async.orchestrator.engine import Engine

__all__ = ["Steering"]

R = TypeVar("R")


class Steering(Generic[R]):
    """The controls of a batch that runs.

    Args:
        engine: The client's.
    """

    _engine: Engine
    _options: BatchOptions
    _life: BatchLife
    _budget: Budget
    _outcomes: OutcomeQueue[R]
    _feeder: Feeder

    def __init__(self, engine: Engine) -> None:
        self._pauses = PauseSwitch(engine.scope)

    if TYPE_CHECKING:

        @property
        def report(self) -> Report:
            """The counts and costs so far, and how to resume."""
            ...

    @property
    def _feeding(self) -> asyncio.Task[None] | None:
        """The task that reads the input; None before the batch is entered."""
        return self._feeder.task

    @property
    def entered(self) -> bool:
        """Whether the batch was entered: then it runs, or has ended."""
        return self._feeding is not None

    def _note_running(self, error: BaseException | None) -> None:
        """Let an interrupt name the tasks that run on, and say how to resume."""
        if isinstance(error, asyncio.CancelledError | KeyboardInterrupt) and not self._life.ended:
            error.add_note(f"{self.report.advice} {running_words(self._engine.running())}".strip())

    @property
    def paused(self) -> bool:
        """Whether the batch is paused: `pause` was called, and neither `resume` nor anything that ends it."""
        return self._pauses.paused

    def pause(self) -> None:
        """Send no more creates until `resume`; running tasks are waited for, their outcomes come.

        Requests that queue for slots leave the queue. The input is read on as far as ``ahead`` allows. While
        nothing runs, an iteration waits. Stopping, leaving and signals work as ever, and end the pause.
        Harmless to repeat; may be called from any thread.

        Raises:
            RuntimeError: The batch was not entered.
        """
        if self._feeding is None:
            raise RuntimeError("a batch is entered first: async with client.batch(...) as results")
        self._engine.scope.act(lambda: self._pauses.pause() if self._life.may_create else None)

    def resume(self) -> None:
        """Go on after `pause`. Harmless to repeat; may be called from any thread."""
        self._engine.scope.act(self._pauses.resume)

    @property
    def max_units(self) -> float | Mapping[str, float] | None:
        """The limit of units; set it while the batch runs, in any form that the option takes.

        A request that waits for units, and those that come, are judged by the new limit; one that was
        skipped before stays skipped in this run. A lower limit skips what is not sent and does not fit.

        Raises:
            RequestInvalid: The limit is wrong, or the batch has a journal and began without any limit: then
                the units of earlier runs were not counted.
        """
        return self._options.max_units

    @max_units.setter
    def max_units(self, most: float | Mapping[str, float] | None) -> None:
        options = msgspec.structs.replace(self._options, max_units=most)
        begun = self._feeding is not None
        uncounted = begun and options.journal is not None and not self._budget.counts_earlier_runs
        if uncounted and most is not None:
            text = (
                "was not set when the batch began, so earlier runs were not counted; begin with a large one"
            )
            raise RequestInvalid("batch", [Problem("max_units", text)])
        self._options = options
        self._budget.limit_to(most, begun=begun)
        self._outcomes.notify()

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        return self.report._repr_mimebundle_()
