"""Test cli/exit_codes.py and cli/messages.py: every error of the package becomes a code and one line."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import pytest

from kling_async import errors
from kling_async.cli import exit_codes, main
from kling_async.cli.exit_codes import ExitCode, explain
from kling_async.cli.messages import Messages, printable
from kling_async.records import TaskRecord

if TYPE_CHECKING:
    from kling_async.errors import KlingError

RECORD = TaskRecord(endpoint="text_to_video", task_id="7", message="risk\ncontrol")
API = {"code": 1, "request_id": "r", "http_status": 400}

SAMPLES: dict[str, tuple[KlingError, int]] = {
    "KlingError": (errors.KlingError("a"), 1),
    "RequestInvalid": (errors.RequestInvalid("TextToVideo", [errors.Problem("prompt", "is empty")]), 2),
    "LineInvalid": (errors.LineInvalid("jobs.csv", 7, [errors.Problem("prompt", "is empty")]), 2),
    "ConfigurationError": (errors.ConfigurationError("a"), 2),
    "ClientClosed": (errors.ClientClosed("a", task_ids=["7"]), 3),
    "APIError": (errors.APIError("a", code=9), 1),
    "AuthenticationError": (errors.AuthenticationError("a", code=1000), 4),
    "AccountError": (errors.AccountError("a", code=1103), 4),
    "OutOfUnits": (errors.OutOfUnits("a", code=1102), 4),
    "RequestRejected": (errors.RequestRejected("a", code=1201), 1),
    "ExternalIdTaken": (errors.ExternalIdTaken("a", code=1201), 1),
    "PolicyViolation": (errors.PolicyViolation("a", code=1301), 1),
    "RateLimited": (errors.RateLimited("a", code=1302), 1),
    "ConcurrencyExceeded": (errors.ConcurrencyExceeded("a", code=1303), 1),
    "ServerError": (errors.ServerError("a", code=5000), 1),
    "TransportError": (errors.TransportError("a", sent=False), 1),
    "BadResponse": (errors.BadResponse("a", http_status=200), 1),
    "AmbiguousCreate": (errors.AmbiguousCreate("a", external_task_id="e"), 3),
    "TaskFailed": (errors.TaskFailed(RECORD), 1),
    "TaskTimeout": (errors.TaskTimeout("7", None, 5.0), 3),
    "QueueTimeout": (errors.QueueTimeout("e", 5.0), 1),
    "QueueFull": (errors.QueueFull(3), 1),
    "UnitLimitReached": (errors.UnitLimitReached("video", 3, limit=2, spent=0, reserved=0), 3),
    "TaskWithdrawn": (errors.TaskWithdrawn("e"), 1),
    "TaskNotFound": (errors.TaskNotFound("a", id="7"), 1),
    "JournalError": (errors.JournalError("a", path="p"), 1),
    "JobFailed": (errors.JobFailed("TaskFailed", "a"), 1),
    "DownloadError": (errors.DownloadError("a"), 1),
    "ResultExpired": (errors.ResultExpired("a"), 1),
    "WebhookError": (errors.WebhookError("a"), 1),
}


def kinds(base: type[KlingError] = errors.KlingError) -> set[str]:
    found = {base.__name__} if base.__module__ == "kling_async.errors" else set()
    return found.union(*map(kinds, base.__subclasses__()))


def test_every_error_of_the_tree_has_a_sample_here() -> None:
    """A new kind of error needs a decision about its exit code."""
    assert kinds() == SAMPLES.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_an_error_becomes_a_code_and_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, on stderr alone; with --debug the error itself is raised."""
    error, code = SAMPLES[name]

    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr("kling_async.cli.topics.run_help", fail)
    assert explain(error).code == main(["help"]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("kling: ") and err.count("\n") == 1
    with pytest.raises(type(error)):
        main(["help", "--debug"])
    monkeypatch.setenv("KLING_DEBUG", "1")
    with pytest.raises(type(error)):
        main(["help"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied", "out/a.mp4"), "out/a.mp4: Permission denied"),
        (OSError("no space"), "no space"),
        (
            OSError(28, "No space left on device"),
            "No space left on device (in reading the input, or in writing the output)",
        ),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_of_the_system_names_its_file(error: OSError, text: str) -> None:
    """A file that cannot be written is no bug of ours."""
    assert explain(error) == (ExitCode.FAILED, text)


def test_every_exit_code_has_a_sentence() -> None:
    """The topic explains all of them."""
    assert all(code.meaning for code in ExitCode) and exit_codes.INTERRUPTED not in set(ExitCode)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a?[2Jb"),
        ("a\r\nb\tc", "a  b c"),
        ("a\u202eb\x00\x9b", "a?b??"),
        ("\ud800", "?"),
        ("日本 👩\u200d💻", "日本 👩\u200d💻"),
    ],
)
def test_texts_of_strangers_do_not_steer_the_terminal(text: str, shown: str) -> None:
    """Controls and marks of direction become question marks, lines become one."""
    assert printable(text) == shown


def test_warnings_and_failing_queries_are_short_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """No place in the source, no name of a logger; the rest of the log appears with --debug alone."""
    for debug in (False, True):
        with warnings.catch_warnings(), Messages(debug=debug) as messages:
            warnings.simplefilter("always")
            warnings.warn("odd\nthing", errors.KlingWarning, stacklevel=1)
            logging.getLogger("kling_async.polling").warning("no answer from %s", "host")
            logging.getLogger("kling_async.batch").warning("more")
            messages.error("it ends")
        expected = [
            "warning: odd thing",
            "warning: no answer from host",
            *["warning: more"] * debug,
            "it ends",
        ]
        assert capsys.readouterr().err.splitlines() == [f"kling: {text}" for text in expected]
    logging.getLogger("kling_async.polling").warning("after")
    assert capsys.readouterr().err == ""
