"""Which failures a batch may answer with a new task, which end it, and which concern one request alone."""

from __future__ import annotations

import enum
import re
from typing import Final

from kling_async.errors import (
    AccountError,
    AuthenticationError,
    ClientClosed,
    ConcurrencyExceeded,
    ConfigurationError,
    ExternalIdTaken,
    JournalError,
    PolicyViolation,
    RateLimited,
    RequestRejected,
    ResultExpired,
    TaskFailed,
    TransportError,
)

__all__ = ["FailureAction", "action_for"]


class FailureAction(enum.Enum):
    """What follows from a failure."""

    RETRY = "retry"
    """The task failed for a reason that may not come again: a new one may be made, if asked for."""
    FINAL = "final"
    """The same request would fail again, or nobody knows whether it did."""
    LATER = "later"
    """Nothing was sent, or all of it was put off: the same again in a while."""
    OPEN = "open"
    """Its fate is unknown, or it was not made: the next run finds out."""
    ACCOUNT = "account"
    """Every request would fail so, by the account, the journal or the disk: no more are made, but by the next
    run."""


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
"""Words of moderation and of bad input in a failed task's reason; the vendor gives no code there."""

_ACCOUNT: Final = (AuthenticationError, ConfigurationError, ClientClosed, JournalError)
_FINAL: Final = (RequestRejected, PolicyViolation, ResultExpired)


def action_for(error: BaseException) -> FailureAction:
    """Say what follows from the failure of one job."""
    if isinstance(error, TaskFailed):
        return FailureAction.FINAL if _NOT_AGAIN.search(error.record.message) else FailureAction.RETRY
    if isinstance(error, AccountError):
        return (
            FailureAction.OPEN if error.code == 1103 else FailureAction.ACCOUNT
        )  # 1103: the right to that model can be had
    if isinstance(error, RateLimited | ConcurrencyExceeded) or (
        isinstance(error, TransportError) and not error.sent
    ):
        return FailureAction.LATER
    if isinstance(error, ExternalIdTaken) or getattr(error, "code", None) == 1001:
        return FailureAction.OPEN  # the one is found by its id, the other was a proxy's doing
    if isinstance(error, _ACCOUNT) or getattr(error, "disk_full", False):
        return FailureAction.ACCOUNT
    return FailureAction.FINAL if isinstance(error, _FINAL) else FailureAction.OPEN
