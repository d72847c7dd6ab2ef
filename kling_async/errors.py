"""Errors: every exception and warning of this package, as one tree.

::

    KlingError
    ├── RequestInvalid (ValueError)    refused by this package, unsent; names every wrong field
    │   └── LineInvalid                a line of a file with jobs is wrong: its number, and the fields
    ├── ConfigurationError             credentials, base URL, limits, a second running event loop
    ├── ClientClosed                   the client was closed while a call waited
    ├── APIError                       refused by the vendor: code, message, request_id, http_status
    │   ├── AuthenticationError        1000-1004
    │   ├── AccountError               1100, 1103, 1304
    │   │   └── OutOfUnits             1101, 1102
    │   ├── RequestRejected            1200-1203
    │   │   └── ExternalIdTaken        1201 "already exists"
    │   ├── PolicyViolation            1300, 1301
    │   ├── RateLimited                1302
    │   ├── ConcurrencyExceeded        1303; seen only with queueing=False
    │   └── ServerError                5000-5002
    ├── TransportError                 no whole answer came: refused, cut off, timed out
    ├── BadResponse                    an answer came that is not of the API's form
    ├── AmbiguousCreate                a create's answer was lost: the task may exist and be billed
    ├── TaskFailed                     the vendor ended the task as failed; holds its record
    ├── TaskTimeout (TimeoutError)     the waiter's deadline passed; the task runs on
    ├── QueueTimeout (TimeoutError)    no slot came free in time; nothing was created
    ├── QueueFull                      too many submits wait already; nothing was created
    ├── UnitLimitReached               the task could cost more than max_units leaves; nothing was created
    ├── TaskWithdrawn                  the submit was withdrawn before its task existed
    ├── TaskNotFound                   the vendor knows no task of that id
    ├── JournalError                   a batch's journal cannot be used; says what to do
    ├── JobFailed                      a job of a batch failed in an earlier run, and its error is not kept
    ├── DownloadError                  a result file could not be fetched
    │   └── ResultExpired              the vendor has deleted it: results are kept for 30 days
    └── WebhookError                   a callback has a wrong signature or form

Each error carries what is needed to go on (ids, request_id), survives ``pickle`` and ``copy``, and holds
neither a key nor a signed address nor a payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.records import TaskRecord

__all__ = [
    "CODES",
    "APIError",
    "AccountError",
    "AmbiguousCreate",
    "AuthenticationError",
    "BadResponse",
    "ClientClosed",
    "Code",
    "ConcurrencyExceeded",
    "ConfigurationError",
    "DownloadError",
    "ExternalIdTaken",
    "JobFailed",
    "JournalError",
    "KlingError",
    "KlingWarning",
    "LineInvalid",
    "OutOfUnits",
    "PolicyViolation",
    "Problem",
    "QueueFull",
    "QueueTimeout",
    "RateLimited",
    "RequestInvalid",
    "RequestRejected",
    "ResultExpired",
    "ServerError",
    "TaskFailed",
    "TaskNotFound",
    "TaskTimeout",
    "TaskWithdrawn",
    "TransportError",
    "UnitLimitReached",
    "WebhookError",
    "api_error",
]


class KlingWarning(UserWarning):
    """Warns of something that is probably a mistake, but that only the vendor can judge."""


class KlingError(Exception):
    """Base of every error of this package; its keyword arguments become its attributes."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.__dict__.update(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from class and attributes: keyword-only constructors defeat the default."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    def again(self) -> Self:
        """Return a copy without traceback and notes, for the next of several waiters."""
        facts = {name: value for name, value in self.__dict__.items() if name != "__notes__"}
        return _rebuild(type(self), self.args, facts)


_E = TypeVar("_E", bound=KlingError)


def _rebuild(kind: type[_E], args: tuple[Any, ...], facts: dict[str, Any]) -> _E:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError, a base of TimeoutError, leaves them to its __init__
    error.__dict__.update(facts)
    return error


class Problem(NamedTuple):
    """One wrong field of a request."""

    field: str
    """Path of the field: ``multi_prompt[1].duration``."""
    text: str
    """The mistake, and what would be right."""


class RequestInvalid(KlingError, ValueError):
    """The request cannot be right; nothing was sent and nothing was paid."""

    def __init__(self, request: str, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = "; ".join(f"{p.field}: {p.text}" for p in self.problems)
        super().__init__(f"{request}: {lines}")


class LineInvalid(RequestInvalid):
    """A line of a file with jobs is wrong; every wrong field is named."""

    def __init__(
        self, source: str, line: int, problems: Sequence[Problem], *, key: str | None = None
    ) -> None:
        self.source = source
        """Name of the file; ``-`` for a stream."""
        self.line = line
        """Number of the line, from 1; of a row of CSV over several lines the first one's."""
        self.key = key
        """The job's key, if that could be read."""
        super().__init__(f"{source} line {line}", problems)


class ConfigurationError(KlingError):
    """The client's settings cannot work; the message says what to change."""


class ClientClosed(KlingError):
    """The client was closed, or is closing, while this call was under way."""

    def __init__(self, message: str, *, task_ids: Sequence[str] = ()) -> None:
        self.task_ids: tuple[str, ...] = tuple(task_ids)
        """Ids of the tasks that run on; external ones of creates whose answer had not come."""
        super().__init__(message)


class APIError(KlingError):
    """The API refused a request with a code of its own."""

    def __init__(
        self,
        message: str,
        *,
        code: int | None,
        request_id: str = "",
        http_status: int = 0,
        hint: str = "",
        external_task_id: str | None = None,
    ) -> None:
        self.code = code
        """The API's code; None where the answer carried none."""
        self.request_id = request_id
        """The vendor's id of this exchange; quote it to their support."""
        self.http_status = http_status
        self.hint = hint
        """This package's advice on what usually helps."""
        self.external_task_id = external_task_id
        """The id that our create carried, if this answered a create."""
        name = f"code {code}" if code is not None else "no code"
        text = f"{message or 'no message'} ({name}, HTTP {http_status}"
        text += f", request_id {request_id})" if request_id else ")"
        super().__init__(f"{text}. {hint}" if hint else text)
        self.message = message


class AuthenticationError(APIError):
    """The credentials were not accepted (1000-1004)."""


class AccountError(APIError):
    """The account may not do this now (1100, 1103, 1304)."""


class OutOfUnits(AccountError):
    """The account has nothing left to pay with: 1101 arrears; 1102 pack used up, or none of that type."""


class RequestRejected(APIError):
    """The API found the request wrong (1200-1203)."""


class ExternalIdTaken(RequestRejected):
    """Another task of this account already has that external_task_id."""


class PolicyViolation(APIError):
    """The content was refused: 1300 platform policy, 1301 content safety."""


class RateLimited(APIError):
    """Requests came too fast (1302), even after pauses and repetitions."""

    retry_after: float | None = None
    """Seconds that the server asked for, if it did."""


class ConcurrencyExceeded(APIError):
    """The account has no free slot (1303); raised only with ``Client(queueing=False)``."""


class ServerError(APIError):
    """The vendor's server failed (5000-5002)."""


class TransportError(KlingError):
    """The connection failed before a whole answer came."""

    external_task_id: str | None = None
    """The id that our create carried, if this ended a create."""
    hopeless = False  # whether any further request would fail alike: the server's certificate is not trusted

    def __init__(self, message: str, *, sent: bool, **facts: Any) -> None:
        self.sent = sent
        """Whether the request may have reached the vendor; False: surely not."""
        super().__init__(message, **facts)


class BadResponse(KlingError):
    """An answer came that is not of the API's form: HTML, cut JSON, wrong types.

    Attributes:
        http_status: The HTTP status of that answer.
        excerpt: Its first characters, at most 200.
        request_id: The vendor's id of the exchange, if it could be read.
    """

    def __init__(self, message: str, *, http_status: int, excerpt: str = "", request_id: str = "") -> None:
        self.http_status = http_status
        self.excerpt = excerpt
        self.request_id = request_id
        text = f"{message} (HTTP {http_status}"
        text += f", request_id {request_id})" if request_id else ")"
        super().__init__(f"{text}: {excerpt!r}" if excerpt else text)


class AmbiguousCreate(KlingError):
    """A create's answer was lost, and no lookup could tell its fate: the task may exist and be billed.

    Its slots stay held, and it is looked up again later: found, it is in ``client.tasks()``; until then
    ``client.unresolved()`` lists it, and ``client.abandon(external_task_id)`` gives it up.
    """

    def __init__(self, message: str, *, external_task_id: str | None) -> None:
        self.external_task_id = external_task_id
        super().__init__(f"{message} (external_task_id {external_task_id})")


class TaskFailed(KlingError):
    """The vendor ended the task as failed; ``record`` holds all that is known of it."""

    def __init__(self, record: TaskRecord) -> None:
        self.record = record
        reason = record.message or "no reason given"
        super().__init__(f"task {record.task_id} failed: {reason}")


class TaskTimeout(KlingError, TimeoutError):
    """The deadline passed; the task runs on, is billed when it succeeds, and can be waited for again."""

    def __init__(
        self,
        task_id: str,
        external_task_id: str | None,
        timeout: float,
        unread: int = 0,
        status: str = "",
        *,
        queued: bool = False,
    ) -> None:
        self.task_id = task_id
        """Empty while its create is still on its way."""
        self.external_task_id, self.timeout, self.unreadable = external_task_id, timeout, unread
        """Answers about the task that could not be read."""
        self.queued = queued
        """Whether it still waited for slots."""
        name = f"task {task_id}" if task_id else f"the task of external_task_id {external_task_id}"
        if queued:
            name += f" still queued after {timeout:g} s and keeps its place: wait() again, or withdraw() it"
        else:
            name += f" had not ended after {timeout:g} s; it runs on: wait() again, or attach() to it later"
        name += f" ({unread} answers about it could not be read)" if unread else ""
        super().__init__(name + (f" (its status is {status!r}, which is not known)" if status else ""))


class QueueTimeout(KlingError, TimeoutError):
    """The queue gave no slot in time; nothing was created and nothing is billed."""

    def __init__(self, external_task_id: str, timeout: float, reason: str = "") -> None:
        self.external_task_id, self.timeout = external_task_id, timeout
        text = f"no slot within {timeout:g} s; nothing was created"
        super().__init__(f"{text} (last refusal: {reason})" if reason else text)


class QueueFull(KlingError):
    """Too many submits wait for slots already, by ``Client(max_queued=...)``; nothing was created."""

    def __init__(self, queued: int) -> None:
        self.queued = queued
        super().__init__(f"{queued} submits wait for slots already (Client(max_queued=...)); try again later")


class UnitLimitReached(KlingError):
    """The task could cost more than ``Client(max_units=...)`` leaves; nothing was created.

    Attributes:
        pool: The pool whose units are short.
        units: The most that the task could cost.
        limit: The limit of the pool.
        spent: Units of tasks seen ended.
        reserved: Units set aside for tasks whose end was not seen; some may come back.
    """

    def __init__(self, pool: str, units: float, *, limit: float, spent: float, reserved: float) -> None:
        self.pool = pool
        self.units = units
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        super().__init__(
            f"up to {units:g} {pool} units would pass max_units={limit:g}: "
            f"{spent:g} are spent, {reserved:g} reserved; nothing was created"
        )


class TaskWithdrawn(KlingError):
    """The submit was withdrawn from the queue; it made no task."""

    def __init__(self, external_task_id: str) -> None:
        self.external_task_id = external_task_id
        super().__init__(f"the submit of external_task_id {external_task_id} was withdrawn; nothing was sent")


class TaskNotFound(KlingError):
    """The vendor knows no task of that id at this endpoint, or not under this account."""

    def __init__(self, message: str, *, id: str, request_id: str = "") -> None:  # noqa: A002 - the field's word
        self.id = id
        self.request_id = request_id
        super().__init__(message)


class JobFailed(KlingError):
    """A batch job failed in an earlier run with an error that its journal cannot make again."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind} in an earlier run: {message}")
        self.kind = kind
        """Name of the error's class."""


class JournalError(KlingError):
    """A batch's journal cannot be used, or could not be written; the message says what to do."""

    def __init__(self, message: str, *, path: str) -> None:
        self.path = path
        super().__init__(message)


DownloadFault = Literal["file", "server", "storage"]
"""Cause of a missing file: this file alone, the files' server (no or a wrong answer), the folder."""


class DownloadError(KlingError):
    """A result file could not be fetched; the task and its result are not affected."""

    def __init__(
        self,
        message: str,
        *,
        task_id: str = "",
        http_status: int = 0,
        disk_full: bool = False,
        fault: DownloadFault = "file",
    ) -> None:
        self.task_id = task_id
        self.http_status = http_status
        self.disk_full = disk_full
        """Whether the disk takes no more: the next file would fail, too."""
        self.fault: DownloadFault = fault
        super().__init__(message)


class ResultExpired(DownloadError):
    """The vendor deletes results 30 days after the task ended, and this one is gone."""


class WebhookError(KlingError):
    """A callback has a wrong signature or form; do not act on it."""


Closes: TypeAlias = Literal["", "pool", "all"]
"""Which creates an error makes useless until a person acts: none, those of its pool, or all."""


class Code(NamedTuple):
    """One code of the API: its error, and what follows from it."""

    error: type[APIError]
    hint: str = ""
    """Advice for the user."""
    closes: Closes = ""


CODES: Final[dict[int, Code]] = {
    1000: Code(AuthenticationError, "Check the key; make a new one in the console.", "all"),
    1001: Code(AuthenticationError, "A proxy may strip the Authorization header."),  # each request has one
    1002: Code(
        AuthenticationError,
        "The key is unknown to this host: a mistyped key, a key of the other region "
        "(set KLING_BASE_URL), or a key pair where only an API key works.",
        "all",
    ),
    1003: Code(AuthenticationError, "The token is not valid yet: this machine's clock is ahead."),
    1004: Code(AuthenticationError, "The token has expired: this machine's clock is behind."),
    1100: Code(AccountError, "The account is in an abnormal state; see the console.", "all"),
    1101: Code(OutOfUnits, "The account is in arrears; pay, then account.reopen().", "all"),
    1102: Code(OutOfUnits, "Buy a pack of this type, then account.reopen(pool).", "pool"),
    1103: Code(AccountError, "The account has no right to this model or API."),
    1200: Code(RequestRejected),
    1201: Code(RequestRejected),
    1202: Code(RequestRejected),
    1203: Code(RequestRejected, "The model or path does not exist, or is no longer served."),
    1300: Code(PolicyViolation, "Change the content; the same request is refused again."),
    1301: Code(PolicyViolation, "Change the content; the same request is refused again."),
    1302: Code(RateLimited),
    1303: Code(ConcurrencyExceeded),
    1304: Code(AccountError, "This machine's address is not on the account's allow-list.", "all"),
    5000: Code(ServerError),
    5001: Code(ServerError, "Usually maintenance."),
    5002: Code(ServerError, "Usually a backlog at the vendor."),
}
"""The codes on the vendor's page as of 2026-09."""


def code_row(code: int | None, http_status: int) -> Code:
    """Return the row of a code; an unknown or missing one is judged by its HTTP status."""
    # the code comes first: the vendor sends HTTP 429 with 1100 to 1102 too, which no waiting cures
    if code is not None and code in CODES:
        return CODES[code]
    if http_status == 429:
        return CODES[1302]
    if http_status >= 500:
        return CODES[5000]
    return Code(AuthenticationError if http_status == 401 else RequestRejected)


def api_error(
    code: int | None,
    message: str,
    *,
    request_id: str = "",
    http_status: int = 0,
    external_task_id: str | None = None,
) -> APIError:
    """Return the error of the tree for a code of the API.

    >>> type(api_error(1102, "Account balance not enough", http_status=429)).__name__
    'OutOfUnits'
    """
    kind, hint, _ = code_row(code, http_status)
    # the vendor has one code for all wrong values; a taken id shows in its words alone
    if code == 1201 and "already exist" in message.lower():
        kind = ExternalIdTaken
    return kind(
        message[:500],
        code=code,
        request_id=request_id,
        http_status=http_status,
        hint=hint,
        external_task_id=external_task_id,
    )
