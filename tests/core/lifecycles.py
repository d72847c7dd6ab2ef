"""Walks a table of legal moves completely; each lifecycle's own test calls it with its table."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeVar

import pytest

from kling_async.core.lifecycle import IllegalMove, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.core.lifecycle import Moves

StateT = TypeVar("StateT", bound=enum.Enum)


def walk_table(moves: Moves[StateT], starts: Iterable[StateT]) -> None:
    """Check every pair of states: listed moves happen, all others raise and change nothing.

    Also check that the table has a row for every state, and that each can be reached from ``starts``.
    """
    starts = list(starts)
    kind = type(starts[0])
    assert set(moves) == set(kind)
    for before in kind:
        for after in kind:
            life = Lifecycle(moves, before)
            assert life.can(after) == (after in moves[before])
            if after in moves[before]:
                life.move(after)
                assert life.state is after
            else:
                with pytest.raises(IllegalMove, match=f"from {before.name} to {after.name}$"):
                    life.move(after)
                assert life.state is before
    assert _reachable(moves, starts) == set(kind)


def _reachable(moves: Moves[StateT], starts: Iterable[StateT]) -> set[StateT]:
    reached: set[StateT] = set()
    ahead = list(starts)
    while ahead:
        state = ahead.pop()
        if state not in reached:
            reached.add(state)
            ahead.extend(moves[state])
    return reached
