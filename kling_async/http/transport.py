"""One request out, one outcome in: the only place that speaks HTTP with the API.

Nothing here decides what an answer means (`core.verdict` does) or raises what the wire did: no exception of
aiohttp leaves this module, since its repr holds the Authorization header.
"""

from __future__ import annotations

import functools
import io
import logging
import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from kling_async._version import __version__
from kling_async.core.verdict import (
    Again,
    Answer,
    Broken,
    CreateVerdict,
    ExchangeOutcome,
    Garbled,
    NewToken,
    ReadVerdict,
    judge_create,
    judge_read,
)
from kling_async.errors import ConfigurationError
from kling_async.events import facts
from kling_async.records import decode_envelope
from kling_async.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kling_async.events import Hooks, RequestKind, Subject
    from kling_async.http.auth import Signer
    from kling_async.http.sessions import Sessions
    from kling_async.options import Timeouts

__all__ = ["Transport", "broken_by", "retry_after"]

log = logging.getLogger("kling_async.http")

_ANSWER_MAX: Final = 32 * 1024 * 1024
_STREAM_FROM: Final = 512 * 1024
_RETRY_AFTER_MAX: Final = 3600.0
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AGENT: Final = f"kling-async/{__version__}"


class Transport:
    """Sends requests of one account to one base URL."""

    def __init__(
        self,
        sessions: Sessions,
        signer: Signer,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        *,
        hooks: Hooks,
    ) -> None:
        self.base_url = base_url
        self.sessions = sessions
        self._signer = signer
        self._hooks = hooks
        for name, value in (headers or {}).items():
            if not _HEADER_NAME.fullmatch(name) or any(c in value for c in "\r\n\0"):
                raise ConfigurationError(f"headers[{name!r}]: one line, and a name of letters, digits and -")
        self._headers = {"User-Agent": _AGENT, "Accept": "application/json", **(headers or {})}

    @property
    def unified(self) -> bool:
        """Whether ``/tasks`` may be asked: it takes an API key, no signed token."""
        return not self._signer.renewable

    async def create(
        self,
        path: str,
        body: bytes,
        *,
        endpoint: str,
        external_task_id: str | None,
        timeouts: Timeouts,
        about: Sequence[Subject] = (),
    ) -> CreateVerdict:
        """Send a create; a refused token is signed anew and sent once more."""
        renewable = self._signer.renewable
        while True:
            outcome = await self.exchange(
                "POST", path, body=body, timeouts=timeouts, kind="create", about=about
            )
            verdict = judge_create(
                outcome, endpoint=endpoint, external_task_id=external_task_id, renewable=renewable
            )
            if not isinstance(verdict, NewToken):
                return verdict
            self._renew(verdict)
            renewable = False

    async def read(
        self,
        method: str,
        path: str,
        *,
        timeouts: Timeouts,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        kind: RequestKind = "other",
        about: Sequence[Subject] = (),
    ) -> ReadVerdict:
        """Send what may be repeated freely; a refused token is signed anew and sent once more.

        Args:
            method: GET, as a rule.
            path: Below the base URL.
            timeouts: How long it may take.
            params: The query.
            body: JSON.
            kind: What it is for, to be counted by.
            about: The tasks it is about, for the log.
        """
        renewable = self._signer.renewable
        while True:
            outcome = await self.exchange(
                method, path, params=params, body=body, timeouts=timeouts, kind=kind, about=about
            )
            verdict = judge_read(outcome, renewable=renewable)
            if isinstance(verdict, Again):
                self._hooks.retried()
            if not isinstance(verdict, NewToken):
                return verdict
            self._renew(verdict)
            renewable = False

    def _renew(self, verdict: NewToken) -> None:
        self._signer.renew(self.sessions.scope.now(), verdict.date)

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        timeouts: Timeouts,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        kind: RequestKind = "other",
        about: Sequence[Subject] = (),
    ) -> ExchangeOutcome:
        """Send one request; return what came of it, whatever it was.

        What is no GET goes over connections that are never old: the HTTP library repeats a GET on a dying
        one, but nothing else.
        """
        session = await self.sessions.get("reads" if method == "GET" else "creates")
        self._hooks.sending(kind, len(body or b""))
        begun = self.sessions.scope.time()
        outcome = await self._send(session, method, path, timeouts=timeouts, params=params, body=body)
        if not isinstance(outcome, Answer):
            self._hooks.unanswered()
        if log.isEnabledFor(logging.DEBUG):
            known = facts(*about) | {"request_id": getattr(outcome, "request_id", "")}
            words = method, path.partition("?")[0], _word(outcome), self.sessions.scope.time() - begun
            log.debug("%s %s: %s in %.3f s", *words, extra=known)
        return outcome

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        timeouts: Timeouts,
        params: Mapping[str, str] | None,
        body: bytes | None,
    ) -> ExchangeOutcome:
        token = self._signer.token(self.sessions.scope.now())
        headers = {**self._headers, "Authorization": f"Bearer {token}"}
        data: Any = body
        if body is not None:
            headers["Content-Type"] = "application/json"
            if len(body) > _STREAM_FROM:  # written piece by piece, so the loop goes on
                data = io.BytesIO(body)
        read, total = timeouts.grown(len(body or b""))
        try:
            async with session.request(
                method,
                self.base_url + path,
                params=params,
                data=data,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,  # an injected session may have it on
                timeout=aiohttp.ClientTimeout(total=total, connect=timeouts.connect, sock_read=read),
                **self.sessions.per_request(self.base_url),
            ) as response:
                answer = await _body(response)
                self._hooks.received(len(answer or b""))
                return _outcome(response, answer, token)
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            broken = broken_by(error)  # a RuntimeError: the session or stream was closed under it
        return broken


def _word(outcome: ExchangeOutcome) -> str:
    """Say in a few words what came, and nothing of its contents."""
    match outcome:
        case Answer(status, code):
            return f"HTTP {status}, code {code}"
        case Garbled(status, reason):
            return f"HTTP {status}, {reason}"
        case Broken(_, reason):
            return reason


async def _body(response: aiohttp.ClientResponse) -> bytes | None:
    """Read a whole answer; None if it is larger than any the API gives."""
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > _ANSWER_MAX:
            return None
    return bytes(body)


def _outcome(response: aiohttp.ClientResponse, body: bytes | None, token: str) -> ExchangeOutcome:
    status, headers = response.status, response.headers
    wait = retry_after(headers.get("Retry-After"))
    if body is None:
        return Garbled(status, "the answer is larger than 32 MiB", "", "", wait)
    if not body.strip():
        return Garbled(status, "the answer is empty", "", "", wait)
    try:
        envelope = decode_envelope(body)
    except msgspec.DecodeError:
        found = _REQUEST_ID.search(body[:4096])
        request_id = "" if found is None else found[1].decode("ascii")
        return Garbled(status, "the answer is not of the API's form", _excerpt(body, token), request_id, wait)
    return Answer(
        http_status=status,
        code=envelope.code,
        message=_words(envelope.message or "", token),
        request_id=(envelope.request_id or "")[:100],
        data=bytes(envelope.data),
        date=_date(headers.get("Date")),
        retry_after=wait,
    )


_REQUEST_ID: Final = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9._:-]{1,100})"')
_USUAL: Final = ("SUCCEED", "")


def _words(message: str, token: str) -> str:
    return message if message in _USUAL else redact(message.replace(token, "..."))[:500]


def _excerpt(body: bytes, token: str) -> str:
    return redact(body[:2000].decode("utf-8", "replace").replace(token, "..."))[:200]


@functools.lru_cache(maxsize=8)  # all answers of one second have the same
def _date(header: str | None) -> float | None:
    if not header:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header; a date is not used by this API and counts as absent."""
    try:
        seconds = float(header or "nan")
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, _RETRY_AFTER_MAX)


def broken_by(error: BaseException) -> Broken:  # noqa: PLR0911 - a table
    """Say in our words what an exception of the HTTP library means, and whether anything was sent."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Broken(False, f"cannot find the host {error.host}")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Broken(False, f"no TLS connection to {error.host}; is its certificate to be trusted?")
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            return Broken(False, f"cannot connect to {error.host}:{error.port}: {reason}")
        case aiohttp.ConnectionTimeoutError():
            return Broken(False, "no connection in time")
        case aiohttp.ClientHttpProxyError():
            return Broken(False, f"the proxy refused (HTTP {error.status})")
        case aiohttp.InvalidURL():
            return Broken(False, "the address of the API or of its proxy is not a URL")
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return Broken(True, "no answer in time")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError():
            return Broken(True, "the connection was cut before the whole answer came")
        case aiohttp.ClientResponseError():
            return Broken(True, "what came is not HTTP")
        case _:
            return Broken(True, "the exchange failed")
