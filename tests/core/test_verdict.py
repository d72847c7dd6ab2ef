"""core/verdict.py: the meaning of every code of the vendor's reference, and of all other outcomes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import pytest

from kling_async.core.ownership import Whose, whose
from kling_async.core.verdict import (
    Accepted,
    AfterMiss,
    Again,
    Answer,
    Broken,
    CreateVerdict,
    ExchangeOutcome,
    Full,
    Garbled,
    Got,
    Lost,
    Missing,
    NewToken,
    ReadVerdict,
    Refused,
    judge_create,
    judge_read,
)
from kling_async.errors import (
    AccountError,
    APIError,
    AuthenticationError,
    BadResponse,
    ConcurrencyExceeded,
    ExternalIdTaken,
    KlingError,
    OutOfUnits,
    PolicyViolation,
    RateLimited,
    RequestRejected,
    ServerError,
    TransportError,
)
from kling_async.records import TaskRecord

TASK = b'{"task_id":"831","task_status":"submitted","created_at":1722769557708}'


def answer(
    code: int | None, status: int, message: str = "m", data: bytes = b"null", *, after: float | None = None
) -> Answer:
    return Answer(status, code, message, "req-1", data, date=1.79e9, retry_after=after)


def created(outcome: ExchangeOutcome, *, renewable: bool = True) -> CreateVerdict:
    return judge_create(outcome, endpoint="text_to_video", external_task_id="mine-1", renewable=renewable)


class Judge(Protocol):
    """The type of `created` and `read`."""

    def __call__(
        self, outcome: ExchangeOutcome, *, renewable: bool = True
    ) -> CreateVerdict | ReadVerdict: ...


def read(outcome: ExchangeOutcome, *, renewable: bool = True) -> ReadVerdict:
    return judge_read(outcome, renewable=renewable)


class Row(NamedTuple):
    """One code of the reference: its HTTP status, its error, and the verdicts on a create and a read."""

    code: int
    status: int
    error: type[APIError]
    create: type[CreateVerdict]
    read: type[ReadVerdict]
    closes: str = ""


# all codes of the vendor's page of 2026-09; code 0 is below
TABLE = [
    Row(1000, 401, AuthenticationError, Refused, Refused, "all"),
    Row(1001, 401, AuthenticationError, Refused, Refused),
    Row(1002, 401, AuthenticationError, Refused, Refused, "all"),
    Row(1003, 401, AuthenticationError, NewToken, NewToken),
    Row(1004, 401, AuthenticationError, NewToken, NewToken),
    Row(1100, 429, AccountError, Refused, Refused, "all"),
    Row(1101, 429, OutOfUnits, Refused, Refused, "all"),
    Row(1102, 429, OutOfUnits, Refused, Refused, "pool"),
    Row(1103, 403, AccountError, Refused, Refused),
    Row(1200, 400, RequestRejected, Refused, Refused),
    Row(1201, 400, RequestRejected, Refused, Refused),
    Row(1202, 404, RequestRejected, Refused, Refused),
    Row(1203, 404, RequestRejected, Refused, Refused),
    Row(1300, 400, PolicyViolation, Refused, Refused),
    Row(1301, 400, PolicyViolation, Refused, Refused),
    Row(1302, 429, RateLimited, Again, Again),
    Row(1303, 429, ConcurrencyExceeded, Full, Again),
    Row(1304, 429, AccountError, Refused, Refused, "all"),
    Row(5000, 500, ServerError, Lost, Again),
    Row(5001, 503, ServerError, Lost, Again),
    Row(5002, 504, ServerError, Lost, Again),
]
CODES = pytest.mark.parametrize("row", TABLE, ids=[str(row.code) for row in TABLE])


def error_of(verdict: CreateVerdict | ReadVerdict) -> KlingError:
    assert not isinstance(verdict, Accepted | Got | Missing)
    return verdict.error


def closes_of(verdict: CreateVerdict | ReadVerdict) -> str:
    return verdict.closes if isinstance(verdict, Refused) else ""


@CODES
@pytest.mark.parametrize("status", ["its own", 200, 400, 500])
def test_a_known_code_decides_whatever_the_http_status(row: Row, status: int | str) -> None:
    """The code alone decides the verdict, the error's class and what closes, for creates and reads."""
    outcome = answer(row.code, row.status if isinstance(status, str) else status)
    for verdict, kind in ((created(outcome), row.create), (read(outcome), row.read)):
        assert type(verdict) is kind
        assert type(error_of(verdict)) is row.error
        assert closes_of(verdict) == row.closes


@CODES
def test_the_error_carries_what_is_needed_to_go_on(row: Row) -> None:
    """The error has code, request id and HTTP status; the external id is the create's, a read has none."""
    outcome = answer(row.code, row.status, "too bad")
    for verdict, name in ((created(outcome), "mine-1"), (read(outcome), None)):
        error = error_of(verdict)
        assert isinstance(error, APIError)
        assert (error.code, error.http_status, error.request_id) == (row.code, row.status, "req-1")
        assert (error.message, error.external_task_id) == ("too bad", name)


def test_the_table_has_every_code_once() -> None:
    """The reference has 21 codes besides success."""
    assert len({row.code for row in TABLE}) == len(TABLE) == 21


@pytest.mark.parametrize("code", [1003, 1004])
@pytest.mark.parametrize("judge", [created, read])
def test_a_token_out_of_its_time_is_renewed_once(code: int, judge: Judge) -> None:
    """The verdict brings the server's clock to sign by; the second time it is final and closes all pools."""
    first = judge(answer(code, 401), renewable=True)
    assert isinstance(first, NewToken)
    assert first.date == 1.79e9
    second = judge(answer(code, 401), renewable=False)
    assert isinstance(second, Refused)
    assert (type(second.error), second.closes) == (AuthenticationError, "all")


@pytest.mark.parametrize("judge", [created, read])
@pytest.mark.parametrize("after", [None, 7.0])
def test_too_fast_waits_as_long_as_the_server_asks(judge: Judge, after: float | None) -> None:
    """1302 is repeated, with the pause of Retry-After if there is one."""
    verdict = judge(answer(1302, 429, after=after))
    assert isinstance(verdict, Again)
    assert verdict.after == after


# -- code 0


def test_code_0_with_a_task_is_accepted() -> None:
    """The record names the endpoint, and holds what the vendor sent."""
    verdict = created(answer(0, 200, "SUCCEED", TASK))
    assert isinstance(verdict, Accepted)
    record = verdict.record
    assert (record.endpoint, record.task_id, record.created_at) == ("text_to_video", "831", 1722769557708)


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"",
        b"[]",
        b"{}",
        b'{"task_id":null}',
        b'{"task_id":"831"',
        b'{"task_id":"\xff"}',
        # how deep is too deep is up to the stack from Python 3.14 on
        b'{"task_id":"831","x":' + b"[" * 999_999 + b"]" * 999_999 + b"}",
        b'{"task_id":""}',
    ],
    ids=["null", "nothing", "list", "empty", "no id", "cut", "not UTF-8", "too deep", "empty id"],
)
def test_code_0_without_a_readable_task_may_have_made_one(data: bytes) -> None:
    """The verdict is Lost: the slots stay held and the task is looked up, for it may be billed."""
    verdict = created(answer(0, 200, "SUCCEED", data))
    assert isinstance(verdict, Lost)
    assert isinstance(verdict.error, BadResponse)
    assert verdict.error.request_id == "req-1"


def test_code_0_of_a_read_hands_on_its_data() -> None:
    """The data stay undecoded: the reader knows their type."""
    outcome = answer(0, 200, "SUCCEED", TASK)
    assert read(outcome) == Got(TASK, outcome)


# -- answers without a code of the reference


@pytest.mark.parametrize("code", [None, 1999, -1], ids=["no code", "new code", "negative"])
@pytest.mark.parametrize(
    ("status", "kind", "create", "again"),
    [
        (400, RequestRejected, Lost, Refused),
        (401, AuthenticationError, Lost, Refused),
        (403, RequestRejected, Lost, Refused),
        (404, RequestRejected, Lost, Refused),
        (408, RequestRejected, Lost, Refused),
        (409, RequestRejected, Lost, Refused),
        (425, RequestRejected, Lost, Refused),
        (499, RequestRejected, Lost, Refused),
        (429, RateLimited, Again, Again),
        (500, ServerError, Lost, Again),
        (502, ServerError, Lost, Again),
        (504, ServerError, Lost, Again),
    ],
)
def test_an_unknown_code_is_judged_by_its_http_class(
    code: int | None, status: int, kind: type[APIError], create: type, again: type
) -> None:
    """A create is refused for good by a known code only; a miss of its look-up then means what Miss says."""
    outcome = answer(code, status, after=3.0)
    for verdict, expected in ((created(outcome), create), (read(outcome), again)):
        assert type(verdict) is expected
        assert closes_of(created(outcome)) == ""
        if isinstance(verdict, Lost):
            between = status < 500
            assert verdict.miss is (
                AfterMiss.RESEND if not between else AfterMiss.END if code is None else AfterMiss.REFUSE
            )
            assert type(verdict.error) is (BadResponse if between and code is None else kind)
        else:
            assert type(error_of(verdict)) is kind
        if isinstance(verdict, Again):
            assert verdict.after == 3.0
    if isinstance(verdict := created(outcome), Again):
        assert verdict.doubtful, "a gateway's 429 may follow the task"


@pytest.mark.parametrize("status", [200, 202, 302])
def test_an_answer_without_code_that_claims_no_failure_says_nothing(status: int) -> None:
    """A create may have made its task; a read is repeated."""
    outcome = answer(None, status, data=TASK)
    create, again = created(outcome), read(outcome)
    assert isinstance(create, Lost)
    assert isinstance(again, Again)
    for verdict in (create, again):
        assert isinstance(verdict.error, BadResponse)
        assert (verdict.error.http_status, verdict.error.excerpt) == (status, "")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("external_task_id abc already exists", ExternalIdTaken),
        ("Task id ALREADY EXISTS", ExternalIdTaken),
        ("prompt size must be between 0 and 2500", RequestRejected),
        ("Voice id not found", RequestRejected),
        ("From video not found by id: 7", RequestRejected),
    ],
)
def test_1201_of_a_create_is_final_and_a_taken_id_has_its_own_error(
    message: str, kind: type[RequestRejected]
) -> None:
    """It is final, too, where something named in the request was not found."""
    verdict = created(answer(1201, 400, message))
    assert isinstance(verdict, Refused)
    assert type(verdict.error) is kind


@pytest.mark.parametrize("message", ["Task not found by id/external id", "task NOT FOUND"])
def test_1201_not_found_of_a_read_means_there_is_no_such_task(message: str) -> None:
    """Missing is no error yet: the reader decides how often to look."""
    assert read(answer(1201, 400, message)) == Missing(message, "req-1")
    assert read(answer(1201, 400, "not found" * 99)) == Missing(("not found" * 99)[:500], "req-1")


@pytest.mark.parametrize(
    ("code", "message"), [(1201, "task_ids is required"), (1203, "not found"), (1200, "not found")]
)
def test_any_other_refusal_of_a_read_says_nothing_of_the_task(code: int, message: str) -> None:
    """Only 1201 with the text "not found" is about the task."""
    assert type(read(answer(code, 400, message))) is Refused


# -- no answer of the API's form


@pytest.mark.parametrize(
    ("status", "create", "again"),
    [
        (200, Lost, Again),
        (204, Lost, Again),
        (301, Lost, Refused),
        (400, Lost, Refused),
        (403, Lost, Refused),
        (404, Lost, Refused),
        (408, Lost, Refused),
        (413, Lost, Refused),
        (499, Lost, Refused),
        (429, Again, Again),
        (500, Lost, Again),
        (502, Lost, Again),
        (503, Lost, Again),
        (504, Lost, Again),
    ],
)
def test_a_garbled_answer_is_judged_by_its_http_status(status: int, create: type, again: type) -> None:
    """HTML, cut JSON, nothing: none proves that nothing was made, and none closes a pool."""
    outcome = Garbled(status, "HTML", "<html>", "req-1", 4.0)
    for verdict, expected in ((created(outcome), create), (read(outcome), again)):
        assert type(verdict) is expected
        assert closes_of(verdict) == ""
        error = error_of(verdict)
        if isinstance(error, BadResponse):
            assert (error.http_status, error.excerpt, error.request_id) == (status, "<html>", "req-1")
        else:
            assert type(error) is RateLimited
        if isinstance(verdict, Lost):
            assert verdict.miss is (AfterMiss.END if 300 <= status < 500 else AfterMiss.RESEND)
        if isinstance(verdict, Again):
            assert verdict.after == 4.0


# -- whose task it is


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (0.0, Whose.OURS),
        (900.0, Whose.OURS),
        (-1.9, Whose.OURS),
        (-2.5, Whose.UNCLEAR),
        (-29.0, Whose.UNCLEAR),
        (-31.0, Whose.TAKEN),
        (-9e6, Whose.TAKEN),
    ],
)
def test_the_time_of_creation_tells_whose_a_given_id_is(late: float, expected: Whose) -> None:
    """A generated id is ours whatever the time says; a few seconds before the create do not make it taken."""
    first = 1.79e9
    record = TaskRecord(
        endpoint="e", task_id="1", external_task_id="mine", created_at=int((first + late) * 1000)
    )
    for generated, verdict in ((False, expected), (True, Whose.OURS)):
        assert whose(record, external_task_id="mine", generated=generated, first_sent=first) is verdict


@pytest.mark.parametrize("created_at", [0, 1, 1_790_000_000, 1_780_000_000])
def test_a_time_of_creation_that_is_none_tells_nothing(created_at: int) -> None:
    """It is missing, or in seconds where the reference has milliseconds."""
    record = TaskRecord(endpoint="e", task_id="1", external_task_id="mine", created_at=created_at)
    assert whose(record, external_task_id="mine", generated=False, first_sent=1.79e9) is Whose.UNCLEAR
    assert whose(record, external_task_id="mine", generated=True, first_sent=1.79e9) is Whose.OURS


@pytest.mark.parametrize(("task_id", "name"), [("mine", None), ("mine", "mine"), ("1", "other")])
def test_another_task_is_not_the_creates(task_id: str, name: str | None) -> None:
    """Its own id is spelled like the create's external one, or it names another external id."""
    record = TaskRecord(endpoint="e", task_id=task_id, external_task_id=name, created_at=1_790_000_000_000)
    assert whose(record, external_task_id="mine", generated=True, first_sent=1.79e9) is Whose.ANOTHER


def test_a_create_that_surely_was_not_sent_is_repeated() -> None:
    """The connection was refused before anything went out."""
    verdict = created(Broken(sent=False, reason="refused"))
    assert isinstance(verdict, Again)
    assert isinstance(verdict.error, TransportError)
    assert (verdict.error.sent, verdict.error.message, verdict.after) == (False, "refused", None)


def test_a_create_that_was_sent_and_not_answered_is_lost() -> None:
    """The verdict is Lost: the task may exist."""
    verdict = created(Broken(sent=True, reason="timeout"))
    assert isinstance(verdict, Lost)
    assert isinstance(verdict.error, TransportError)
    assert verdict.error.sent


@pytest.mark.parametrize("sent", [True, False])
def test_a_read_without_answer_is_repeated(sent: bool) -> None:
    """Repeating is harmless either way; the error says whether it was sent."""
    verdict = read(Broken(sent=sent, reason="reset"))
    assert isinstance(verdict, Again)
    assert isinstance(verdict.error, TransportError)
    assert verdict.error.sent is sent


@pytest.mark.parametrize("judge", [created, read])
@pytest.mark.parametrize("hopeless", [True, False])
@pytest.mark.parametrize("sent", [True, False])
def test_an_untrusted_certificate_fails_at_once(judge: Judge, sent: bool, hopeless: bool) -> None:
    """On reads as on creates no further try could succeed; a create that may have been sent is looked up."""
    verdict = judge(Broken(sent=sent, reason="no TLS connection", hopeless=hopeless))
    lost = judge is created and sent
    assert type(verdict) is (Lost if lost else Refused if hopeless else Again)
    assert closes_of(verdict) == ""
    error = error_of(verdict)
    assert isinstance(error, TransportError)
    assert (error.sent, error.hopeless, error.message) == (sent, hopeless and not lost, "no TLS connection")
