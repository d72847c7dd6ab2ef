"""The pause of a batch: hold back what is not sent, and take back what queues for slots."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from kling_async.errors import TaskWithdrawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.orchestrator.submission import Submission
    from kling_async.runtime.loop import LoopScope

__all__ = ["PauseSwitch"]


class PauseSwitch:
    """Whether a batch is paused, and the jobs that wait for its end.

    A flag beside the states of a batch: it lies over the open and the draining one alike, and what ends
    either ends the pause.

    Args:
        scope: The client's loop.
    """

    def __init__(self, scope: LoopScope) -> None:
        self._scope = scope
        self._gate = asyncio.Event()
        self._gate.set()
        self.count = 0
        """Pauses so far, the present one included."""
        self._queued: dict[Submission, None] = {}  # in the order in which they were submitted

    @property
    def paused(self) -> bool:
        """Whether no creates are sent now."""
        return not self._gate.is_set()

    def pause(self) -> None:
        """Hold back what is not sent yet; what queues for slots leaves the queue."""
        if self.paused:
            return
        gate = asyncio.Event()
        # ends with the client: jobs held back then go on, and are told that it is closed
        work = self._scope.spawn(_opened(gate), "paused batch")
        work.add_done_callback(lambda _: gate.set())
        self._gate = gate
        self.count += 1
        for submission in self._queued:
            # one that is in doubt keeps its place: its job finds out, when its turn comes, that it is held
            if submission.queued and not submission.may_exist:
                submission.tell(TaskWithdrawn(submission.external_task_id))

    def resume(self) -> None:
        """Let jobs go on, in the order in which they were held back."""
        self._gate.set()

    async def clearance(self) -> None:
        """Wait until the batch is not paused."""
        while self.paused:
            await self._gate.wait()

    @contextlib.contextmanager
    def withdrawable(self, submission: Submission) -> Iterator[None]:
        """Let `pause` take the submission out of the queue; its caller is told by `TaskWithdrawn`."""
        self._queued[submission] = None
        try:
            yield
        finally:
            del self._queued[submission]


async def _opened(gate: asyncio.Event) -> None:
    await gate.wait()
