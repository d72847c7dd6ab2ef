"""Whether a pool is open: every event in every state, and the table of moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from kling_async.core.pacing import ACCESS_MOVES, HALF_OPEN_AFTER, Access, Closure
from kling_async.core.queue import PHASE_MOVES, Phase
from kling_async.errors import OutOfUnits
from tests.core.lifecycles import walk_table

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = OutOfUnits("no units", code=1102, http_status=429)
OTHER = OutOfUnits("still none", code=1102, http_status=429)


def closure_in(state: Access) -> Closure:
    """A pool's closure in that state at time 100; a closed one was closed then."""
    closure = Closure()
    if state is not Access.OPEN:
        closure.close(OUT, 100.0 if state is Access.CLOSED else 0.0)
    closure.advance(100.0)
    assert closure.life.state is state
    return closure


EVENTS: dict[str, tuple[Callable[[Closure], object], dict[Access, Access]]] = {
    "closed": (
        lambda closure: closure.close(OTHER, 100.0),
        dict.fromkeys(Access, Access.CLOSED),
    ),
    "opened by hand": (lambda closure: closure.open(), dict.fromkeys(Access, Access.OPEN)),
    "a moment passes": (lambda closure: closure.advance(101.0), {state: state for state in Access}),
    "a minute passes": (
        lambda closure: closure.advance(100.0 + HALF_OPEN_AFTER),
        {**{state: state for state in Access}, Access.CLOSED: Access.HALF_OPEN},
    ),
    "an answer to an early create": (
        lambda closure: closure.answered(0.0),
        {state: state for state in Access},
    ),
    "an answer to a probe": (
        lambda closure: closure.answered(100.0),
        {Access.OPEN: Access.OPEN, Access.CLOSED: Access.CLOSED, Access.HALF_OPEN: Access.OPEN},
    ),
}


@pytest.mark.parametrize("state", Access, ids=lambda state: state.value)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_state_of_a_pools_closure(event: str, state: Access) -> None:
    """The state that follows, and the error and the time that belong to it."""
    closure = closure_in(state)
    act, expected = EVENTS[event]
    act(closure)
    assert closure.life.state is expected[state]
    assert (closure.error is None) == (closure.life.state is Access.OPEN)
    assert (closure.half_open_at == math.inf) == (closure.life.state is Access.OPEN)
    if event == "closed":
        assert (closure.error, closure.half_open_at) == (OTHER, 100.0 + HALF_OPEN_AFTER)


@pytest.mark.parametrize(
    ("state", "sent", "out"),
    [
        (Access.OPEN, 0.0, False),
        (Access.CLOSED, 99.0, True),
        (Access.CLOSED, 160.0, False),
        (Access.HALF_OPEN, 59.0, True),
        (Access.HALF_OPEN, 60.0, False),
    ],
)
def test_what_was_sent_before_the_pool_closed_may_not_queue_again(
    state: Access, sent: float, out: bool
) -> None:
    """Only a probe of the half-open pool may."""
    assert closure_in(state).shuts_out(sent) is out


def test_the_table_of_a_pools_closure_is_complete() -> None:
    """All pairs of states; a pool begins open."""
    walk_table(ACCESS_MOVES, [Access.OPEN])


def test_the_table_of_a_tickets_phases_is_complete() -> None:
    """All pairs of phases; a ticket begins new."""
    walk_table(PHASE_MOVES, [Phase.NEW])
