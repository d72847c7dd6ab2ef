"""Decide what follows from a job's failure: another task, the end of the batch, or a failed job."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final

from kling_async import errors
from kling_async.batch.entry import Failure, next_attempt, results_expired, revive
from kling_async.errors import (
    CODES,
    AccountError,
    APIError,
    AuthenticationError,
    ClientClosed,
    ConcurrencyExceeded,
    ConfigurationError,
    DownloadError,
    ExternalIdTaken,
    JobFailed,
    JournalError,
    PolicyViolation,
    RateLimited,
    RequestRejected,
    ResultExpired,
    TaskFailed,
    TaskNotFound,
    TransportError,
)
from kling_async.records import TaskRecord

if TYPE_CHECKING:
    from kling_async.batch.entry import Entry
    from kling_async.errors import KlingError

__all__ = ["FailureAction", "action_for", "again", "error_of", "surely_not_made"]


class FailureAction(enum.Enum):
    """The consequence of a job's failure."""

    RETRY = "retry"
    """The task failed for a reason that may not recur: a new task may be made, if retries are allowed."""
    FINAL = "final"
    """The same request would fail again, or the reason is unknown."""
    LATER = "later"
    """Nothing was sent, or the vendor put it off: send the same create again after a pause."""
    OPEN = "open"
    """The create's fate is unknown, or it was not made: the next run finds out."""
    POOL = "pool"
    """The units of the task's pool are used up: this run makes no more tasks of that pool."""
    ACCOUNT = "account"
    """The account, the journal, the disk or an untrusted certificate fails every job alike: this run makes no
    more tasks."""


# the lookbehind keeps a word within a word from counting: "surface" is no "face", "information" no "format"
_NOT_AGAIN: Final = re.compile(
    r"(?<![a-z])(risk[ _]control|sensitive|moderat|violat|guideline|polic(y|ies)\b|inappropriate|unsafe"
    r"|copyright|nsfw|audit|censor|safety|prohibit|portraits?\b|celebrit"
    r"|invalid|illegal|unsupport|not support|param(eter)?s?\b|formats?\b|resolution"
    r"|too (small|large|short|long)"
    r"|faces?\b|no (person|human|subject)|not (found|exist|recogni)|cannot (read|open|download|recogni)"
    r"|fail(ed)? to (download|read|fetch|parse|decode|load)|masks?\b|aspect|ratios?\b|durations?\b|sizes?\b"
    r"|expired|missing)"
    r"|风控|敏感|违规|审核|版权|不合规|参数|格式|分辨率|人脸|不支持|过期",
    re.IGNORECASE,
)
"""Words of moderation and of bad input in a failed task's message: the vendor gives no code for it."""

_ACCOUNT: Final = (AuthenticationError, ConfigurationError, ClientClosed, JournalError)
_FINAL: Final = (RequestRejected, PolicyViolation, ResultExpired)
_MODEL_NOT_ALLOWED: Final = 1103
_UNSIGNED: Final = 1001
"""The vendor saw no Authorization header."""


def action_for(error: BaseException) -> FailureAction:
    """Return what follows from the failure of one job."""
    if isinstance(error, TaskFailed):
        return FailureAction.FINAL if _NOT_AGAIN.search(error.record.message) else FailureAction.RETRY
    if isinstance(error, AccountError):
        return _account_action(error)
    if isinstance(error, RateLimited | ConcurrencyExceeded) or (
        isinstance(error, TransportError) and not (error.sent or error.hopeless)
    ):
        return FailureAction.LATER
    if isinstance(error, ExternalIdTaken) or getattr(error, "code", None) == _UNSIGNED:
        # the next run finds that task by its id; 1001, for a signed create, means a proxy ate the header
        return FailureAction.OPEN
    if isinstance(error, _ACCOUNT) or getattr(error, "disk_full", False) or getattr(error, "hopeless", False):
        return FailureAction.ACCOUNT
    # only the vendor's own code refuses for good: any other answer may be a gateway's
    known = not isinstance(error, APIError) or error.code in CODES
    return FailureAction.FINAL if known and isinstance(error, _FINAL) else FailureAction.OPEN


def error_of(entry: Entry) -> KlingError:
    """Return the error that ended a job in an earlier run, of the class it had.

    An error of a class that cannot be made again becomes a `JobFailed`.
    """
    failure = entry.error or Failure("KlingError", "no reason is known")
    kind = getattr(errors, failure.kind, None)
    if not (
        isinstance(kind, type) and issubclass(kind, APIError | DownloadError | TaskFailed | TaskNotFound)
    ):
        return JobFailed(failure.kind, failure.message)
    facts: dict[str, Any] = {"message": failure.message}
    if issubclass(kind, TaskFailed):
        # the message of the error begins with the id of the task
        reason = failure.message.partition(" failed: ")[2] or failure.message
        facts["record"] = TaskRecord(
            endpoint=entry.endpoint,
            task_id=entry.task_id or "",
            external_task_id=entry.external_task_id,
            status="failed",
            message=reason,
            units=entry.units,
        )
    elif issubclass(kind, APIError):
        facts |= {"code": None, "http_status": 0, "request_id": "", "hint": ""}
        facts["external_task_id"] = entry.external_task_id
        for name, pattern in _FACTS_IN_MESSAGE.items():
            if found := pattern.search(failure.message):
                facts[name] = int(found[1])
    elif issubclass(kind, TaskNotFound):
        facts |= {"id": entry.task_id or "", "request_id": ""}
    else:
        facts |= {"task_id": entry.task_id or "", "http_status": 0, "disk_full": False, "fault": "file"}
    # as unpickling does, since the constructors of the classes take different arguments
    error: KlingError = kind.__new__(kind, failure.message)
    error.__dict__.update(facts | failure.facts)
    return error


_FACTS_IN_MESSAGE: Final = {
    "code": re.compile(r"\(code (\d+), HTTP"),
    "http_status": re.compile(r", HTTP (\d+)"),
}
"""Facts in the message of an `APIError`, where an older version kept no others."""


def surely_not_made(error: Exception) -> bool:
    """Tell whether a failure proves that no task of its attempt will yield a result: another may be made."""
    return isinstance(error, TaskFailed) or (isinstance(error, APIError) and error.code in CODES)


def again(
    entry: Entry, journal_id: str, *, now: float, expired_too: bool = False, **facts: Any
) -> Entry | None:
    """Return the entry with which a failed job is tried again; None: its task succeeded and was paid.

    Where the failure proves that no task of the attempt is left, it is the next attempt, under a new id; else
    the same one, whose create is looked up before it is sent again.

    Args:
        entry: Of a job that has failed.
        journal_id: The journal's name.
        now: Seconds since 1970.
        expired_too: Whether a task is made anew whose results the vendor has deleted.
        facts: Of a new attempt: ``account`` and ``defaults``.
    """
    failure = error_of(entry)
    if isinstance(failure, ResultExpired) and not expired_too:
        return None  # only the caller can decide to pay for it again
    never_found = isinstance(failure, TaskNotFound) and results_expired(entry, now)
    if surely_not_made(failure) or isinstance(failure, ResultExpired) or never_found:
        return next_attempt(entry, journal_id, **facts)
    return revive(entry)


def _account_action(error: AccountError) -> FailureAction:
    if error.code in CODES and CODES[error.code].closes == "pool":
        return FailureAction.POOL
    # 1103 concerns one model; the account may gain the right to it before the next run
    return FailureAction.OPEN if error.code == _MODEL_NOT_ALLOWED else FailureAction.ACCOUNT
