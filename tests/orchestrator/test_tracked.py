"""orchestrator/tracked.py: the life of a tracked task, observation by observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kling_async import TaskFailed, v1
from kling_async.catalog import endpoint_of
from kling_async.core.lifecycle import IllegalMove
from kling_async.orchestrator.tracked import TRACKED_MOVES, Observation, TrackedState, TrackedTask
from kling_async.records import TaskRecord
from tests.core.lifecycles import walk_table

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = {
    TrackedState.RUNNING: "processing",
    TrackedState.SUCCEEDED: "succeed",
    TrackedState.FAILED: "failed",
}
ENDED = {TrackedState.SUCCEEDED, TrackedState.FAILED}


def record(status: str, updated_at: int = 0, external_task_id: str | None = None) -> TaskRecord:
    return TaskRecord(
        endpoint="text_to_video",
        task_id="7",
        status=status,
        updated_at=updated_at,
        external_task_id=external_task_id,
    )


def tracked(state: TrackedState = TrackedState.UNSEEN, *, confirmed: bool = False) -> TrackedTask:
    """Return a task in that state, on the shortest way."""
    task = TrackedTask(endpoint_of(v1.TextToVideo), "7", confirmed=confirmed)
    if state is TrackedState.MISSING:
        task.confirmed = False
        task.miss()
    elif state is not TrackedState.UNSEEN:
        task.observe(record(STATUS[state]))
    assert task.state is state
    return task


EVENTS: dict[str, tuple[Callable[[TrackedTask], object], TrackedState]] = {
    "seen running": (lambda task: task.observe(record("processing", 9)), TrackedState.RUNNING),
    "seen succeeded": (lambda task: task.observe(record("succeed", 9)), TrackedState.SUCCEEDED),
    "seen failed": (lambda task: task.observe(record("failed", 9)), TrackedState.FAILED),
    "seen in an unknown status": (lambda task: task.observe(record("pondering", 9)), TrackedState.RUNNING),
    "missed": (lambda task: [task.miss() for _ in range(3)], TrackedState.MISSING),
}


def test_the_table_of_moves() -> None:
    """Every pair of states is tried: listed moves happen, all others raise and change nothing."""
    walk_table(TRACKED_MOVES, [TrackedState.UNSEEN, TrackedState.RUNNING, TrackedState.SUCCEEDED])


@pytest.mark.parametrize("state", TrackedState)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_state(state: TrackedState, event: str) -> None:
    """A record always decides the state; only an ended task cannot go missing, which raises."""
    task = tracked(state)
    act, after = EVENTS[event]
    if after is TrackedState.MISSING and state in ENDED:
        before = task.record
        with pytest.raises(IllegalMove, match=f"from {state.name} to MISSING"):
            act(task)
        assert (task.state, task.record, task.misses) == (state, before, 2)
    else:
        act(task)
        assert task.state is after
    assert task.done == (task.state in ENDED)


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        (TrackedState.UNSEEN, "processing", Observation(first=True, changed=True, ended=False)),
        (TrackedState.UNSEEN, "succeed", Observation(first=True, changed=True, ended=True)),
        (TrackedState.RUNNING, "processing", Observation(first=False, changed=False, ended=False)),
        (TrackedState.RUNNING, "submitted", Observation(first=False, changed=True, ended=False)),
        (TrackedState.RUNNING, "failed", Observation(first=False, changed=True, ended=True)),
        (TrackedState.SUCCEEDED, "succeed", Observation(first=False, changed=False, ended=False)),
        (TrackedState.SUCCEEDED, "failed", Observation(first=False, changed=True, ended=False)),
        (TrackedState.FAILED, "processing", Observation(first=False, changed=True, ended=False)),
        (TrackedState.MISSING, "succeed", Observation(first=True, changed=True, ended=True)),
    ],
)
def test_an_observation_tells_what_is_new(state: TrackedState, status: str, expected: Observation) -> None:
    """First sight, change and end are each told once; a task ends once, whatever later answers say."""
    assert tracked(state).observe(record(status)) == expected


@pytest.mark.parametrize(
    ("confirmed", "misses"), [(False, 1), (True, 3)], ids=["never seen", "known to the vendor"]
)
def test_a_task_counts_as_missing_after_misses_in_a_row(confirmed: bool, misses: int) -> None:
    """One miss is believed of an id that was only guessed, three of one that the vendor did know."""
    task = tracked(confirmed=confirmed)
    assert [task.miss() for _ in range(misses)] == [False] * (misses - 1) + [True]
    assert task.state is TrackedState.MISSING
    assert task.miss()


def test_the_external_id_is_kept_where_an_answer_leaves_it_out() -> None:
    """Some answers lack it; what an earlier one said stays known."""
    task = tracked()
    task.observe(record("processing", external_task_id="mine"))
    task.observe(record("succeed"))
    assert (task.external_task_id, task.task_id) == ("mine", "7")


def test_only_a_failed_task_raises() -> None:
    """The error holds the record."""
    for state in set(TrackedState) - {TrackedState.FAILED}:
        tracked(state).raise_if_failed()
    with pytest.raises(TaskFailed) as caught:
        tracked(TrackedState.FAILED).raise_if_failed()
    assert caught.value.record.status == "failed"
