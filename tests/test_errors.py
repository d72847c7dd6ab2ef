"""errors.py: the tree is drawn as it is, covers all codes, and its errors survive pickle and copy."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import errors
from kling_async.errors import (
    CODES,
    APIError,
    AuthenticationError,
    KlingError,
    KlingWarning,
    Problem,
    RequestInvalid,
    RequestRejected,
    TaskFailed,
    api_error,
)
from kling_async.records import TaskRecord, decode_envelope
from tests.golden import golden
from tests.reference import V1

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = TaskRecord(
    endpoint="text_to_video",
    task_id="847",
    external_task_id="order-17",
    status="failed",
    message="risk control",
    data=msgspec.Raw(b'{"task_id":"847"}'),
)
API_FACTS: dict[str, Any] = {
    "code": 1303,
    "request_id": "r-1",
    "http_status": 429,
    "hint": "Wait.",
    "external_task_id": "order-17",
}


def tree() -> dict[str, type[KlingError]]:
    """Return every class of the tree, by name."""
    found: dict[str, type[KlingError]] = {}
    queue = [KlingError]
    while queue:
        kind = queue.pop()
        found[kind.__name__] = kind
        queue += [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    return found


def example(kind: type[KlingError]) -> KlingError:
    """Return an error of a class, with every fact it can hold."""
    if issubclass(kind, APIError):
        return kind("parallel task over limit", **API_FACTS)
    makers: dict[str, Callable[[], KlingError]] = {
        "RequestInvalid": lambda: RequestInvalid("TextToVideo", [Problem("n", "too large")]),
        "LineInvalid": lambda: errors.LineInvalid("jobs.csv", 7, [Problem("n", "too large")], key="shot-1"),
        "TransportError": lambda: errors.TransportError("cut off", sent=True, external_task_id="order-17"),
        "BadResponse": lambda: errors.BadResponse(
            "not JSON", http_status=502, excerpt="<html>", request_id="r-1"
        ),
        "AmbiguousCreate": lambda: errors.AmbiguousCreate("lost", external_task_id="order-17"),
        "TaskFailed": lambda: TaskFailed(RECORD),
        "TaskTimeout": lambda: errors.TaskTimeout("847", "order-17", 2.5),
        "QueueTimeout": lambda: errors.QueueTimeout("order-17", 2.5, "1303"),
        "TaskNotFound": lambda: errors.TaskNotFound("no task 847", id="847", request_id="r-1"),
        "ClientClosed": lambda: errors.ClientClosed("closed", task_ids=("847", "order-17")),
        "UnitLimitReached": lambda: errors.UnitLimitReached("video", 5, limit=9, spent=3, reserved=2.5),
        "QueueFull": lambda: errors.QueueFull(10_000),
        "TaskWithdrawn": lambda: errors.TaskWithdrawn("order-17"),
        "JobFailed": lambda: errors.JobFailed("TaskFailed", "the vendor's reason"),
        "JournalError": lambda: errors.JournalError("journal 'j': damaged", path="j"),
        "DownloadError": lambda: errors.DownloadError("HTTP 403", task_id="847", http_status=403),
        "ResultExpired": lambda: errors.ResultExpired("gone", task_id="847", http_status=404),
    }
    return makers.get(kind.__name__, lambda: kind("something", where="here"))()


ALL = sorted(tree().values(), key=lambda kind: kind.__name__)
each_class = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


# --- the tree ----------------------------------------------------------------------------------


def drawn() -> dict[str, tuple[str, str | None, str]]:
    """Read the drawing; return (parent, the builtin in brackets, its note) by class."""
    lines = inspect.cleandoc(errors.__doc__ or "").splitlines()
    parents: list[str] = []
    found: dict[str, tuple[str, str | None, str]] = {}
    for line in lines:
        match = re.fullmatch(r" {4}((?:[│ ] {3})*)[├└]── (\w+)(?: \((\w+)\))?(?: +(.*))?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        parents[depth:] = [match[2]]
        found[match[2]] = (parents[depth - 1] if depth else "KlingError", match[3], match[4] or "")
    return found


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    """The tree at the top of the module is the tree of the classes: none missing, none too many."""
    assert {name: parent for name, (parent, _, _) in drawn().items()} == {
        name: kind.__mro__[1].__name__ for name, kind in tree().items() if kind is not KlingError
    }


def test_the_drawing_names_the_builtins_a_class_also_is() -> None:
    """The brackets name the builtins of which ``except`` would catch the class."""
    real = {
        name: next((b.__name__ for b in kind.__bases__ if not issubclass(b, KlingError)), None)
        for name, kind in tree().items()
        if kind is not KlingError
    }
    assert {name: also for name, (_, also, _) in drawn().items()} == real
    assert real["RequestInvalid"] == "ValueError"
    assert real["TaskTimeout"] == real["QueueTimeout"] == "TimeoutError"


def test_the_drawing_gives_each_code_to_the_class_that_is_raised() -> None:
    """The codes noted in the drawing are those of the table, each at its class."""
    noted: dict[int, str] = {}
    for name, (_, _, note) in drawn().items():
        for first, last in re.findall(r"\b(\d{4})(?:-(\d{4}))?\b", note):
            noted |= dict.fromkeys(range(int(first), int(last or first) + 1), name)
    taken = noted.pop(1201)
    assert taken == "ExternalIdTaken"
    assert noted == {c: row.error.__name__ for c, row in CODES.items() if c != 1201}


def test_all_names_every_class_and_is_sorted() -> None:
    """``__all__`` leaves no class out, and is in the order of ruff's RUF022."""
    public = {name for name, value in vars(errors).items() if isinstance(value, type) and name[0] != "_"}
    own = {name for name in public if getattr(errors, name).__module__ == errors.__name__}
    assert own | {"CODES", "api_error"} == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert set(tree()) <= own


def test_the_warning_is_a_user_warning_and_no_error() -> None:
    """`KlingWarning` can be filtered by itself and is never caught as a `KlingError`."""
    assert issubclass(KlingWarning, UserWarning)
    assert not issubclass(KlingWarning, KlingError)


# --- codes -------------------------------------------------------------------------------------


def test_every_code_of_the_vendor_has_a_row() -> None:
    """The table holds the vendor's codes, all of them and no other."""
    assert set(CODES) == {row["code"] for row in V1["errors"]} - {0}


@pytest.mark.parametrize("case", golden("errors"))
def test_an_answer_becomes_the_error_of_its_code(case: str) -> None:
    """Each refusal as it comes over the wire gives its class, with all it says."""
    row = golden("errors")[case]
    body = row["body"]
    answer = decode_envelope(msgspec.json.encode(body))
    error = api_error(
        answer.code,
        answer.message or "",
        request_id=answer.request_id or "",
        http_status=row["http"],
        external_task_id="order-17",
    )
    assert type(error).__name__ == row["error"]
    assert (error.code, error.request_id, error.http_status) == (
        body["code"],
        body["request_id"],
        row["http"],
    )
    assert error.message == body["message"]
    assert error.external_task_id == "order-17"
    for part in (body["message"], f"code {body['code']}", f"HTTP {row['http']}", body["request_id"]):
        assert part in str(error)


def test_the_golden_answers_hold_every_code_under_its_status() -> None:
    """No code of the vendor's table is without an answer here, with the status the table gives."""
    seen = {(row["body"]["code"], row["http"]) for row in golden("errors").values()}
    assert {(row["code"], row["http"]) for row in V1["errors"] if row["code"]} <= seen


@pytest.mark.parametrize(
    ("action", "closes"),
    [("stop_and_tell_owner", True), ("fix_request", False), ("wait_in_queue", False)],
)
def test_only_what_a_person_must_mend_closes_pools(action: str, closes: bool) -> None:
    """Codes that need the account's owner close pools; those about one request or moment do not, as 1103."""
    codes = {row["code"] for row in V1["errors"] if row["client_action"] == action} - {1103}
    assert codes
    assert {bool(CODES[code].closes) for code in codes} == {closes}


def test_which_codes_close_one_pool_and_which_all() -> None:
    """1102 closes its pool; a dead key, a barred account, arrears and a barred address close all."""
    assert {c for c, row in CODES.items() if row.closes == "pool"} == {1102}
    assert {c for c, row in CODES.items() if row.closes == "all"} == {1000, 1002, 1100, 1101, 1304}


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        pytest.param(1299, 400, "RequestRejected", id="unknown 400"),
        pytest.param(1299, 404, "RequestRejected", id="unknown 404"),
        pytest.param(None, 403, "RequestRejected", id="none 403"),
        pytest.param(1299, 401, "AuthenticationError", id="unknown 401"),
        pytest.param(1399, 429, "RateLimited", id="unknown 429"),
        pytest.param(None, 429, "RateLimited", id="none 429"),
        pytest.param(5999, 500, "ServerError", id="unknown 500"),
        pytest.param(None, 502, "ServerError", id="none 502"),
        pytest.param(9, 200, "RequestRejected", id="unknown 200"),
        pytest.param(1101, 502, "OutOfUnits", id="known code beats status"),
    ],
)
def test_an_unknown_code_is_judged_by_its_status(code: int | None, status: int, expected: str) -> None:
    """A code we do not know, or none, falls back on the HTTP status; a known one never does."""
    assert type(api_error(code, "m", http_status=status)).__name__ == expected


@pytest.mark.parametrize(
    ("code", "message", "taken"),
    [
        (1201, "External task id x already exists", True),
        (1201, "external_task_id ALREADY EXIST", True),
        (1201, "Task not found by id/external id", False),
        (1200, "already exists", False),
    ],
)
def test_a_taken_id_is_told_by_code_and_text(code: int, message: str, taken: bool) -> None:
    """Only 1201 with "already exist" is `ExternalIdTaken`; the rest of 1201 is a plain refusal."""
    error = api_error(code, message, http_status=400)
    assert isinstance(error, errors.ExternalIdTaken) is taken
    assert isinstance(error, RequestRejected)


def test_a_long_message_is_cut() -> None:
    """A server that echoes a payload does not get it into the error."""
    assert len(api_error(1200, "x" * 10_000, http_status=400).message) == 500


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        pytest.param({"code": None, "http_status": 403}, "m (no code, HTTP 403)", id="bare"),
        pytest.param(
            {"code": 1, "http_status": 400, "request_id": "r"}, "m (code 1, HTTP 400, request_id r)", id="id"
        ),
        pytest.param(
            {"code": 1, "http_status": 400, "hint": "Do."}, "m (code 1, HTTP 400). Do.", id="with a hint"
        ),
    ],
)
def test_the_text_of_a_refusal(facts: dict[str, Any], text: str) -> None:
    """The text has message, code, status, request id and hint, as far as they are known."""
    assert str(APIError("m", **facts)) == text
    assert str(APIError("", **facts)).startswith("no message (")


# --- each class --------------------------------------------------------------------------------


@each_class
def test_an_error_keeps_what_it_was_given(kind: type[KlingError]) -> None:
    """Class, facts and text are those given, before any copy."""
    error = example(kind)
    assert type(error) is kind
    assert str(error)
    assert error.__cause__ is error.__context__ is None
    for name, value in API_FACTS.items() if isinstance(error, APIError) else []:
        assert getattr(error, name) == value


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(lambda e: e.again(), id="again"),
    ],
)
@each_class
def test_an_error_survives_being_copied(
    kind: type[KlingError], again: Callable[[KlingError], KlingError]
) -> None:
    """Class, text, args and every attribute come through; the traceback stays behind."""
    try:
        raise example(kind)
    except KlingError as error:
        before, after = error, again(error)
    assert type(after) is kind
    assert after is not before
    assert vars(after) == vars(before)
    assert after.args == before.args
    assert str(after) == str(before)
    assert after.__traceback__ is None


def test_an_attribute_set_later_is_copied_too() -> None:
    """Attributes that a driver adds afterwards, as ``retry_after``, survive."""
    error = errors.RateLimited("slow down", code=1302)
    assert error.retry_after is None
    error.retry_after = 3.0
    assert pickle.loads(pickle.dumps(error)).retry_after == error.again().retry_after == 3.0


def test_a_note_on_a_copy_stays_on_the_copy() -> None:
    """A note that one of several waiters adds does not show in the others' errors."""
    error = KlingError("m")
    error.add_note("ours")
    error.again().add_note("theirs")
    assert error.__notes__ == ["ours"]


def test_a_failed_task_carries_its_record_as_plain_data() -> None:
    """`TaskFailed` holds its record, raw JSON included; its text has id and reason."""
    error = pickle.loads(pickle.dumps(TaskFailed(RECORD)))
    assert error.record == RECORD
    assert error.record.raw == {"task_id": "847"}
    assert error.message == "task 847 failed: risk control"
    assert "no reason given" in str(TaskFailed(msgspec.structs.replace(RECORD, message="")))


def test_an_invalid_request_names_every_field() -> None:
    """All problems are in the text and, as data, in ``problems``."""
    error = RequestInvalid("TextToVideo", [Problem("a", "is wrong"), Problem("b[1].c", "too")])
    assert str(error) == "TextToVideo: a: is wrong; b[1].c: too"
    assert error.problems == (("a", "is wrong"), ("b[1].c", "too"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(
            errors.BadResponse("not JSON", http_status=502), "not JSON (HTTP 502)", id="answer, bare"
        ),
        pytest.param(
            errors.BadResponse("not JSON", http_status=502, excerpt="<b>", request_id="r"),
            "not JSON (HTTP 502, request_id r): '<b>'",
            id="answer, all known",
        ),
        pytest.param(
            errors.AmbiguousCreate("the answer was lost", external_task_id=None),
            "the answer was lost (external_task_id None)",
            id="create without an id",
        ),
        pytest.param(
            errors.QueueTimeout("order-17", 0.25), "no slot within 0.25 s; nothing was created", id="queue"
        ),
        pytest.param(
            errors.QueueTimeout("order-17", 60, "1303"),
            "no slot within 60 s; nothing was created (last refusal: 1303)",
            id="queue, refused",
        ),
        pytest.param(
            errors.TaskTimeout("847", None, 90),
            "task 847 had not ended after 90 s; it runs on: wait() again, or attach() to it later",
            id="task",
        ),
    ],
)
def test_the_text_of_an_error(error: KlingError, text: str) -> None:
    """The texts say what happened, under which id, and the state of the task."""
    assert str(error) == text


def test_a_transport_error_says_whether_anything_was_sent() -> None:
    """``sent`` decides whether a repeat is harmless; the id is None unless it was a create."""
    assert errors.TransportError("refused", sent=False).sent is False
    assert errors.TransportError("refused", sent=False).external_task_id is None


def test_a_refused_key_is_told_by_its_code() -> None:
    """The hints for a refused key differ: clock, region and proxy are different mistakes."""
    hints = [CODES[code].hint for code in range(1000, 1005)]
    assert len(set(hints)) == 5
    assert {CODES[code].error for code in range(1000, 1005)} == {AuthenticationError}
    assert "region" in CODES[1002].hint
    assert "ahead" in CODES[1003].hint
    assert "behind" in CODES[1004].hint
