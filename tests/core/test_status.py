"""core/status.py: status words of either generation, and the states they stand for."""

from __future__ import annotations

import pytest

from kling_async.core.status import TaskState, is_known_status, state_of


@pytest.mark.parametrize(
    ("status", "state", "known"),
    [
        ("submitted", TaskState.RUNNING, True),
        ("processing", TaskState.RUNNING, True),
        ("succeed", TaskState.SUCCEEDED, True),
        ("succeeded", TaskState.SUCCEEDED, True),
        ("failed", TaskState.FAILED, True),
        ("queued_twice", TaskState.RUNNING, False),
        ("Succeed", TaskState.RUNNING, False),
        ("", TaskState.RUNNING, False),
    ],
)
def test_a_status_word_stands_for_one_of_three_states(status: str, state: TaskState, known: bool) -> None:
    """Both spellings are known; an unknown word counts as running, and can be told from known ones."""
    assert state_of(status) is state
    assert is_known_status(status) is known
