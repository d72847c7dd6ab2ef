"""Receiving callbacks over HTTP: one ASGI application and one aiohttp handler over the same gate."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from kling_async.webhooks.gate import AcceptedCallback, DroppedCallback, DropReason
from kling_async.webhooks.payloads import BODY_MAX

if TYPE_CHECKING:
    from aiohttp import web

    from kling_async.webhooks.gate import CallbackDecision, CallbackGate
    from kling_async.webhooks.signatures import Headers

__all__ = ["CallbackApp", "Deliver"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

READ_SECONDS: Final = 30.0
"""Longest time that a body may take to come."""
_CHUNK: Final = 64 * 1024

logger = logging.getLogger("kling_async.webhooks")


class Deliver(Protocol):
    """The receiver of accepted callbacks. An exception is logged; the sender is answered with 200 before."""

    async def __call__(self, accepted: AcceptedCallback, /) -> None:
        """Act on a callback that was accepted."""
        ...


class CallbackApp:
    """Receives callbacks: an ASGI application, and a handler for aiohttp.

    Mount it where the callback address points; the last segment of the path is the path token::

        app.mount("/kling", callbacks)                                # FastAPI, Starlette
        asgi("/kling", is_mount=True, copy_scope=True)(callbacks)     # Litestar: a route handler
        app.router.add_post("/kling/{token}", callbacks.aiohttp)      # aiohttp

    The sender is answered first, with 200, 400, 401 or 413 and an empty body; then the callback is delivered,
    before anything else can run unless the sender reads slowly.

    Args:
        gate: Decides which callbacks are accepted; counts them.
        deliver: Gets each accepted callback.
        now: Wall clock in seconds since 1970.
    """

    def __init__(self, gate: CallbackGate, deliver: Deliver, *, now: Callable[[], float] = time.time) -> None:
        self.gate = gate
        self._deliver = deliver
        self._now = now

    @property
    def closed(self) -> bool:
        """Whether nobody takes callbacks any more: then they are answered with 503, unread and uncounted."""
        return False

    # --- ASGI ------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection as an ASGI application: HTTP; lifespan is answered, WebSocket refused.

        Raises:
            ValueError: The scope is of another type.
        """
        match scope["type"]:
            case "http":
                await self._serve_http(scope, receive, send)
            case "lifespan":
                await _serve_lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})
            case other:
                raise ValueError(f"callbacks do not come by {other}")

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _answer(send, 405)
            return
        if self.closed:
            await _answer(send, 503)
            return
        headers: Headers = tuple(scope["headers"])
        decision = await self._decide(headers, scope["path"], lambda: _body_from_asgi(receive))
        try:
            await _answer(send, decision.status)
        finally:  # the sender may be gone, the news is here
            await self._act(decision)

    # --- aiohttp ---------------------------------------------------------------------------------

    async def aiohttp(self, request: web.Request) -> web.StreamResponse:
        """Serve one request as a handler of aiohttp; the route's method and path are free."""
        # loaded late: programs that only verify, or that use ASGI, do without it
        from aiohttp import web  # noqa: PLC0415

        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        if self.closed:
            return web.Response(status=503)
        decision = await self._decide(request.raw_headers, request.path, lambda: _body_from_aiohttp(request))
        response = web.Response(status=decision.status)
        try:
            # a sender who has left is no error: raised here, it would be one in the server's log
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
        finally:  # as above
            await self._act(decision)
        return response

    # --- both ------------------------------------------------------------------------------------

    async def _decide(
        self, headers: Headers, path: str, read: Callable[[], Awaitable[bytes | None]]
    ) -> CallbackDecision:
        """Read the body, unless it is too large, and decide."""
        huge = self.gate.judge_size(headers)
        if huge is not None:
            return huge
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await read()
        except TimeoutError:
            body = None
        if body is None:
            return self.gate.drop(DropReason.MALFORMED, "it was cut off")
        return self.gate.judge(headers, body, _last_segment(path), self._now())

    async def _act(self, decision: CallbackDecision) -> None:
        """Deliver an accepted callback; log a dropped one, as a warning the first time for each reason."""
        if isinstance(decision, DroppedCallback):
            first = self.gate.counts.dropped[decision.reason] == 1
            level = logging.WARNING if first and decision.status != 200 else logging.DEBUG
            logger.log(level, "callback dropped (%s): %s", decision.reason.value, decision.text)
            return
        try:
            await self._deliver(decision)
        except Exception:  # the sender has its answer, and other callbacks must still be served
            logger.exception("callback about task %s was not delivered", decision.callback.task_id)


async def _answer(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), *([(b"allow", b"POST")] if status == 405 else [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _serve_lifespan(receive: Receive, send: Send) -> None:
    """Answer a server that runs this application alone: there is nothing to start or to end."""
    while True:
        event = str((await receive())["type"])
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def _body_from_asgi(receive: Receive) -> bytes | None:
    """Read a body as far as it may go; None if the sender left before its end."""
    body = bytearray()
    while len(body) <= BODY_MAX:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


async def _body_from_aiohttp(request: web.Request) -> bytes | None:
    """Read a body as far as it may go; None if the sender left before its end."""
    from aiohttp import ClientPayloadError  # noqa: PLC0415 - as in `CallbackApp.aiohttp`
    from aiohttp.web import RequestPayloadError  # noqa: PLC0415

    body = bytearray()
    try:
        while len(body) <= BODY_MAX and (chunk := await request.content.read(_CHUNK)):
            body += chunk
    except (ClientPayloadError, RequestPayloadError, OSError):
        return None
    return bytes(body)


def _last_segment(path: str) -> str | None:
    """Return the last segment of a path, None if it is empty; frameworks may add a slash at the end."""
    return path.rstrip("/").rpartition("/")[2] or None
