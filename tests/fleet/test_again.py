"""Decide with which entry a failed job is tried again."""

from __future__ import annotations

import msgspec
import pytest

from kling_async.batch.entry import Entry, Failure, JobState, ResumeAction, Times, resume, unpack
from kling_async.batch.failures import again
from kling_async.batch.identity import external_id
from kling_async.fleet.again import FailedJob
from kling_async.fleet.rows import dump_request, new_row
from tests.fleet.support import film

DAY = 86400.0
NOW = 1000 * DAY
NAME = "0" * 31 + "1"
ENTRY = Entry(
    identity=NAME,
    position=4,
    endpoint="text_to_video",
    external_task_id=external_id("batch", NAME, 0),
    state=JobState.FAILED,
    task_id="task",
    units="1.5",
    key="fox",
    label="day",
    retryable=True,
    times=Times(planned=NOW - DAY, created=NOW - DAY, done=NOW),
)

NEXT, SAME, NONE = "the next attempt", "the same attempt", "left alone"


@pytest.mark.parametrize(
    ("failure", "days", "wanted"),
    [
        # the vendor's own word: no task of this attempt will yield a result
        (Failure("TaskFailed", "text_to_video task 1 failed: out of luck"), 1, NEXT),
        (Failure("RequestRejected", "bad (code 1201, HTTP 400)"), 1, NEXT),
        (Failure("RateLimited", "later (code 1302, HTTP 429)"), 1, NEXT),
        # the answer may be a gateway's, or never came: the task may exist
        (Failure("RequestRejected", "bad (code 7, HTTP 400)"), 1, SAME),
        (Failure("BadResponse", "a page of a proxy"), 1, SAME),
        (Failure("TransportError", "the connection was lost"), 1, SAME),
        (Failure("ClassOfTheFuture", "nobody knows"), 1, SAME),
        # unknown to the vendor: only once nothing of it can be left
        (Failure("TaskNotFound", "task 1 is not known"), 1, SAME),
        (Failure("TaskNotFound", "task 1 is not known"), 31, NEXT),
        # paid for
        (Failure("ResultExpired", "gone"), 31, NONE),
    ],
)
@pytest.mark.parametrize("has_request", [True, False])
def test_a_failed_job_is_tried_again_as_its_failure_allows(
    failure: Failure, days: float, wanted: str, has_request: bool
) -> None:
    """Under a new id only where that cannot pay twice; where no request is at hand, nothing new is made."""
    planned = NOW - days * DAY
    entry = msgspec.structs.replace(ENTRY, error=failure, times=Times(planned=planned, created=planned))
    row = new_row(entry, film("a fox"), 0)
    request = dump_request(film("a fox")) if has_request else None
    found = FailedJob(1, row.identity, row.entry, request, 0, 1.5).again("batch", NOW)
    if wanted is NONE or (wanted is NEXT and not has_request):
        assert found is None
        return
    assert found is not None
    assert (found.state, found.error, found.key, found.label) == (JobState.PLANNED, None, "fox", "day")
    if wanted is NEXT:
        assert (found.attempt, found.external_task_id) == (1, external_id("batch", NAME, 1))
        assert resume(found, wanted_files=False) is ResumeAction.CREATE
        assert found.earlier_units == 1.5
    else:
        assert (found.attempt, found.external_task_id) == (0, ENTRY.external_task_id)
        assert resume(found, wanted_files=False) is ResumeAction.CREATE_DOUBTFUL
    assert unpack(new_row(found, None, 0).entry) == found


def test_a_row_and_a_batch_decide_alike() -> None:
    """The rows of a fleet add nothing to the decision of `Client.batch` but the request's defaults."""
    entry = msgspec.structs.replace(ENTRY, error=Failure("TaskFailed", "task 1 failed: out of luck"))
    row = new_row(entry, film("a fox"), 0)
    found = FailedJob(1, row.identity, row.entry, row.request, 0, 0.0).again("batch", NOW)
    decided = again(entry, "batch", now=NOW)
    assert found is not None
    assert decided is not None
    assert msgspec.structs.replace(found, defaults={}) == decided
