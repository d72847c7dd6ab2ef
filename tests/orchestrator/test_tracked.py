"""orchestrator/tracked.py: the life of a tracked task, observation by observation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import TaskFailed, v1
from kling_async.catalog import endpoint_of
from kling_async.core.lifecycle import IllegalMove
from kling_async.orchestrator.tracked import TRACKED_MOVES, Observation, TrackedState, TrackedTask
from kling_async.records import TaskRecord
from tests.core.lifecycles import walk_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.core.queries import Form

STATUS = {
    TrackedState.RUNNING: "processing",
    TrackedState.SUCCEEDED: "succeed",
    TrackedState.FAILED: "failed",
}
ENDED = {TrackedState.SUCCEEDED, TrackedState.FAILED}


RESULT = b'{"videos":[{"url":"u"}]}'


def record(
    status: str, updated_at: int = 0, external_task_id: str | None = None, *, result: bytes = RESULT
) -> TaskRecord:
    return TaskRecord(
        endpoint="text_to_video",
        task_id="7",
        status=status,
        updated_at=updated_at,
        external_task_id=external_task_id,
        result_data=msgspec.Raw(result),
    )


def missed(task: TrackedTask) -> None:
    """Miss a task for as long as it takes."""
    for form, at in FORMS_AND_TIMES:
        task.miss(form, at)


FORMS_AND_TIMES: list[tuple[Form, float]] = [("one", 0.0), ("ids", 5.0), ("one", 65.0), ("one", 305.0)]


def tracked(state: TrackedState = TrackedState.UNSEEN, *, confirmed: bool = False) -> TrackedTask:
    """Return a task in that state, on the shortest way."""
    task = TrackedTask(endpoint_of(v1.TextToVideo), "7", confirmed=confirmed)
    if state is TrackedState.MISSING:
        missed(task)
    elif state is not TrackedState.UNSEEN:
        task.observe(record(STATUS[state]))
    assert task.state is state
    return task


EVENTS: dict[str, tuple[Callable[[TrackedTask], object], TrackedState]] = {
    "seen running": (lambda task: task.observe(record("processing", 9)), TrackedState.RUNNING),
    "seen succeeded": (lambda task: task.observe(record("succeed", 9)), TrackedState.SUCCEEDED),
    "seen failed": (lambda task: task.observe(record("failed", 9)), TrackedState.FAILED),
    "seen in an unknown status": (lambda task: task.observe(record("pondering", 9)), TrackedState.RUNNING),
    "missed": (missed, TrackedState.MISSING),
}


def test_the_table_of_moves() -> None:
    """Every pair of states is tried: listed moves happen, all others raise and change nothing."""
    walk_table(TRACKED_MOVES, [TrackedState.UNSEEN, TrackedState.RUNNING, TrackedState.SUCCEEDED])


@pytest.mark.parametrize("state", TrackedState)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_state(state: TrackedState, event: str) -> None:
    """A record decides the state of a task that runs; an end is final and cannot go missing."""
    task = tracked(state)
    act, after = EVENTS[event]
    if after is TrackedState.MISSING and state in ENDED:
        before = task.record
        with pytest.raises(IllegalMove, match=f"from {state.name} to MISSING"):
            act(task)
        assert (task.state, task.record) == (state, before)
    else:
        act(task)
        assert task.state is (state if state in ENDED else after)
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
        (TrackedState.SUCCEEDED, "failed", Observation(first=False, changed=False, ended=False)),
        (TrackedState.FAILED, "processing", Observation(first=False, changed=False, ended=False)),
        (TrackedState.MISSING, "succeed", Observation(first=True, changed=True, ended=True)),
    ],
)
def test_an_observation_tells_what_is_new(state: TrackedState, status: str, expected: Observation) -> None:
    """First sight, change and end are each told once; a task ends once, whatever later answers say."""
    assert tracked(state).observe(record(status)) == expected


def test_a_success_without_its_result_has_not_ended() -> None:
    """It is asked about again, until its result is there, or is taken as it is; then it is final."""
    task = tracked()
    assert task.observe(record("succeed", result=b"null")) == Observation(
        first=True, changed=True, ended=False
    )
    assert task.lacks_result and not task.done
    assert task.observe(record("succeed", result=b"null"), final=True).ended
    assert task.done and not task.lacks_result
    late = record("succeed")
    task.observe(late)
    assert task.record == late
    task.observe(record("succeed", result=b"{}"))
    assert task.record == late


@pytest.mark.parametrize(
    ("by", "shown", "mine"),
    [
        ({"id": "7"}, ("7", None), True),
        ({"id": "7"}, ("8", "7"), True),
        ({"id": "7"}, ("8", None), False),
        ({"id": "7"}, ("8", "x"), False),
        ({"id": "mine", "by_external_id": True}, ("8", "mine"), True),
        ({"id": "mine", "by_external_id": True}, ("8", None), True),
        ({"id": "mine", "by_external_id": True}, ("8", "other"), False),
        ({"id": "7", "record": record("processing", 0, "mine")}, ("7", "mine"), True),
        ({"id": "7", "record": record("processing", 0, "mine")}, ("7", None), True),
        ({"id": "7", "record": record("processing", 0, "mine")}, ("8", "mine"), False),
        ({"id": "7", "record": record("processing", 0, "mine")}, ("7", "other"), True),
    ],
)
def test_an_answer_is_held_against_the_question(
    by: dict[str, Any], shown: tuple[str, str | None], mine: bool
) -> None:
    """A record with an id that differs from a known one is another task's."""
    task = TrackedTask(endpoint_of(v1.TextToVideo), **by)
    task_id, external = shown
    other = TaskRecord(endpoint="text_to_video", task_id=task_id, external_task_id=external)
    assert task.may_be(other) is mine


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
