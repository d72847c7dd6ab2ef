"""The types that a worker and its carrier share: how the run of a job ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.batch.budget import BatchControl
    from kling_async.batch.failures import FailureAction
    from kling_async.batch.pausing import PauseSwitch
    from kling_async.core.queue import Kind
    from kling_async.errors import KlingError
    from kling_async.fleet.journal import JournalWriter
    from kling_async.fleet.taking import TakenJob

__all__ = ["CarriesJobs", "Ending", "Left", "NewCarrier"]


class Left(NamedTuple):
    """Why a job was left before its end."""

    error: Exception | None = None
    """The error; None: the worker ends, or nothing is known."""
    action: FailureAction | None = None
    """What follows from it for other jobs."""


Ending: TypeAlias = Left | None
"""How a run ended; None: the job has ended, or is another worker's."""


class CarriesJobs(Protocol):
    """Carries the jobs that a worker takes: `carrying.Carrier`."""

    async def carry(self, taken: TakenJob) -> Ending:
        """Do what is left to do for a job."""
        ...

    def sent(self) -> list[str]:
        """Return the ids of tasks that run, or may."""
        ...

    def on_hold(self, kind: Kind, error: KlingError) -> None:
        """Leave the jobs whose creates the client holds, but one."""
        ...

    def drop_unsent(self) -> None:
        """Leave the jobs for which nothing was sent."""
        ...

    def leave(self) -> None:
        """Leave all jobs; tasks run on at the vendor's."""
        ...


NewCarrier: TypeAlias = "Callable[[JournalWriter, BatchControl, PauseSwitch], CarriesJobs]"
"""Returns the carrier of one worker."""
