"""core/status.py: status words of either generation, and the states they stand for."""

from __future__ import annotations

import itertools

import pytest

from kling_async.core.status import TaskState, is_known_status, latest, state_of
from kling_async.records import TaskRecord


@pytest.mark.parametrize(
    ("status", "state", "known"),
    [
        ("submitted", TaskState.RUNNING, True),
        ("processing", TaskState.RUNNING, True),
        ("succeed", TaskState.SUCCEEDED, True),
        ("succeeded", TaskState.SUCCEEDED, True),
        ("failed", TaskState.FAILED, True),
        ("queued_twice", TaskState.RUNNING, False),
        ("Succeed", TaskState.SUCCEEDED, True),
        ("COMPLETED", TaskState.SUCCEEDED, True),
        ("success ", TaskState.SUCCEEDED, True),
        ("Failure", TaskState.FAILED, True),
        ("PROCESSING", TaskState.RUNNING, True),
        ("successful_maybe", TaskState.RUNNING, False),
        ("", TaskState.RUNNING, False),
    ],
)
def test_a_status_word_stands_for_one_of_three_states(status: str, state: TaskState, known: bool) -> None:
    """Both spellings and their kin are known, in any case; an unknown word counts as running, and shows."""
    assert state_of(status) is state
    assert is_known_status(status) is known


def test_of_two_copies_of_a_task_the_later_state_wins() -> None:
    """In whatever order a list has them: an end counts more than a run, then the later change."""
    copies = [
        TaskRecord(endpoint="x", task_id="1", status=status, updated_at=at)
        for status, at in [("submitted", 9), ("processing", 1), ("succeed", 5), ("succeed", 7)]
    ]
    for order in itertools.permutations(copies):
        assert latest(order) == {"1": copies[-1]}
    assert latest([]) == {}
