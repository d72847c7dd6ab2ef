"""kling_async/core/failures.py: which failures a batch answers with a new task, and which end it."""

from __future__ import annotations

import pytest

from kling_async.core.failures import Fate, fate_of
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
from kling_async.wire import TaskRecord


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
def test_moderation_and_bad_input_would_fail_again(message: str) -> None:
    """Whatever words the vendor finds for them."""
    assert fate_of(failed(message)) is Fate.FINAL


@pytest.mark.parametrize(
    "message",
    [
        *("", "internal error", "Task processing failed", "timeout", "服务异常"),
        *("Video generation failed, please try again later", "operation timed out", "see information"),
        *("the interface is busy", "no surface", "resized", "Generation failed: unknown reason"),
    ],
)  # fmt: skip
def test_other_failures_may_not_come_again(message: str) -> None:
    """A new task may be made, if asked for; words within other words mean nothing."""
    assert fate_of(failed(message)) is Fate.RETRY


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        *((api_error(code, "x", http_status=401), Fate.ACCOUNT) for code in (1000, 1002, 1003, 1004)),
        (api_error(1001, "x", http_status=401), Fate.OPEN),
        *((api_error(code, "x", http_status=429), Fate.ACCOUNT) for code in (1100, 1101, 1102, 1304)),
        (api_error(1103, "x", http_status=403), Fate.OPEN),
        *((api_error(code, "x", http_status=400), Fate.FINAL) for code in (1200, 1201, 1203, 1300, 1301)),
        (api_error(1201, "external_task_id already exists", http_status=400), Fate.OPEN),
        *((api_error(code, "x", http_status=429), Fate.LATER) for code in (1302, 1303)),
        (TransportError("nobody listens", sent=False), Fate.LATER),
        (TransportError("no answer", sent=True), Fate.OPEN),
        (AmbiguousCreate("who knows", external_task_id="a"), Fate.OPEN),
        (api_error(5000, "x", http_status=500), Fate.OPEN),
        (BadResponse("unreadable", http_status=200), Fate.OPEN),
        (DownloadError("cut", task_id="1"), Fate.OPEN),
        (DownloadError("no room", task_id="1", disk_full=True), Fate.ACCOUNT),
        (ResultExpired("30 days", task_id="1"), Fate.FINAL),
        (TaskNotFound("gone", id="1"), Fate.OPEN),
        (RequestInvalid("x", [Problem("a", "b")]), Fate.OPEN),
        (ClientClosed("x"), Fate.ACCOUNT),
        (ConfigurationError("x"), Fate.ACCOUNT),
        (JournalError("full", path="x"), Fate.ACCOUNT),
        (ValueError("a bug"), Fate.OPEN),
    ],
)
def test_what_follows_from_an_error(error: KlingError | ValueError, fate: Fate) -> None:
    """The account's affair ends the batch; what is unknown or only missing is left for the next run."""
    assert fate_of(error) is fate
