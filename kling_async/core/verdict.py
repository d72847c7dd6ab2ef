"""Verdicts: the meaning of an exchange with the API, for a create or a read. It is decided only here.

A transport turns every exchange into one of three outcomes (`Answer`, `Garbled`, `Broken`); the two
``judge_*`` functions turn an outcome into a verdict, which a driver carries out with ``match``.
"""

from __future__ import annotations

import contextlib
import enum
from typing import NamedTuple, TypeAlias

import msgspec

from kling_async.decoding.shown import shown_task
from kling_async.errors import (
    CODES,
    APIError,
    AuthenticationError,
    BadResponse,
    Closes,
    ExternalIdTaken,
    KlingError,
    RateLimited,
    ServerError,
    TransportError,
    api_error,
    code_row,
)
from kling_async.records import TaskRecord, decode_task

__all__ = [
    "Accepted",
    "AfterMiss",
    "Again",
    "Answer",
    "Broken",
    "CreateVerdict",
    "ExchangeOutcome",
    "Full",
    "Garbled",
    "Got",
    "Lost",
    "Missing",
    "NewToken",
    "ReadVerdict",
    "Refused",
    "Resolved",
    "Unknown",
    "is_wall",
    "judge_create",
    "judge_failed_look",
    "judge_read",
]


class Answer(NamedTuple):
    """A whole answer of the API's form."""

    http_status: int
    code: int | None
    message: str
    request_id: str
    data: bytes
    date: float | None = None
    """The server's clock (Date header), seconds since 1970."""
    retry_after: float | None = None
    """Seconds that the server asked to wait."""
    body: bytes = b""
    """The whole answer to a request with a body: a create may show its task anywhere in it."""
    gateway: bool = False
    """Whether a gateway answered in a form of its own, from which code and data were translated."""
    missing: bool = False
    """Whether a gateway said, in a word of its own, that it knows no such task."""


class Garbled(NamedTuple):
    """A whole answer that is not of the API's form: HTML, cut JSON, an empty body."""

    http_status: int
    reason: str
    excerpt: str
    request_id: str = ""
    retry_after: float | None = None
    body: bytes = b""
    """As in `Answer`."""


class Broken(NamedTuple):
    """An exchange that brought no whole answer."""

    sent: bool
    """Whether the request may have reached the server."""
    reason: str
    hopeless: bool = False
    """Whether any further request would fail alike: the server's certificate is not trusted."""


ExchangeOutcome: TypeAlias = Answer | Garbled | Broken


class Accepted(NamedTuple):
    """The create made this task."""

    record: TaskRecord
    ids: frozenset[str] = frozenset()
    """All ids that its answer showed for the task."""


class Full(NamedTuple):
    """1303: the pool has no free slots for the create. Nothing was made."""

    error: APIError


class Again(NamedTuple):
    """Failed in a way that is harmless to repeat after a pause."""

    error: KlingError
    after: float | None = None
    """Seconds that the server asked to wait."""
    onward: bool = False
    """Whether a part came of what is wanted, from which the next attempt goes on."""
    doubtful: bool = False
    """Whether a create may have made its task all the same: a 429 without the vendor's code."""


class NewToken(NamedTuple):
    """1003 or 1004: sign anew and send once more. ``date`` is the server's clock, if known."""

    error: APIError
    date: float | None = None


class AfterMiss(enum.Enum):
    """Consequence of a complete miss of the look-up, for a create whose answer left its fate open."""

    RESEND = "resend"  # the request got lost: send it again
    END = "end"  # somebody between us and the vendor refused it: end, without another attempt
    REFUSE = "refuse"  # the vendor refused it with an unknown code: one look is enough to believe that
    HOLD = "hold"  # its answer showed a task that seems to be another's: nobody knows, and nothing is sent


class Lost(NamedTuple):
    """The create may have made a task; only a lookup can tell."""

    error: KlingError
    miss: AfterMiss = AfterMiss.RESEND


class Refused(NamedTuple):
    """Refused for good."""

    error: KlingError
    closes: Closes = ""
    """Whether further creates are useless too: of that pool, or of the whole account."""


class Got(NamedTuple):
    """A read was answered with data."""

    data: bytes
    answer: Answer


class Missing(NamedTuple):
    """The vendor knows no task of that id."""

    message: str
    request_id: str


class Unknown(NamedTuple):
    """A lost create was looked up in vain: the task may exist, so nothing is sent again."""

    error: KlingError
    wall: bool = False
    """Whether the look-up, too, was refused by somebody who is not the vendor."""


CreateVerdict: TypeAlias = Accepted | Full | Again | NewToken | Lost | Refused
Resolved: TypeAlias = Accepted | Full | Again | Refused | Unknown
"""The end of a create: the verdicts that `CreateVerdict` leaves open were repeated or looked up."""

ReadVerdict: TypeAlias = Got | Again | NewToken | Missing | Refused


def judge_create(  # noqa: PLR0911 - one line per outcome
    outcome: ExchangeOutcome, *, endpoint: str, external_task_id: str | None, renewable: bool
) -> CreateVerdict:
    """Return the verdict on a create.

    Args:
        outcome: The outcome of the exchange.
        endpoint: Name of the catalog row.
        external_task_id: The id that the create carried.
        renewable: Whether the token can be signed anew and has not been for this send yet.
    """
    match outcome:
        case Broken(sent=True, reason=reason):
            return Lost(TransportError(reason, sent=True))
        case Broken():
            return _judge_broken(outcome)
        case Answer() | Garbled() if (accepted := _accepted(outcome, endpoint)) is not None:
            return accepted
        case Garbled():
            return _judge_garbled_create(outcome)
        case Answer(gateway=True):
            return _judge_gateways_refusal(outcome, external_task_id, renewable=renewable)
        case Answer(code=code, http_status=status) if code == 0 or (code is None and status < 400):
            return _judge_silent_create(outcome)
        case Answer(code=code) if code not in CODES:
            return _judge_strange_create(outcome, external_task_id)
        case Answer():
            return _judge_refused_create(outcome, external_task_id, renewable=renewable)


def _accepted(outcome: Answer | Garbled, endpoint: str) -> Accepted | None:
    """Return the task that an answer shows, unless a code of the vendor's or an HTTP status refuses it."""
    match outcome:
        case Answer(code=0, data=data):
            with contextlib.suppress(msgspec.DecodeError):
                record = decode_task(endpoint, data)
                shown = shown_task(outcome.body)
                return Accepted(record, frozenset({record.task_id, *(shown.ids if shown else ())}))
        case Answer(code=code, gateway=False) if code in CODES:
            return None
        case Answer(gateway=True) if b'"task_id"' not in outcome.body:
            return None  # the "id" of an error is that of the request
        case Answer(gateway=True, http_status=status) if _is_open(status):
            pass  # nobody can look it up there, but its id can be asked for
        case Answer(http_status=status) | Garbled(http_status=status) if not 200 <= status < 300:
            return None
    shown = shown_task(outcome.body)
    return None if shown is None else Accepted(decode_task(endpoint, shown.data), frozenset(shown.ids))


def _judge_silent_create(answer: Answer) -> Lost:
    """Judge an answer that neither refuses the create nor shows its task."""
    if answer.code == 0:
        return Lost(_bad_response(answer, "accepted, but no id of the task can be read"))
    miss = AfterMiss.END if answer.http_status >= 300 else AfterMiss.RESEND
    return Lost(_bad_response(answer, "the answer has no code"), miss)


def _judge_gateways_refusal(
    answer: Answer, external_task_id: str | None, *, renewable: bool
) -> CreateVerdict:
    """Judge an error in a gateway's own form: as the vendor's, except where an answer may be lost."""
    status = answer.http_status
    if _is_open(status) or (status < 400 and answer.code is None):
        return Lost(_error(answer, external_task_id))
    if status == 429 and answer.code is None:  # its own limit of tasks, or the vendor's without the number
        return Full(_error(answer, external_task_id))
    return _judge_refused_create(answer, external_task_id, renewable=renewable)


def _is_open(http_status: int) -> bool:
    """Tell whether a status says nothing about what was done: the server broke, or gave up waiting."""
    return http_status >= 500 or http_status in (408, 499)


def _judge_strange_create(answer: Answer, external_task_id: str | None) -> CreateVerdict:
    """Judge an answer whose code, if any, is not the vendor's: it proves nothing about the task."""
    status, error = answer.http_status, _error(answer, external_task_id)
    if status < 400 or status >= 500:
        return Lost(error)
    if status == 429:
        return Again(error, answer.retry_after, doubtful=True)
    if answer.code is None:
        words = answer.message or "no message"
        return Lost(_bad_response(answer, f"refused without a code of the API: {words}"), AfterMiss.END)
    return Lost(error, AfterMiss.REFUSE)


def _judge_refused_create(answer: Answer, external_task_id: str | None, *, renewable: bool) -> CreateVerdict:
    error = _error(answer, external_task_id)
    if answer.code == 1303 or (answer.gateway and answer.code is None and answer.http_status == 429):
        return Full(
            error
        )  # a gateway's 429 is its own limit of tasks, or the vendor's with the number dropped
    if isinstance(error, RateLimited):
        return Again(error, answer.retry_after)
    if isinstance(error, ServerError):
        return Lost(error)
    return _final(answer, error, renewable=renewable)


def _judge_garbled_create(outcome: Garbled) -> CreateVerdict:
    status = outcome.http_status
    if status == 429:
        error = api_error(None, "too many requests", http_status=429)
        return Again(error, outcome.retry_after, doubtful=True)
    miss = AfterMiss.END if 300 <= status < 500 else AfterMiss.RESEND
    return Lost(_bad_response(outcome, outcome.reason), miss)


def is_wall(error: KlingError) -> bool:
    """Tell whether somebody in between refused a request: 3xx or 4xx without a code of the API."""
    if isinstance(error, BadResponse):
        return 300 <= error.http_status < 500
    return isinstance(error, APIError) and error.code is None and 400 <= error.http_status < 500


def judge_failed_look(error: KlingError) -> Refused | Unknown:
    """Return the verdict on a lost create whose look-up failed; its id may be seen at another product."""
    return Refused(error) if isinstance(error, ExternalIdTaken) else Unknown(error, wall=is_wall(error))


def judge_read(  # noqa: PLR0911 - one line per outcome
    outcome: ExchangeOutcome, *, renewable: bool
) -> ReadVerdict:
    """Return the verdict on a read, which may be repeated freely."""
    match outcome:
        case Broken():
            return _judge_broken(outcome)
        case Garbled(http_status=status) if 300 <= status < 500 and status != 429:
            return Refused(_bad_response(outcome, outcome.reason))
        case Garbled():
            return Again(_bad_response(outcome, outcome.reason), outcome.retry_after)
        case Answer(code=0):
            return Got(outcome.data, outcome)
        case Answer(missing=True):
            return Missing(outcome.message[:500], outcome.request_id)
        case Answer(code=None, http_status=status) if status < 400:
            return Again(_bad_response(outcome, "the answer has no code"))
        case Answer():
            return _judge_refused_read(outcome, renewable=renewable)


def _judge_broken(outcome: Broken) -> Again | Refused:
    """Judge an exchange without an answer that may be repeated: a read, or a create that was not sent."""
    error = TransportError(outcome.reason, sent=outcome.sent)
    error.hopeless = outcome.hopeless
    return Refused(error) if outcome.hopeless else Again(error)


def _judge_refused_read(answer: Answer, *, renewable: bool) -> ReadVerdict:
    error = _error(answer, None)
    if isinstance(error, RateLimited | ServerError) or answer.code == 1303:
        return Again(error, answer.retry_after)
    if answer.code == 1201 and "not found" in answer.message.lower():
        return Missing(answer.message[:500], answer.request_id)
    return _final(answer, error, renewable=renewable)


def _final(answer: Answer, error: APIError, *, renewable: bool) -> NewToken | Refused:
    if answer.code in (1003, 1004):
        return NewToken(error, answer.date) if renewable else Refused(error, "all")
    closes = code_row(answer.code, answer.http_status).closes
    if isinstance(error, AuthenticationError) and answer.code is None:
        closes = "all"
    return Refused(error, closes)


def _error(answer: Answer, external_task_id: str | None) -> APIError:
    error = api_error(
        answer.code,
        answer.message,
        request_id=answer.request_id,
        http_status=answer.http_status,
        external_task_id=external_task_id,
    )
    if isinstance(error, RateLimited):
        error.retry_after = answer.retry_after
    return error


def _bad_response(outcome: Answer | Garbled, reason: str) -> BadResponse:
    excerpt = outcome.excerpt if isinstance(outcome, Garbled) else ""
    return BadResponse(
        reason, http_status=outcome.http_status, excerpt=excerpt, request_id=outcome.request_id
    )
