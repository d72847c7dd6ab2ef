"""The shared piece of all lifecycles: a state that only moves as its table says."""

from __future__ import annotations

import enum
from typing import Final

import pytest

from kling_async.core.lifecycle import IllegalMove, Lifecycle
from tests.core.lifecycles import walk_table


class Door(enum.Enum):
    """A small life for these tests."""

    OPEN = "open"
    SHUT = "shut"
    GONE = "gone"


MOVES: Final = {
    Door.OPEN: frozenset({Door.SHUT}),
    Door.SHUT: frozenset({Door.OPEN, Door.GONE}),
    Door.GONE: frozenset[Door](),
}


def test_listed_moves_happen_and_all_others_raise() -> None:
    """Every pair of states is tried; the table has a row for each, and each can be reached."""
    walk_table(MOVES, [Door.OPEN])


def test_an_illegal_move_names_both_states_and_changes_nothing() -> None:
    """The error tells the enum and the move; staying in a state is a move like any other."""
    life = Lifecycle(MOVES, Door.OPEN)
    with pytest.raises(IllegalMove, match=r"^Door cannot move from OPEN to GONE$"):
        life.move(Door.GONE)
    with pytest.raises(IllegalMove, match=r"^Door cannot move from OPEN to OPEN$"):
        life.move(Door.OPEN)
    assert life.state is Door.OPEN


def test_a_state_without_moves_is_final() -> None:
    """``final`` follows from the table alone."""
    life = Lifecycle(MOVES, Door.SHUT)
    assert not life.final
    life.move(Door.GONE)
    assert life.final
    assert repr(life) == "Lifecycle(Door.GONE)"


def test_walking_finds_a_missing_row_and_a_state_nobody_reaches() -> None:
    """The walk itself fails on a table that is not complete."""
    with pytest.raises(AssertionError):
        walk_table({Door.OPEN: frozenset({Door.SHUT}), Door.SHUT: frozenset[Door]()}, [Door.OPEN])
    with pytest.raises(AssertionError):
        walk_table({**MOVES, Door.SHUT: frozenset({Door.OPEN})}, [Door.OPEN])
