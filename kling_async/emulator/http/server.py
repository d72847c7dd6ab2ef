"""The HTTP server: receives requests, applies scripted faults, and sends answers."""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kling_async.emulator.calls.second_creates import external_id_of
from kling_async.emulator.http.answers import HttpAnswer
from kling_async.emulator.http.control import answer_control
from kling_async.emulator.http.dispatch import RoutedRequest
from kling_async.emulator.http.faults import NO_ANSWER, faulty_answer
from kling_async.emulator.http.json_body import parse_object
from kling_async.emulator.state.ledger import Row
from kling_async.emulator.state.payloads import OF_CONTENTS, without_payloads

if TYPE_CHECKING:
    from kling_async.emulator.http.dispatch import Dispatcher
    from kling_async.emulator.http.faults import Fault, Faults
    from kling_async.emulator.http.gateway import GatewayFront
    from kling_async.emulator.http.routes import Route, Routes
    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.ledger import Ledger

__all__ = ["Server"]

KEEP_ALIVE: Final = 3600.0
"""Seconds; longer than any gap between two polls, because aiohttp repeats no POST on a closed connection."""
LARGEST_BODY: Final = 256 * 1024 * 1024
"""Bytes."""
GONE_CHECK: Final = 0.5
"""Seconds between two checks whether the client of a hanging request has disconnected."""


class Server:
    """One listening socket on loopback.

    Args:
        clock: The emulator's clock.
        ledger: Gets a row per request.
        faults: The armed faults.
        dispatcher: Answers the requests.
        routes: Tells which endpoint a request means.
        front: Stands before the dispatcher: a gateway, or nothing.
        seed: Equal seeds give equal request ids.
    """

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        faults: Faults,
        dispatcher: Dispatcher,
        routes: Routes,
        front: GatewayFront,
        seed: int,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._faults = faults
        self._dispatcher = dispatcher
        self._routes = routes
        self._front = front
        self._ids = random.Random(f"{seed} requests")  # noqa: S311 - made up, not secret
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; port 0 chooses a free one."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEP_ALIVE, shutdown_timeout=0.2, handle_signals=False
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Cut the connections of waiting requests and close the socket."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- receiving -----------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        route = self._routes.find(request.method, request.raw_path.partition("?")[0])
        if route.kind == "control":
            answer = answer_control(request.method, route.path, raw, self._ledger, self._faults)
            return self._response(answer)
        routed = self._routed(request, *self._front.received(route, raw))
        self._ledger.add(routed.row)
        fault = self._faults.take(route)
        if fault is not None:
            routed.row.fault = fault.kind
            return await self._apply(fault, routed)
        answer = self._act(routed)
        routed.row.status = answer.status
        return self._response(answer)

    def _routed(self, request: web.Request, route: Route, raw: bytes) -> RoutedRequest:
        query = {name: value for name, value in request.query.items() if name != "sign"}
        row = Row(
            at=self._clock.time(),
            wall=self._clock.wall(),
            kind="other" if route.kind in ("method", "unknown") else route.kind,
            method=request.method,
            path=route.path,
            endpoint=route.endpoint.name if route.endpoint else None,
            asked=route.id,
            query=query,
            authorized="Authorization" in request.headers,
        )
        request_id = str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
        has_body = route.kind in ("create", "call")
        if route.kind == "history":
            body = parse_object(raw)
        else:
            body = _noted_body(row, route, raw) if has_body and route.endpoint else None
        return RoutedRequest(request, route, row, request_id, body)

    # --- faults --------------------------------------------------------------------------------

    async def _apply(self, fault: Fault, routed: RoutedRequest) -> web.StreamResponse:
        """Let a request go wrong as its fault says."""
        real = self._act(routed) if fault.acts_first else None
        if fault.kind == "slow":
            await self._pause(fault.seconds)
            real = real or self._act(routed)
        elif fault.kind == "hang":
            await self._hang(routed.request)
        if fault.kind in NO_ANSWER or self._stopping.is_set():
            return _cut(routed.request)
        sent = faulty_answer(fault, real or HttpAnswer(), routed.request_id)
        if fault.code is not None:
            sent = self._front.spoken(routed, sent)
        routed.row.status, routed.row.code, routed.row.message = sent.status, sent.code, sent.message
        if fault.kind == "half_body":
            return await self._send_half(routed.request, sent, fault.value)
        return self._response(sent)

    def _act(self, routed: RoutedRequest) -> HttpAnswer:
        return self._front.answer(routed, self._dispatcher.act)

    async def _pause(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _hang(self, request: web.Request) -> None:
        """Wait until the client has disconnected or the server stops."""
        while not (self._stopping.is_set() or request.transport is None or request.transport.is_closing()):
            await self._pause(GONE_CHECK)

    # --- sending -------------------------------------------------------------------------------

    def _response(self, answer: HttpAnswer) -> web.Response:
        response = web.Response(status=answer.status, body=answer.encoded(), headers=answer.headers)
        response.headers["Content-Type"] = answer.content_type
        response.headers["Date"] = self._clock.http_date()
        return response

    async def _send_half(
        self, request: web.Request, answer: HttpAnswer, size: int | None
    ) -> web.StreamResponse:
        """Announce the whole body, send half of it or ``size`` bytes, and close the connection."""
        body = answer.encoded()
        response = web.StreamResponse(status=answer.status, headers=self._response(answer).headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2 if size is None else size])
        if request.transport is not None:
            request.transport.close()
        return response


def _noted_body(row: Row, route: Route, raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body, and note it in the ledger without its files."""
    row.body_sha256 = hashlib.sha256(raw).hexdigest()
    body = parse_object(raw)
    if body is None:
        return None
    params = route.endpoint.params if route.endpoint else {}
    row.body = without_payloads(body, params if route.second is None else OF_CONTENTS)
    external = body.get("external_task_id") if route.second is None else external_id_of(body)
    row.external_task_id = external if isinstance(external, str) and external else None
    return body


def _cut(request: web.Request) -> web.Response:
    """Abort the connection of a request."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # aiohttp wants a response, but cannot send it any more
