"""The two ways in, ASGI and aiohttp: answered at once, bounded, mounted in three frameworks."""

from __future__ import annotations

import asyncio
import io
import logging
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
import pytest
from aiohttp import web
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.routing import Mount

from kling_async.webhooks import (
    BODY_MAX,
    AcceptedCallback,
    CallbackApp,
    CallbackGate,
    DropReason,
    Trust,
)
from kling_async.webhooks.app import READ_SECONDS
from tests.support import until
from tests.test_face import fresh
from tests.webhooks.support import BODY, NOW, OTHER, SECRET, TOKEN, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

HUGE: Final = b"x" * (BODY_MAX + 1)


class Inbox:
    """Collects what is delivered."""

    def __init__(self, error: Exception | None = None) -> None:
        self.accepted: list[AcceptedCallback] = []
        self.error = error

    async def __call__(self, accepted: AcceptedCallback, /) -> None:
        """Keep one callback."""
        self.accepted.append(accepted)
        if self.error is not None:
            raise self.error

    @property
    def trust(self) -> list[Trust]:
        """How far each callback is believed."""
        return [one.trust for one in self.accepted]


def app_with(inbox: Inbox, **settings: Any) -> CallbackApp:
    """Make an application with a secret and a path token, on a fixed clock."""
    gate = CallbackGate(**{"secret": SECRET, "path_token": TOKEN, **settings})
    return CallbackApp(gate, inbox, now=lambda: NOW)


def starlette_of(app: CallbackApp) -> Any:
    """Mount it in Starlette."""
    return Starlette(routes=[Mount("/kling", app=app)])


def fastapi_of(app: CallbackApp) -> Any:
    """Mount it in FastAPI."""
    outer = FastAPI()
    outer.mount("/kling", app)
    return outer


def litestar_of(app: CallbackApp) -> Any:
    """Mount it in Litestar."""
    handlers = [asgi("/kling", is_mount=True, copy_scope=True)(app)]
    # its own logging would set the level of the root logger for all tests that follow
    return Litestar(route_handlers=handlers, openapi_config=None, logging_config=None)


FRAMEWORKS: Final[dict[str, Callable[[CallbackApp], Any]]] = {
    "alone": lambda app: app,
    "starlette": starlette_of,
    "fastapi": fastapi_of,
    "litestar": litestar_of,
}


@asynccontextmanager
async def over_asgi(frame: str, inbox: Inbox) -> AsyncIterator[tuple[httpx.AsyncClient, CallbackApp]]:
    """Yield an HTTP client of an application within a framework."""
    app = app_with(inbox)
    transport = httpx.ASGITransport(app=FRAMEWORKS[frame](app))
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver.example") as client:
        yield client, app


@asynccontextmanager
async def over_aiohttp(
    inbox: Inbox, **server: Any
) -> AsyncIterator[tuple[aiohttp.ClientSession, CallbackApp, str]]:
    """Yield an HTTP client of a server of aiohttp with the handler, and the address."""
    app = app_with(inbox)
    outer = web.Application()
    outer.router.add_route("*", "/kling/{token}", app.aiohttp)
    runner = web.AppRunner(outer, access_log=None, **server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield session, app, f"http://127.0.0.1:{port}/kling/{TOKEN}"
    finally:
        await runner.cleanup()


CASES: Final[dict[str, tuple[dict[str, str], bytes, str, int, Trust | DropReason]]] = {
    "signed": (signed(), BODY, TOKEN, 200, Trust.BELIEVED),
    "signed, another address": (signed(), BODY, "old-token", 200, Trust.BELIEVED),
    "unsigned": ({}, BODY, TOKEN, 200, Trust.HINT),
    "unsigned, wrong token": ({}, BODY, "guessed", 401, DropReason.PATH_TOKEN),
    "unsigned, no token": ({}, BODY, "", 401, DropReason.PATH_TOKEN),
    "forged": (signed(secret=OTHER), BODY, TOKEN, 401, DropReason.FORGED),
    "old": (signed(at=NOW - 301), BODY, TOKEN, 401, DropReason.OLD),
    "huge": (signed(HUGE), HUGE, TOKEN, 413, DropReason.HUGE),
    "malformed": (signed(b"{}"), b"{}", TOKEN, 400, DropReason.MALFORMED),
    "empty": ({}, b"", TOKEN, 400, DropReason.MALFORMED),
}


def check(app: CallbackApp, inbox: Inbox, expected: Trust | DropReason) -> None:
    """Make sure that one callback was delivered or counted as dropped."""
    if isinstance(expected, Trust):
        assert inbox.trust == [expected] and not app.gate.counts.dropped
        assert inbox.accepted[0].callback.task_id == "800000000000000001"
    else:
        assert not inbox.accepted and app.gate.counts.dropped == {expected: 1}


@pytest.mark.parametrize("frame", FRAMEWORKS)
@pytest.mark.parametrize("case", CASES)
async def test_mounted_in_a_framework(frame: str, case: str) -> None:
    """Starlette, FastAPI and Litestar, and the application alone, give the same answers."""
    headers, body, token, status, expected = CASES[case]
    inbox = Inbox()
    async with over_asgi(frame, inbox) as (client, app):
        answer = await client.post(f"/kling/{token}", content=body, headers=headers, follow_redirects=True)
        check(app, inbox, expected)
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize("case", [case for case in CASES if case != "unsigned, no token"])
async def test_in_a_server_of_aiohttp(case: str) -> None:
    """The handler of aiohttp gives the same answers over a socket."""
    headers, body, token, status, expected = CASES[case]
    inbox = Inbox()
    async with over_aiohttp(inbox) as (session, app, url):
        async with session.post(url.replace(TOKEN, token), data=io.BytesIO(body), headers=headers) as answer:
            assert (answer.status, await answer.read()) == (status, b"")
        check(app, inbox, expected)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
async def test_only_posts_are_callbacks(method: str) -> None:
    """Any other method is answered with 405, is not read and not counted."""
    inbox = Inbox()
    async with over_asgi("starlette", inbox) as (client, app):
        answer = await client.request(method, f"/kling/{TOKEN}", headers=signed())
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert not app.gate.counts.dropped
    async with over_aiohttp(inbox) as (session, app, url), session.request(method, url) as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
        assert not app.gate.counts.dropped
    assert not inbox.accepted


# --- ASGI by hand ------------------------------------------------------------------------------


def scope_of(headers: dict[str, str], path: str = f"/kling/{TOKEN}") -> dict[str, Any]:
    """Return the scope of a POST."""
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "headers": pairs}


def messages(*parts: dict[str, Any]) -> Any:
    """Return a ``receive`` that gives messages, then waits for ever."""
    left = list(parts)

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.get_running_loop().create_future()

    return receive


class Sent(list[dict[str, Any]]):
    """A ``send`` that keeps the messages."""

    async def __call__(self, message: Any) -> None:
        """Keep one message."""
        self.append(message)

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self[0]["status"])


async def test_the_sender_is_answered_before_the_delivery() -> None:
    """The whole answer has gone when the callback is delivered, in the same turn of the loop."""
    sent = Sent()
    order: list[Any] = []

    async def deliver(accepted: AcceptedCallback, /) -> None:
        order.append([message["type"] for message in sent])

    app = CallbackApp(CallbackGate(secret=SECRET), deliver, now=lambda: NOW)
    body = messages({"type": "http.request", "body": BODY, "more_body": False})
    call = app(scope_of(signed()), body, sent)
    with pytest.raises(StopIteration):  # nothing in it waited
        call.send(None)
    assert order == [["http.response.start", "http.response.body"]]


async def test_a_delivery_that_fails_is_logged_and_answered_with_200(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error is the receiver's own; the next callback is served."""
    inbox, sent = Inbox(ZeroDivisionError("broken")), Sent()
    app = app_with(inbox)
    for number in ("1", "2"):
        body = messages({"type": "http.request", "body": BODY})
        await app(scope_of(signed(id=number)), body, sent)
    assert sent.status == 200 and len(inbox.accepted) == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "task 800000000000000001" in caplog.text and "broken" in caplog.text


async def test_a_sender_who_left_before_the_answer_loses_nothing() -> None:
    """A connection that breaks while the answer is sent does not take the callback with it."""
    inbox = Inbox()

    async def send(_: Any) -> None:
        raise ConnectionResetError

    body = messages({"type": "http.request", "body": BODY})
    with pytest.raises(ConnectionResetError):
        await app_with(inbox)(scope_of(signed()), body, send)
    assert inbox.trust == [Trust.BELIEVED]


async def test_a_body_comes_in_parts() -> None:
    """Parts are joined; a path may end in a slash; a part of another form is empty."""
    inbox, sent = Inbox(), Sent()
    parts = [
        {"type": "http.request", "body": BODY[at : at + 50], "more_body": True} for at in range(0, 999, 50)
    ]
    receive = messages(*parts, {"type": "http.request"})
    await app_with(inbox)(scope_of({}, f"/kling/{TOKEN}/"), receive, sent)
    assert sent.status == 200 and inbox.trust == [Trust.HINT]


async def test_no_more_is_read_than_may_come() -> None:
    """An endless body is answered after the largest size, a declared one before the first byte."""
    read = 0

    async def endless() -> Any:
        nonlocal read
        read += 65536
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    app, sent = app_with(Inbox()), Sent()
    await app(scope_of(signed()), endless, sent)
    assert sent.status == 413 and BODY_MAX < read <= BODY_MAX + 65536

    sent = Sent()
    await app(scope_of({"content-length": str(10**9)}), messages(), sent)
    assert sent.status == 413 and app.gate.counts.dropped == {DropReason.HUGE: 2}


@pytest.mark.parametrize("ending", [{"type": "http.disconnect"}, None], ids=["left", "silent"])
async def test_a_body_that_does_not_end_is_dropped(ending: dict[str, Any] | None) -> None:
    """A sender who leaves or says nothing for 30 s is answered with 400; nothing is delivered."""
    inbox, sent = Inbox(), Sent()
    app = app_with(inbox)
    start = asyncio.get_running_loop().time()
    parts = [{"type": "http.request", "body": BODY[:50], "more_body": True}, *([ending] if ending else [])]
    await app(scope_of(signed()), messages(*parts), sent)
    assert sent.status == 400 and app.gate.counts.dropped == {DropReason.MALFORMED: 1}
    assert asyncio.get_running_loop().time() - start == pytest.approx(0 if ending else READ_SECONDS)


async def test_lifespan_is_answered() -> None:
    """A server that runs the application alone can start and end it."""
    sent = Sent()
    receive = messages({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await app_with(Inbox())({"type": "lifespan"}, receive, sent)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_other_connections_are_refused() -> None:
    """A WebSocket is closed before it opens; a scope of an unknown type is an error, as ASGI asks."""
    sent = Sent()
    await app_with(Inbox())({"type": "websocket", "path": "/"}, messages({"type": "websocket.connect"}), sent)
    assert [message["type"] for message in sent] == ["websocket.close"]
    with pytest.raises(ValueError, match="http3"):
        await app_with(Inbox())({"type": "http3"}, messages(), sent)


# --- aiohttp by hand ---------------------------------------------------------------------------


async def test_a_connection_cut_within_the_body_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A body shorter than announced is not a callback, and no error in the server's log."""
    inbox = Inbox()
    async with over_aiohttp(inbox) as (_, app, url):
        port = int(url.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"POST /kling/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n".encode() + BODY[:50]
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await until(lambda: app.gate.counts.dropped)
        assert app.gate.counts.dropped == {DropReason.MALFORMED: 1} and not inbox.accepted
    assert "ERROR" not in {record.levelname for record in caplog.records}


async def test_a_compressed_body_is_bounded_and_refused() -> None:
    """A small body that unpacks to a huge one is neither read whole nor taken."""
    inbox = Inbox()
    async with over_aiohttp(inbox) as (session, app, url):
        headers = {"Content-Encoding": "deflate"}
        for body, status in ((HUGE * 8, 413), (BODY, 400)):
            async with session.post(url, data=zlib.compress(body), headers=headers) as answer:
                assert answer.status == status
        assert not inbox.accepted and app.gate.counts.dropped.total() == 2


@pytest.mark.real
def test_verifying_loads_no_http_library() -> None:
    """Programs that verify callbacks in a small function pay for no client and no server."""
    code = "import json, kling_async.webhooks; print(json.dumps('aiohttp' in sys.modules))"
    assert fresh(code) is False


# --- the log -----------------------------------------------------------------------------------


async def test_the_first_of_each_reason_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A flood of forged callbacks is one line; another reason is another; nothing of the sender is in it."""
    caplog.set_level(logging.DEBUG, "kling_async.webhooks")
    async with over_asgi("alone", Inbox()) as (client, _):
        for _ in range(5):
            await client.post(f"/{TOKEN}", content=BODY, headers=signed(secret=OTHER, id="sender-text"))
        await client.post("/guessed", content=BODY)
        for at in (NOW, NOW + 1):
            await client.post(f"/{TOKEN}", content=BODY, headers=signed(at=at))
    mine = [record for record in caplog.records if record.name == "kling_async.webhooks"]
    assert [record.levelname for record in mine] == ["WARNING", *["DEBUG"] * 4, "WARNING", "DEBUG"]
    assert mine[0].getMessage() == (
        "callback dropped (forged): no signature was made with a secret of this receiver"
    )
    assert not any(
        word in record.getMessage() for record in mine for word in ("sender-text", "guessed", TOKEN)
    )
