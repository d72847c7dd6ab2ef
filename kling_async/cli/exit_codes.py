"""Exit codes, and the one line that an expected error becomes."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from kling_async.errors import (
    AccountError,
    AmbiguousCreate,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    DownloadError,
    ExternalIdTaken,
    KlingError,
    RateLimited,
    RequestInvalid,
    ServerError,
    TaskNotFound,
    TaskTimeout,
    TransportError,
    UnitLimitReached,
)

__all__ = ["INTERRUPTED", "Ending", "ExitCode", "explain"]


class ExitCode(enum.IntEnum):
    """Exit statuses of ``kling``; each has a sentence in `meaning`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STOPPED = 3
    ACCOUNT = 4

    @property
    def meaning(self) -> str:
        """The sentence that ``kling help exit-codes`` prints."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    ExitCode.DONE: "all done",
    ExitCode.FAILED: "some failed: a task, a file, or the command itself",
    ExitCode.USAGE: "an option, a request or a setting is wrong; nothing was paid for it",
    ExitCode.STOPPED: "stopped and resumable: the command to go on was printed",
    ExitCode.ACCOUNT: "the account is refused: wrong key, no units left, or no permission",
}

INTERRUPTED: Final = 130
"""Status of a command that Ctrl-C ended where nothing is left to resume, as shells expect."""


class Ending(NamedTuple):
    """The end of a command by an error."""

    code: ExitCode
    text: str
    """One line: what is wrong, and what helps."""


# the first row that fits an error counts
_CODES: Final[tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...]] = (
    ((AuthenticationError, AccountError), ExitCode.ACCOUNT),
    ((RequestInvalid, ConfigurationError), ExitCode.USAGE),
    ((TaskTimeout, ClientClosed, AmbiguousCreate, UnitLimitReached), ExitCode.STOPPED),
)

_FIXES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TransportError, "check the network and KLING_BASE_URL, then try again"),
    (AmbiguousCreate, "look for it later: kling get ENDPOINT:ID with that id"),
    (ExternalIdTaken, "take that task with --if-exists attach, or choose another id"),
    (RateLimited, "wait a minute, then try again"),
    (ServerError, "try again in a few minutes"),
    (TaskNotFound, "check the id, the endpoint before it, and whether it is this account's"),
    (ConfigurationError, "see: kling help environment"),
    (DownloadError, "kling download fetches what is missing"),
)
"""Advice for errors whose own message does not give it in words of the command line."""


def explain(error: KlingError | OSError) -> Ending:
    """Return the exit code of an expected error, and the line to print."""
    code = next((code for kinds, code in _CODES if isinstance(error, kinds)), ExitCode.FAILED)
    return Ending(code, " ".join(_words(error).split()))


def _words(error: KlingError | OSError) -> str:
    match error:
        case TaskTimeout(task_id=str(task_id)) if task_id:
            return f"task {task_id} had not ended after {error.timeout:g} s and runs on: kling wait {task_id}"
        case KlingError():
            fix = next((fix for kind, fix in _FIXES if isinstance(error, kind)), "")
            return f"{str(error).rstrip('.')}; {fix}" if fix else str(error)
        case OSError(filename=str(name), strerror=str(reason)):
            return f"{name}: {reason}"
        case OSError(strerror=str(reason)):
            return f"{reason} (in reading the input, or in writing the output)"
        case _:
            return str(error) or type(error).__name__
