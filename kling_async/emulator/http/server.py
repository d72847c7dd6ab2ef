"""The emulator's HTTP side: requests in, answers or scripted trouble out."""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kling_async.emulator.calls.results import as_created, as_path_style, as_queried
from kling_async.emulator.http.answers import Answer, Refusal, refused, succeeded
from kling_async.emulator.http.faults import NO_ANSWER, Fault, Faults, spoilt
from kling_async.emulator.http.json_objects import json_object
from kling_async.emulator.http.routes import CONTROL, Route, Routes
from kling_async.emulator.judging.reference import Endpoint
from kling_async.emulator.state.ledger import Ledger, Row, without_payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.http.auth import Keys
    from kling_async.emulator.http.media_host import Downloads
    from kling_async.emulator.state.account import Account
    from kling_async.emulator.state.clock import Clock

__all__ = ["Server"]

KEEP_ALIVE: Final = 3600.0
"""Seconds; longer than any gap between two polls."""
LARGEST_BODY: Final = 256 * 1024 * 1024
GONE_CHECK: Final = 0.5
"""Seconds between looks whether the client of a hanging request has left."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, and what is known about it."""

    request: web.Request
    route: Route
    row: Row
    request_id: str
    body: dict[str, Any] | None


class Server:
    """One listening socket on loopback."""

    def __init__(
        self,
        clock: Clock,
        account: Account,
        ledger: Ledger,
        faults: Faults,
        downloads: Downloads,
        keys: Keys,
        routes: Routes,
        seed: int,
    ) -> None:
        self._clock = clock
        self._account = account
        self._ledger = ledger
        self._faults = faults
        self._downloads = downloads
        self._keys = keys
        self._routes = routes
        self._ids = random.Random(f"{seed} requests")  # noqa: S311 - made up, not secret
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port."""
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
        """Cut whatever hangs and close."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- what a request means ------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        route = self._routes.find(request.method, request.raw_path.partition("?")[0])
        if route.kind == "control":
            return self._response(self._control(request.method, route.path, raw))
        call = self._call(request, route, raw)
        self._ledger.add(call.row)
        fault = self._faults.take(route)
        if fault is not None:
            call.row.fault = fault.kind
            return await self._go_wrong(call, fault)
        answer = self._act(call)
        call.row.status = answer.status
        return self._response(answer)

    def _call(self, request: web.Request, route: Route, raw: bytes) -> _Call:
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
        told = route.kind in ("create", "call") and route.endpoint
        body = _note_body(row, route.endpoint, raw) if told and route.endpoint else None
        return _Call(request, route, row, request_id, body)

    def _act(self, call: _Call) -> Answer:
        """Do what is asked and return the answer; everything that changes the account is in here."""
        headers: Mapping[str, str] = call.request.headers
        if call.row.fault == "no_range":
            headers = {name: value for name, value in headers.items() if name != "Range"}
        if call.route.kind == "media":
            shelf_of, now = self._account.shelf_of, self._clock.time()
            return self._downloads.answer(call.route.path, call.request.query, headers, shelf_of, now)
        try:
            pairs = call.route.kind != "tasks"
            self._keys.check(headers.get("Authorization"), self._clock.wall(), pairs=pairs)
            answer = succeeded(self._data(call), call.request_id)
        except Refusal as refusal:
            answer = refused(refusal, call.request_id)
        call.row.code, call.row.message = answer.code, answer.message
        return answer

    def _data(self, call: _Call) -> Any:
        account, urls, endpoint, row = self._account, self._downloads.urls, call.route.endpoint, call.row
        if account.code == 1304:
            raise Refusal(1304)
        if call.route.kind == "method":
            raise Refusal(1202)
        match call.route.kind, endpoint:
            case "create", Endpoint():
                return as_created(account.create(endpoint, call.body, row))
            case "query", Endpoint():
                task = account.find(endpoint, call.route.id or "")
                row.task_id, row.external_task_id = task.task_id, task.external_task_id
                return as_queried(task, urls)
            case "list", Endpoint():
                return [as_queried(task, urls) for task in account.page(endpoint, row.query)]
            case "call", Endpoint():
                return account.call(endpoint, call.body, row, urls)
            case "tasks", _:
                return [as_path_style(task, urls) for task in account.by_ids(row.query)]
            case "costs", Endpoint():
                return account.costs(endpoint, row.query)
            case _:
                raise Refusal(1203, f"the path {call.route.path} does not exist")

    # --- trouble -------------------------------------------------------------------------------

    async def _go_wrong(self, call: _Call, fault: Fault) -> web.StreamResponse:
        real = self._act(call) if fault.acts_first else None
        if fault.kind == "slow":
            await self._pause(fault.seconds)
            real = real or self._act(call)
        elif fault.kind == "hang":
            await self._outlast(call.request)
        if fault.kind in NO_ANSWER or self._stopping.is_set():
            return _cut(call.request)
        sent = spoilt(fault, real or Answer(), call.request_id)
        call.row.status, call.row.code, call.row.message = sent.status, sent.code, sent.message
        if fault.kind == "half_body":
            return await self._send_half(call.request, sent, fault.value)
        return self._response(sent)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _outlast(self, request: web.Request) -> None:
        """Wait until the client has left or the server stops."""
        while not (self._stopping.is_set() or request.transport is None or request.transport.is_closing()):
            await self._pause(GONE_CHECK)

    # --- sending -------------------------------------------------------------------------------

    def _response(self, answer: Answer) -> web.Response:
        response = web.Response(status=answer.status, body=answer.encoded(), headers=answer.headers)
        response.headers["Content-Type"] = answer.content_type
        response.headers["Date"] = self._clock.http_date()
        return response

    async def _send_half(self, request: web.Request, answer: Answer, size: int | None) -> web.StreamResponse:
        body = answer.encoded()
        response = web.StreamResponse(status=answer.status, headers=self._response(answer).headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2 if size is None else size])
        if request.transport is not None:
            request.transport.close()
        return response

    def _control(self, method: str, path: str, raw: bytes) -> Answer:
        """Answer what no real API has: the ledger, and the faults still to come."""
        match method, path[len(CONTROL) :]:
            case "GET", "ledger":
                return Answer(payload=self._ledger.as_json())
            case "POST", "faults":
                try:
                    self._faults.add(Fault.from_json(raw))
                except ValueError as error:
                    return Answer(400, {"error": str(error)})
                return Answer(payload={"armed": sum(1 for _ in self._faults)})
            case "DELETE", "faults":
                self._faults.clear()
                return Answer(payload={"armed": 0})
            case _:
                return Answer(404, {"error": "GET /ledger, POST or DELETE /faults"})


def _note_body(row: Row, endpoint: Endpoint, raw: bytes) -> dict[str, Any] | None:
    """Read a create's body and note in the ledger what may be noted; None if it is no JSON object."""
    row.body_sha256 = hashlib.sha256(raw).hexdigest()
    body = json_object(raw)
    if body is None:
        return None
    row.body = without_payloads(body, endpoint.params)
    external = body.get("external_task_id")
    row.external_task_id = external if isinstance(external, str) and external else None
    return body


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere
