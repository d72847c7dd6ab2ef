"""Lifecycles of a batch and of its jobs: their states, the legal moves, and what each state allows."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from kling_async.batch.entry import ResumeAction
from kling_async.core.lifecycle import IllegalMove, Lifecycle

if TYPE_CHECKING:
    from kling_async.batch.outcomes import StopReason
    from kling_async.core.lifecycle import Moves

__all__ = ["BATCH_MOVES", "RUN_MOVES", "BatchLife", "BatchState", "RunLife", "RunState"]


class BatchState(enum.Enum):
    """How far a batch has come."""

    OPEN = "open"
    """The input is read, tasks are started."""
    DRAINING = "draining"
    """The input has ended, or broke: jobs under way go on to their ends, new attempts included."""
    STOPPED = "stopped"
    """Ended early by ``stop()``, by a failure or by an error that concerns every job: make no more tasks;
    running ones are waited for."""
    INTERRUPTED = "interrupted"
    """Ended early by a signal: as when stopped; the next signal waits for nothing."""
    CLOSED = "closed"
    """Left, or interrupted twice: nothing is waited for; tasks run on at the vendor's."""
    ENDED = "ended"
    """Every job is over, every outcome handed out or ready to be taken."""


_B = BatchState
BATCH_MOVES: Final[Moves[BatchState]] = {
    _B.OPEN: frozenset({_B.DRAINING, _B.STOPPED, _B.INTERRUPTED, _B.CLOSED}),
    _B.DRAINING: frozenset({_B.STOPPED, _B.INTERRUPTED, _B.CLOSED, _B.ENDED}),
    _B.STOPPED: frozenset({_B.INTERRUPTED, _B.CLOSED, _B.ENDED}),
    _B.INTERRUPTED: frozenset({_B.CLOSED, _B.ENDED}),
    _B.CLOSED: frozenset({_B.ENDED}),
    _B.ENDED: frozenset(),
}
"""Forward only: whatever ends a batch sooner overrides what ends it later."""


class BatchLife:
    """The state of a batch, the first reason to make no more tasks, and the error to raise at the end."""

    def __init__(self) -> None:
        self._life = Lifecycle(BATCH_MOVES, BatchState.OPEN)
        self.reason: StopReason = ""
        self.error: Exception | None = None

    @property
    def state(self) -> BatchState:
        """How far the batch has come."""
        return self._life.state

    @property
    def reads(self) -> bool:
        """Whether the input is read on."""
        return self.state is BatchState.OPEN

    @property
    def may_create(self) -> bool:
        """Whether jobs under way may make tasks."""
        return self.state in (BatchState.OPEN, BatchState.DRAINING)

    @property
    def ended(self) -> bool:
        """Whether every job is over."""
        return self.state is BatchState.ENDED

    def input_ended(self, reason: StopReason = "", error: Exception | None = None) -> None:
        """Note that no more is read: the input is exhausted, or it or a look-up failed with an error."""
        self.fault(reason, error)
        if self._life.can(BatchState.DRAINING):
            self._life.move(BatchState.DRAINING)

    def fault(self, reason: StopReason, error: Exception | None) -> None:
        """Note an error to raise at the end, and why; the first of each counts."""
        self.reason = self.reason or reason
        self.error = self.error or error

    def stop(self, reason: StopReason, error: Exception | None = None) -> None:
        """Make no more tasks. A batch that was stopped before, or ended, keeps its first reason."""
        self._halt(BatchState.STOPPED, reason, error)

    def interrupt(self, signal: StopReason) -> bool:
        """Note a signal: the first stops the batch, the next closes it; return whether it was the first."""
        if self.state in (BatchState.INTERRUPTED, BatchState.CLOSED):
            self._once(BatchState.CLOSED)
            return False
        self._halt(BatchState.INTERRUPTED, signal)
        return True

    def close(self) -> None:
        """Wait for nothing any more."""
        self._halt(BatchState.CLOSED, "closed")

    def end(self) -> None:
        """Note that every job is over.

        Raises:
            IllegalMove: The input was not read to its end, and nothing stopped the batch.
        """
        self._life.move(BatchState.ENDED)

    def take_error(self) -> Exception | None:
        """Return the error to raise, once."""
        error, self.error = self.error, None
        return error

    def _halt(self, state: BatchState, reason: StopReason, error: Exception | None = None) -> None:
        if self.ended:
            return
        if not self.reason:
            self.reason, self.error = reason, error
        if self._life.can(state):
            self._life.move(state)

    def _once(self, state: BatchState) -> None:
        if self.state is not state:
            self._life.move(state)


class RunState(enum.Enum):
    """How far a job of this run has come, with the task of its latest attempt."""

    UNSENT = "unsent"
    """No task exists: nothing was sent, or every create was surely refused."""
    SENT = "sent"
    """A create may have been sent, by this run or an earlier one: its task may exist, unseen."""
    RUNNING = "running"
    """The task exists and was not seen ended."""
    ENDED = "ended"
    """The task was seen ended, by this run or an earlier one: its files may be missing, its end unwritten."""
    OVER = "over"
    """The job's outcome was handed out, or the batch has let the job go."""


_R = RunState
RUN_MOVES: Final[Moves[RunState]] = {
    _R.UNSENT: frozenset({_R.SENT, _R.OVER}),
    _R.SENT: frozenset({_R.UNSENT, _R.RUNNING, _R.OVER}),
    _R.RUNNING: frozenset({_R.ENDED, _R.OVER}),
    # to UNSENT: the next attempt of a job whose task failed
    _R.ENDED: frozenset({_R.UNSENT, _R.OVER}),
    _R.OVER: frozenset(),
}

_BEGINS: Final = {
    ResumeAction.CREATE_DOUBTFUL: RunState.SENT,
    ResumeAction.WAIT: RunState.RUNNING,
    ResumeAction.FETCH: RunState.ENDED,
}


class RunLife:
    """The state of one job of a run; it begins where an earlier run left the job.

    Steps that the state does not allow raise `IllegalMove` and change nothing.
    """

    __slots__ = ("_life",)

    def __init__(self, action: ResumeAction) -> None:
        self._life = Lifecycle(RUN_MOVES, _BEGINS.get(action, RunState.UNSENT))

    @property
    def state(self) -> RunState:
        """How far the job has come."""
        return self._life.state

    @property
    def sent(self) -> bool:
        """Whether a create may have been sent whose task was not seen yet."""
        return self.state is RunState.SENT

    @property
    def running(self) -> bool:
        """Whether a task exists, or may, that was not seen ended."""
        return self.state in (RunState.SENT, RunState.RUNNING)

    may_cost_yet = running
    """Whether a task may still be billed: what was reserved for it stays reserved."""

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for the job."""
        return self.state is RunState.OVER

    def sending(self) -> None:
        """Note that the first byte of a create is about to be sent."""
        if not self.sent:  # by an earlier run it may have been
            self._life.move(RunState.SENT)

    def refused(self) -> None:
        """Note that every create was surely refused."""
        self._leave(RunState.SENT, RunState.UNSENT)

    def created(self) -> None:
        """Note that the task exists."""
        self._life.move(RunState.RUNNING)

    def ended(self) -> None:
        """Note that the task was seen ended."""
        if self.state is not RunState.ENDED:  # an earlier run may have seen it
            self._life.move(RunState.ENDED)

    def retried(self) -> None:
        """Note that the next attempt begins."""
        self._leave(RunState.ENDED, RunState.UNSENT)

    def finish(self) -> None:
        """Note that the job is over."""
        self._life.move(RunState.OVER)

    def _leave(self, state: RunState, to: RunState) -> None:
        """Move out of one state only, where another one has a move to the same."""
        if self.state is not state:
            raise IllegalMove(f"RunState cannot move from {self.state.name} to {to.name} in this way")
        self._life.move(to)
