"""Send one request to the API and return one outcome; nothing else speaks HTTP with the API.

`core.verdict` decides what an answer means. Failures of the wire become values (`failures`), so no exception
of aiohttp leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from kling_async._version import __version__
from kling_async.core.verdict import (
    Again,
    Answer,
    CreateVerdict,
    ExchangeOutcome,
    NewToken,
    ReadVerdict,
    Refused,
    judge_create,
    judge_read,
)
from kling_async.errors import APIError, ConfigurationError, KlingError
from kling_async.events import facts
from kling_async.http.answers import exchange_outcome, outcome_summary, read_body
from kling_async.http.auth import FORMER
from kling_async.http.body import TrackedBody
from kling_async.http.failures import CancelledUnsent, broken_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kling_async.events import Hooks, RequestKind, Subject
    from kling_async.http.auth import Signer
    from kling_async.http.sessions import Sessions
    from kling_async.options import Timeouts
    from kling_async.wire.dialects.dialect import Translator

__all__ = ["Transport"]

log = logging.getLogger("kling_async.http")

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING: Final = ("content-length", "transfer-encoding")
"""Headers that say where a body ends: another value than ours would cut it."""
_USER_AGENT: Final = f"kling-async/{__version__}"


class Transport:
    """Send requests of one account to one base URL.

    Args:
        sessions: Connections to send over.
        signer: Provides the bearer token.
        base_url: Without a slash at its end.
        dialects: Learns the dialect in which answers come.
        headers: Sent with every request beside ours, in place of ours of the same name.
        hooks: Counts requests and bytes.

    Raises:
        ConfigurationError: A header cannot be sent, or the environment names a proxy of another kind.
    """

    def __init__(
        self,
        sessions: Sessions,
        signer: Signer,
        base_url: str,
        dialects: Translator,
        headers: Mapping[str, str] | None = None,
        *,
        hooks: Hooks,
    ) -> None:
        self.base_url = base_url
        self.dialects = dialects
        self.sessions = sessions
        self._signer = signer
        self._hooks = hooks
        sessions.per_request(base_url)  # a proxy that cannot be used is told before anything is queued
        self._headers = {"User-Agent": _USER_AGENT, "Accept": "application/json", **_checked(headers or {})}

    @property
    def host(self) -> str:
        """The host that requests are sent to."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def unified(self) -> bool:
        """Whether the unified ``/tasks`` may be queried: it accepts an API key, no signed token."""
        return not self._signer.renewable and self.host != FORMER

    async def create(
        self,
        path: str,
        body: bytes,
        *,
        endpoint: str,
        external_task_id: str | None,
        timeouts: Timeouts,
        about: Sequence[Subject] = (),
        before_first_byte: Callable[[], None] | None = None,
    ) -> CreateVerdict:
        """Send a create; after a refused token (1003, 1004) sign anew and send once more.

        Args:
            path: Below the base URL.
            body: JSON.
            endpoint: Name of the endpoint, for the record of the task.
            external_task_id: The id in the body, for errors.
            timeouts: Bounds of the exchange.
            about: The create, for the log.
            before_first_byte: Called once the connection stands; a `KlingError` that it raises ends the
                create unsent, and is raised here.

        Raises:
            CancelledUnsent: It was cancelled before its first byte.
            ConfigurationError: The session or the proxy cannot be used; nothing was sent.
        """
        renewable = self._signer.renewable
        while True:
            outcome = await self.exchange(
                "POST",
                path,
                body=body,
                timeouts=timeouts,
                kind="create",
                about=about,
                before_first_byte=before_first_byte,
            )
            verdict = judge_create(
                outcome, endpoint=endpoint, external_task_id=external_task_id, renewable=renewable
            )
            if not isinstance(verdict, NewToken):
                return self._with_hint(verdict) if isinstance(verdict, Refused) else verdict
            self._renew_token(verdict)
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
        """Send a request that is harmless to repeat; after a refused token sign anew and send once more.

        Args:
            method: GET, as a rule.
            path: Below the base URL.
            timeouts: Bounds of the exchange.
            params: The query.
            body: JSON.
            kind: Purpose of the request, by which it is counted.
            about: The tasks it concerns, for the log.
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
                return self._with_hint(verdict) if isinstance(verdict, Refused) else verdict
            self._renew_token(verdict)
            renewable = False

    def _with_hint(self, verdict: Refused) -> Refused:
        """Give a refusal the hint that fits the kind of key."""
        error = verdict.error
        if not isinstance(error, APIError) or not (hint := self._signer.hints.get(error.code or 0)):
            return verdict
        fitting, text = error.again(), str(error)
        if error.hint:
            text = text.removesuffix(f". {error.hint}")
        fitting.args, fitting.hint = (f"{text}. {hint}",), hint
        return verdict._replace(error=fitting)

    def _renew_token(self, verdict: NewToken) -> None:
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
        before_first_byte: Callable[[], None] | None = None,
    ) -> ExchangeOutcome:
        """Send one request; return its outcome and never raise what the wire did."""
        # all but GETs go over connections with a short keep-alive: aiohttp repeats only GETs on a dying one
        session = await self.sessions.get("reads" if method == "GET" else "creates")
        begun = self.sessions.scope.time()
        outcome = await self._send(
            session,
            method,
            path,
            kind,
            timeouts=timeouts,
            params=params,
            body=body,
            check=before_first_byte,
        )
        if not isinstance(outcome, Answer):
            self._hooks.unanswered()
        if log.isEnabledFor(logging.DEBUG):
            seconds = self.sessions.scope.time() - begun
            extra = facts(*about) | {"request_id": getattr(outcome, "request_id", "")}
            parts = method, path.partition("?")[0], outcome_summary(outcome), seconds
            log.debug("%s %s: %s in %.3f s", *parts, extra=extra)
        return outcome

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        kind: RequestKind,
        *,
        timeouts: Timeouts,
        params: Mapping[str, str] | None,
        body: bytes | None,
        check: Callable[[], None] | None,
    ) -> ExchangeOutcome:
        payload: TrackedBody | None = None
        raised: BaseException
        try:
            self._hooks.sending(kind, len(body or b""))
            payload = None if body is None else TrackedBody(body, check)
            return await self._receive(session, method, path, payload, timeouts=timeouts, params=params)
        except KlingError:  # our own words: the proxy cannot be used
            raise
        except asyncio.CancelledError as error:
            if body is None or (payload is not None and payload.written):
                raise
            raised = CancelledUnsent(*error.args)
        except Exception as error:  # noqa: BLE001 - an injected session's hooks and connectors raise anything
            if payload is None or payload.withheld is None:
                written = payload is not None and payload.written
                return broken_by(error, written=None if body is None else written)
            raised = payload.withheld
        raise raised

    async def _receive(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        payload: TrackedBody | None,
        *,
        timeouts: Timeouts,
        params: Mapping[str, str] | None,
    ) -> ExchangeOutcome:
        token = self._signer.token(self.sessions.scope.now())
        headers = {**self._headers, "Authorization": f"Bearer {token}"}
        if payload is not None:
            headers["Content-Type"] = "application/json"
        read, total = timeouts.grown(0 if payload is None else payload.size or 0)
        async with session.request(
            method,
            self.base_url + path,
            params=params,
            data=payload,
            headers=headers,
            allow_redirects=False,
            raise_for_status=False,  # an injected session may have it on
            timeout=aiohttp.ClientTimeout(total=total, connect=timeouts.connect, sock_read=read),
            **self.sessions.per_request(self.base_url),
        ) as response:
            answer = await read_body(response)
            self._hooks.received(len(answer or b""))
            return exchange_outcome(response, answer, token, self.dialects, keep=payload is not None)


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers that can be sent.

    Raises:
        ConfigurationError: One cannot; it says which.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"headers[{name!r}]: name and value must be text")
        if not _HEADER_NAME.fullmatch(name) or not _is_one_line(value):
            raise ConfigurationError(f"headers[{name!r}]: one line, and a name of letters, digits and -")
        if name.lower() in _FRAMING:
            raise ConfigurationError(f"headers[{name!r}]: leave it out, it follows from the request's body")
    return headers


def _is_one_line(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return not any((char < " " and char != "\t") or char == "\x7f" for char in value)
