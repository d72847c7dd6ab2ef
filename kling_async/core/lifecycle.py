"""States with a life: an enum of the states, one table of legal moves, and the state reached so far.

Every lifecycle of the package (pool, ticket, submission, tracked task, batch, batch job) is an enum whose
members each have a comment, a table that lists for every state where it may move to, and one `Lifecycle`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Generic, TypeAlias, TypeVar

__all__ = ["IllegalMove", "Lifecycle", "Moves"]

StateT = TypeVar("StateT", bound=enum.Enum)

Moves: TypeAlias = Mapping[StateT, frozenset[StateT]]
"""For each state, the states that may follow it; an empty set marks a final state."""


class IllegalMove(RuntimeError):
    """A move that the table does not list: a bug in the code that asked for it."""


class Lifecycle(Generic[StateT]):
    """The current state of one thing, changed only by moves that its table lists.

    Args:
        moves: The legal moves; one table is shared by all things of a kind.
        start: The first state.
    """

    __slots__ = ("_moves", "_state")

    def __init__(self, moves: Moves[StateT], start: StateT) -> None:
        self._moves = moves
        self._state = start

    @property
    def state(self) -> StateT:
        """The current state."""
        return self._state

    @property
    def final(self) -> bool:
        """Whether no move leads out of the current state."""
        return not self._moves[self._state]

    def can(self, to: StateT) -> bool:
        """Tell whether a move to that state is legal now."""
        return to in self._moves[self._state]

    def move(self, to: StateT) -> None:
        """Change the state.

        Raises:
            IllegalMove: The table does not list this move; the state stays.
        """
        if to not in self._moves[self._state]:
            raise IllegalMove(f"{type(to).__name__} cannot move from {self._state.name} to {to.name}")
        self._state = to

    def __repr__(self) -> str:
        return f"Lifecycle({self._state})"
