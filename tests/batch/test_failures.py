"""Test batch/failures.py: which failures call for a new task, and which end the batch."""

from __future__ import annotations

import msgspec
import pytest

from kling_async.batch.entry import Entry, Failure, failure_of, pack, unpack
from kling_async.batch.failures import FailureAction, action_for, error_of, surely_not_made
from kling_async.errors import (
    AmbiguousCreate,
    BadResponse,
    ClientClosed,
    ConfigurationError,
    DownloadError,
    ExternalIdTaken,
    JobFailed,
    JournalError,
    KlingError,
    Problem,
    RequestInvalid,
    ResultExpired,
    TaskFailed,
    TaskNotFound,
    TransportError,
    api_error,
)
from kling_async.records import TaskRecord


def failed(message: str) -> TaskFailed:
    return TaskFailed(TaskRecord(endpoint="text_to_video", task_id="1", status="failed", message=message))


def untrusted() -> TransportError:
    error = TransportError("no TLS connection", sent=False)
    error.hopeless = True
    return error


@pytest.mark.parametrize(
    "message",
    [
        *("Failure to pass the risk control system", "The content may violate our community guidelines"),
        *("sensitive words in prompt", "Image moderation failed", "内容违规", "版权", "copyright"),
        *("invalid image format", "The resolution is too small", "No face detected", "unsupported parameter"),
        *("failed to download the image", "mask size differs", "人脸不符", "image not found"),
    ],
)  # fmt: skip
def test_moderation_and_bad_input_are_final(message: str) -> None:
    """Messages of moderation and bad input are final, in any of the vendor's words."""
    assert action_for(failed(message)) is FailureAction.FINAL


@pytest.mark.parametrize(
    "message",
    [
        *("", "internal error", "Task processing failed", "timeout", "服务异常"),
        *("Video generation failed, please try again later", "operation timed out", "see information"),
        *("the interface is busy", "no surface", "resized", "Generation failed: unknown reason"),
    ],
)  # fmt: skip
def test_other_failures_may_be_retried(message: str) -> None:
    """Other messages allow a retry; a word within a word does not count."""
    assert action_for(failed(message)) is FailureAction.RETRY


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        *(
            (api_error(code, "x", http_status=401), FailureAction.ACCOUNT)
            for code in (1000, 1002, 1003, 1004)
        ),
        (api_error(1001, "x", http_status=401), FailureAction.OPEN),
        *((api_error(code, "x", http_status=429), FailureAction.ACCOUNT) for code in (1100, 1101, 1304)),
        (api_error(1102, "x", http_status=429), FailureAction.POOL),
        *((api_error(None, "x", http_status=status), FailureAction.OPEN) for status in (400, 403, 404, 408)),
        (api_error(4711, "x", http_status=400), FailureAction.OPEN),
        (api_error(1103, "x", http_status=403), FailureAction.OPEN),
        *(
            (api_error(code, "x", http_status=400), FailureAction.FINAL)
            for code in (1200, 1201, 1203, 1300, 1301)
        ),
        (api_error(1201, "external_task_id already exists", http_status=400), FailureAction.OPEN),
        *((api_error(code, "x", http_status=429), FailureAction.LATER) for code in (1302, 1303)),
        (TransportError("nobody listens", sent=False), FailureAction.LATER),
        (TransportError("no answer", sent=True), FailureAction.OPEN),
        (untrusted(), FailureAction.ACCOUNT),
        (AmbiguousCreate("who knows", external_task_id="a"), FailureAction.OPEN),
        (api_error(5000, "x", http_status=500), FailureAction.OPEN),
        (BadResponse("unreadable", http_status=200), FailureAction.OPEN),
        (DownloadError("cut", task_id="1"), FailureAction.OPEN),
        (DownloadError("no room", task_id="1", disk_full=True), FailureAction.ACCOUNT),
        (ResultExpired("30 days", task_id="1"), FailureAction.FINAL),
        (TaskNotFound("gone", id="1"), FailureAction.OPEN),
        (RequestInvalid("x", [Problem("a", "b")]), FailureAction.OPEN),
        (ClientClosed("x"), FailureAction.ACCOUNT),
        (ConfigurationError("x"), FailureAction.ACCOUNT),
        (JournalError("full", path="x"), FailureAction.ACCOUNT),
        (ValueError("a bug"), FailureAction.OPEN),
    ],
)
def test_each_error_has_its_action(error: KlingError | ValueError, fate: FailureAction) -> None:
    """Each error has its consequence: retry, final, later, open or the end of the batch."""
    assert action_for(error) is fate


@pytest.mark.parametrize(
    "error",
    [
        *(api_error(code, "no", http_status=400, request_id="r1") for code in (1201, 1300, 1203)),
        ExternalIdTaken("already exists", code=1201, http_status=400),
        api_error(None, "", http_status=404),
        failed("Failure to pass the risk control system"),
        failed(""),
        ResultExpired("30 days", task_id="847"),
        DownloadError("cut", task_id="847", http_status=403, fault="server"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_a_failure_out_of_the_journal_is_the_error_it_was(error: KlingError, old: bool) -> None:
    """Class, words, code and status come back; an older journal held only class and words."""
    kept = failure_of(error)
    stored = unpack(
        pack(
            Entry(
                identity="1f",
                position=0,
                endpoint="text_to_video",
                external_task_id="x1",
                task_id="847",
                error=kept,
            )
        )
    )
    if old:
        stored = msgspec.structs.replace(stored, error=Failure(kept.kind, kept.message))
    again = error_of(stored)
    assert type(again) is type(error) and str(again) == str(error)
    for name in ("code", "http_status"):
        if not (old and isinstance(error, DownloadError)):
            assert getattr(again, name, None) == getattr(error, name, None)
    if isinstance(again, TaskFailed) and isinstance(error, TaskFailed):
        assert (again.record.task_id, again.record.status) == ("847", "failed")
        assert error.record.message in again.record.message
    assert surely_not_made(again) == surely_not_made(error)


def test_other_failures_out_of_the_journal_are_told_as_such() -> None:
    """A class that cannot be made again is a `JobFailed` that names it."""
    for kind in ("AmbiguousCreate", "ValueError", "CODES", "nonsense"):
        error = error_of(
            Entry(
                identity="1f",
                position=0,
                endpoint="text_to_video",
                external_task_id="x1",
                error=Failure(kind, "words"),
            )
        )
        assert isinstance(error, JobFailed) and error.kind == kind and "words" in str(error)
