"""Test batch/failures.py: which failures call for a new task, and which end the batch."""

from __future__ import annotations

import pytest

from kling_async.batch.failures import FailureAction, action_for
from kling_async.errors import (
    AmbiguousCreate,
    BadResponse,
    ClientClosed,
    ConfigurationError,
    DownloadError,
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
