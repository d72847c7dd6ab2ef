"""batch/lifecycle.py: every move of a batch and of a job is legal or raises, and raising changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async.batch.entry import ResumeAction
from kling_async.batch.lifecycle import BATCH_MOVES, RUN_MOVES, BatchLife, BatchState, RunLife, RunState
from kling_async.core.lifecycle import IllegalMove, Lifecycle

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

    from kling_async.batch.outcomes import StopReason

BOOM = RuntimeError("boom")
B, R = BatchState, RunState


def batch_in(state: BatchState, *, reason: StopReason = "") -> BatchLife:
    """A batch's life in some state."""
    life = BatchLife()
    life._life = Lifecycle(BATCH_MOVES, state)
    life.reason = reason
    return life


def run_in(state: RunState) -> RunLife:
    """A job's life in some state."""
    life = RunLife(ResumeAction.CREATE)
    life._life = Lifecycle(RUN_MOVES, state)
    return life


@pytest.mark.parametrize(("states", "moves"), [(BatchState, BATCH_MOVES), (RunState, RUN_MOVES)])
def test_every_state_stands_in_its_table(states: Any, moves: Any) -> None:
    """Each has its moves, only to states of its own kind; each can be reached, one is final."""
    assert set(moves) == set(states)
    reached = {next(iter(states))}
    for _ in states:
        reached |= {after for state in reached for after in moves[state]}
    assert reached == set(states)
    assert [state for state in states if not moves[state]] == [list(states)[-1]]


# -- a batch

EVENTS: dict[str, Callable[[BatchLife], object]] = {
    "input": lambda life: life.input_ended("input", BOOM),
    "stop": lambda life: life.stop("account", BOOM),
    "signal": lambda life: life.interrupt("SIGINT"),
    "close": lambda life: life.close(),
    "end": lambda life: life.end(),
}
AFTER: dict[BatchState, dict[str, BatchState | None]] = {
    B.OPEN: {
        "input": B.DRAINING,
        "stop": B.STOPPED,
        "signal": B.INTERRUPTED,
        "close": B.CLOSED,
        "end": None,
    },
    B.DRAINING: {
        "input": B.DRAINING,
        "stop": B.STOPPED,
        "signal": B.INTERRUPTED,
        "close": B.CLOSED,
        "end": B.ENDED,
    },
    B.STOPPED: {
        "input": B.STOPPED,
        "stop": B.STOPPED,
        "signal": B.INTERRUPTED,
        "close": B.CLOSED,
        "end": B.ENDED,
    },
    B.INTERRUPTED: {
        "input": B.INTERRUPTED,
        "stop": B.INTERRUPTED,
        "signal": B.CLOSED,
        "close": B.CLOSED,
        "end": B.ENDED,
    },
    B.CLOSED: {
        "input": B.CLOSED,
        "stop": B.CLOSED,
        "signal": B.CLOSED,
        "close": B.CLOSED,
        "end": B.ENDED,
    },
    B.ENDED: {
        "input": B.ENDED,
        "stop": B.ENDED,
        "signal": B.ENDED,
        "close": B.ENDED,
        "end": None,
    },
}
"""State by event; None: illegal."""


@pytest.mark.parametrize("state", BatchState)
@pytest.mark.parametrize("event", EVENTS)
def test_batch_state_by_event(state: BatchState, event: str) -> None:
    """Each event has one result in each state; an illegal one raises and changes nothing."""
    life = batch_in(state)
    expected = AFTER[state][event]
    if expected is None:
        with pytest.raises(IllegalMove):
            EVENTS[event](life)
        assert (life.state, life.reason, life.error) == (state, "", None)
    else:
        EVENTS[event](life)
        assert life.state is expected


@pytest.mark.parametrize(
    ("state", "reads", "may_create"),
    [
        (B.OPEN, True, True),
        (B.DRAINING, False, True),
        (B.STOPPED, False, False),
        (B.INTERRUPTED, False, False),
        (B.CLOSED, False, False),
        (B.ENDED, False, False),
    ],
)
def test_what_each_state_allows(state: BatchState, reads: bool, may_create: bool) -> None:
    """To read on, and to make tasks."""
    life = batch_in(state)
    assert (life.reads, life.may_create) == (reads, may_create)
    assert life.ended == (state is B.ENDED)


def test_the_first_reason_counts() -> None:
    """A batch that was stopped for one reason is not stopped for another, nor raises that one's error."""
    life = BatchLife()
    life.stop("stop()")
    life.stop("account", BOOM)
    life.close()
    assert (life.reason, life.error, life.state) == ("stop()", None, B.CLOSED)


def test_what_comes_after_the_end_has_no_reason() -> None:
    """Nothing was stopped by leaving a batch that has ended."""
    life = BatchLife()
    life.input_ended()
    life.end()
    life.stop("error", BOOM)
    life.close()
    assert (life.reason, life.error, life.state) == ("", None, B.ENDED)


def test_an_error_of_the_input_is_raised_though_the_batch_was_stopped() -> None:
    """Its reason stays the first one; the error is handed out once."""
    life = BatchLife()
    life.stop("stop()")
    life.fault("input", BOOM)
    assert (life.reason, life.take_error(), life.take_error()) == ("stop()", BOOM, None)


def test_the_second_signal_closes() -> None:
    """Whatever stopped the batch before, the first signal is polite."""
    life = BatchLife()
    life.stop("stop()")
    assert life.interrupt("SIGINT") and not life.interrupt("SIGINT") and not life.interrupt("SIGINT")
    assert (life.state, life.reason) == (B.CLOSED, "stop()")


# -- a job

STEPS: dict[str, tuple[Callable[[RunLife], object], dict[RunState, RunState]]] = {
    "sending": (lambda life: life.sending(), {R.UNSENT: R.SENT, R.SENT: R.SENT}),
    "refused": (lambda life: life.refused(), {R.SENT: R.UNSENT}),
    "created": (lambda life: life.created(), {R.SENT: R.RUNNING}),
    "ended": (lambda life: life.ended(), {R.RUNNING: R.ENDED, R.ENDED: R.ENDED}),
    "retried": (lambda life: life.retried(), {R.ENDED: R.UNSENT}),
    "finish": (lambda life: life.finish(), {state: R.OVER for state in R if state is not R.OVER}),
}
"""What legal steps lead to; from any other state they raise."""


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("step", STEPS)
def test_job_state_by_event(state: RunState, step: str) -> None:
    """Each step leads on, or raises and changes nothing."""
    life = run_in(state)
    take, after = STEPS[step]
    if state in after:
        take(life)
        assert life.state is after[state]
    else:
        with pytest.raises(IllegalMove):
            take(life)
        assert life.state is state


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (ResumeAction.CREATE, R.UNSENT),
        (ResumeAction.RETRY, R.UNSENT),
        (ResumeAction.NOTHING, R.UNSENT),
        (ResumeAction.CREATE_DOUBTFUL, R.SENT),
        (ResumeAction.WAIT, R.RUNNING),
        (ResumeAction.FETCH, R.ENDED),
    ],
)
def test_a_job_begins_where_an_earlier_run_left_it(action: ResumeAction, state: enum.Enum) -> None:
    """By what is left to do for it."""
    assert RunLife(action).state is state


def test_what_runs_may_cost() -> None:
    """A create that may have been sent counts as a task that runs."""
    assert [run_in(state).running for state in R] == [False, True, True, False, False]
    assert [run_in(state).may_cost_yet for state in R] == [False, True, True, False, False]
    assert [run_in(state).over for state in R] == [False, False, False, False, True]
