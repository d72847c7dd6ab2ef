"""Test http/body.py and http/transport.py: a failure before the first byte of a create says "unsent"."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from kling_async import Timeouts
from kling_async.core.verdict import Again, Broken, Lost
from kling_async.errors import ConfigurationError, TransportError
from kling_async.http.auth import ApiKey
from kling_async.http.failures import CancelledUnsent
from kling_async.http.sessions import Sessions
from kling_async.runtime.loop import LoopScope
from tests.http.exchanges import KEY, LIMITS, OK, sending
from tests.support import settle, until
from tests.wiretap import free_port, server_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kling_async.core.verdict import ExchangeOutcome

pytestmark = pytest.mark.anyio

MARK: Final = b'{"prompt": "MARK"}'
CUT_BEFORE: Final = "the connection was cut before anything was sent"


class RawServer:
    """Count the bytes that come, and do with each connection what a script says.

    Args:
        script: Called once the first bytes of a connection have come.
    """

    def __init__(self, script: Any) -> None:
        self.received = bytearray()
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self._script = script

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(65536):
                self.received += data
                await self._script(self, writer)
        except (OSError, ssl.SSLError):
            pass  # the client has left
        finally:
            writer.close()


@asynccontextmanager
async def listening(script: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    server = RawServer(script)
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()
        await listener.wait_closed()
        await settle()


def says(*answers: bytes) -> Any:
    """Return a script that sends these answers, and closes the connection after the last."""
    left = list(answers)

    async def script(_: RawServer, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if left else b"")
        if not left:
            writer.close()

    return script


async def silent(_: RawServer, __: asyncio.StreamWriter) -> None:
    """Answer nothing."""


async def create(port: int, *, scheme: str = "http", **options: Any) -> ExchangeOutcome:
    async with sending(port, scheme=scheme, **options) as transport:
        return await transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS)


# --- on the way to the server ------------------------------------------------------------------

TUNNEL: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(says(b"HTTP/1.1 407 Who\r\n\r\n"), "the proxy refused (HTTP 407)", id="407"),
        pytest.param(says(b"HTTP/1.1 502 Bad\r\n\r\n"), "the proxy refused (HTTP 502)", id="502"),
        pytest.param(
            says(b"HTTP/1.1 302 Go\r\nLocation: /\r\n\r\n"), "the proxy refused (HTTP 302)", id="302"
        ),
        pytest.param(says(b""), CUT_BEFORE, id="cut"),
        pytest.param(says(b"\x05\xff\r\n\r\n"), "the proxy's answer is not HTTP", id="a SOCKS proxy"),
        pytest.param(silent, "no connection in time", id="silence"),
        pytest.param(says(TUNNEL, b""), "no TLS connection to api.example", id="cut in the TLS handshake"),
        pytest.param(says(TUNNEL, b"no TLS at all"), "no TLS connection to api.example", id="no TLS behind"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel(script: Any, reason: str) -> None:
    """Whatever goes wrong before the tunnel stands, the server saw no byte of the create."""
    async with (
        listening(script) as proxy,
        sending(1, proxy=f"http://127.0.0.1:{proxy.port}") as transport,
    ):
        transport.base_url = "https://api.example"
        outcome = await transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS)
        assert proxy.received.startswith(b"CONNECT api.example:443 ")
        assert MARK not in proxy.received and KEY.encode() not in proxy.received
    assert isinstance(outcome, Broken) and not outcome.sent
    assert reason in outcome.reason or "cannot connect to api.example:443" in outcome.reason


@pytest.mark.parametrize("script", [says(b""), says(b"no TLS"), silent], ids=["cut", "no TLS", "silence"])
async def test_a_tls_handshake_that_fails(script: Any) -> None:
    """The request is written only after the handshake."""
    async with listening(script) as server:
        outcome = await create(server.port, scheme="https")
        assert server.received and MARK not in server.received
    assert isinstance(outcome, Broken) and not outcome.sent


async def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    """The certificate is checked before the request is written."""
    async with listening(says(OK), server_tls(tmp_path)) as server:
        outcome = await create(server.port, scheme="https")
        assert not server.received
    assert isinstance(outcome, Broken) and not outcome.sent


async def test_a_host_without_a_server_or_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and an unknown name are unsent."""
    first = await create(free_port())

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    async with sending(1) as transport:
        transport.base_url = "https://api.example"
        second = await transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS)
    assert [getattr(outcome, "sent", None) for outcome in (first, second)] == [False, False]


async def test_a_kept_connection_that_was_reset_meanwhile() -> None:
    """The write itself fails: no byte has left, and the client has not yet heard of the reset."""
    async with listening(says(OK, OK)) as server, sending(server.port) as transport:
        await transport.exchange("POST", "/x", body=b"{}", timeouts=LIMITS)
        before = bytes(server.received)
        writer = server.writers[0]
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        await asyncio.sleep(
            0
        )  # closed in the very turn that goes on here: nobody has polled the client's end
        outcome = await transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS)
        assert server.received == before
    assert outcome == Broken(False, CUT_BEFORE)


# --- within this process -----------------------------------------------------------------------


class BadSigner(ApiKey):
    """Fail to sign."""

    def token(self, now: float) -> str:
        raise KeyError("no key today")


async def raising(*_: Any, **__: Any) -> Any:
    raise LookupError("a hook of the caller's")


def traced(hook: str) -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(raising)
    return trace


@pytest.mark.parametrize(
    "session",
    [
        pytest.param({"headers": {"X-Odd": "a\r\nb: c"}}, id="a header of two lines"),
        pytest.param({"headers": {"Content-Length": "many"}}, id="a length that is no number"),
        pytest.param({"middlewares": (raising,)}, id="a middleware that raises"),
        pytest.param({"trace_configs": [traced("on_request_start")]}, id="a hook at the start"),
        pytest.param({"trace_configs": [traced("on_connection_create_end")]}, id="a hook of the connection"),
        pytest.param({"trace_configs": [traced("on_request_headers_sent")]}, id="a hook of the headers"),
        pytest.param({"trace_configs": [traced("on_request_chunk_sent")]}, id="a hook of the body"),
    ],
)
async def test_an_injected_session_that_fails_before_it_sends(session: dict[str, Any]) -> None:
    """Headers, hooks and middlewares of the caller's session may raise anything."""
    async with listening(silent) as server, aiohttp.ClientSession(**session) as mine:
        outcome = await create(server.port, session=mine)
        await settle()
        assert server.received == b""
    assert isinstance(outcome, Broken) and not outcome.sent
    assert "secret" not in outcome.reason and outcome.reason.endswith("before anything was sent")


@pytest.mark.parametrize("body", ["text", 5, [b"x"], {"prompt": "MARK"}], ids=repr)
async def test_a_body_of_a_wrong_type(body: Any) -> None:
    """A bug of ours is no doubt about the create."""
    async with listening(silent) as server, sending(server.port) as transport:
        outcome = await transport.exchange("POST", "/x", body=body, timeouts=LIMITS)
        await settle()
        assert server.received == b""
    assert isinstance(outcome, Broken) and not outcome.sent


async def test_a_signer_that_fails() -> None:
    """The token is made before anything is sent, and its error shows no words of its own."""
    async with listening(silent) as server:
        outcome = await create(server.port, signer=BadSigner(KEY))
        assert server.received == b""
    assert outcome == Broken(False, "the exchange failed (KeyError) before anything was sent")


async def test_a_closed_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector that its owner closed sends nothing."""
    connector = aiohttp.TCPConnector()
    async with (
        listening(silent) as server,
        aiohttp.ClientSession(connector=connector) as mine,
        sending(server.port, session=mine) as transport,
    ):
        get = transport.sessions.get

        async def closing(kind: Any) -> aiohttp.ClientSession:
            session = await get(kind)
            await connector.close()
            return session

        monkeypatch.setattr(transport.sessions, "get", closing)
        outcome = await transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS)
    assert isinstance(outcome, Broken) and not outcome.sent


async def test_an_unsent_create_may_be_sent_again() -> None:
    """The verdict is `Again` with an error that says so; after the first byte it is `Lost`."""
    limits = {"endpoint": "e", "external_task_id": "mine", "timeouts": LIMITS}
    async with (
        listening(says(b"HTTP/1.1 407 Who\r\n\r\n")) as proxy,
        sending(1, proxy=f"http://127.0.0.1:{proxy.port}") as transport,
    ):
        transport.base_url = "https://api.example"
        verdict = await transport.create("/x", MARK, **limits)  # type: ignore[arg-type]
    assert isinstance(verdict, Again) and isinstance(verdict.error, TransportError)
    assert not verdict.error.sent
    async with listening(says(b"")) as server, sending(server.port) as transport:
        lost = await transport.create("/x", MARK, **limits)  # type: ignore[arg-type]
        assert MARK in server.received
    assert isinstance(lost, Lost)


# --- sent all the same -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [says(b""), says(b"no HTTP\r\n\r\n"), silent, says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")],
    ids=["cut", "no HTTP", "silence", "half an answer"],
)
@pytest.mark.parametrize("size", [2, 100_000, 2_000_000])
async def test_a_failure_behind_the_first_byte(script: Any, size: int) -> None:
    """Once a byte of the body was written the server may know the create."""
    async with listening(script) as server, sending(server.port) as transport:
        outcome = await transport.exchange("POST", "/x", body=b" " * size, timeouts=LIMITS)
        assert server.received
    assert isinstance(outcome, Broken) and outcome.sent


@pytest.mark.parametrize("size", [0, 1, 524_288, 524_289, 3_000_000])
async def test_a_body_arrives_whole(size: int) -> None:
    """Pieces of a large body are neither lost nor doubled."""
    body = bytes(range(256)) * (size // 256 + 1)
    async with listening(silent) as server, sending(server.port) as transport:
        running = asyncio.create_task(transport.exchange("POST", "/x", body=body[:size], timeouts=LIMITS))
        await until(lambda: b"\r\n\r\n" in server.received)
        await until(lambda: len(server.received.partition(b"\r\n\r\n")[2]) >= size)
        assert server.received.partition(b"\r\n\r\n")[2] == body[:size]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


# --- cancelled ---------------------------------------------------------------------------------


async def test_cancelled_before_and_after_the_first_byte() -> None:
    """The exception tells whether the server can know of the create."""
    async with listening(silent) as server, sending(server.port, scheme="https") as transport:
        running = asyncio.create_task(transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS))
        await until(lambda: server.received)
        running.cancel()
        with pytest.raises(CancelledUnsent):
            await running
        assert running.cancelled()
    async with listening(silent) as server, sending(server.port) as transport:
        running = asyncio.create_task(transport.exchange("POST", "/x", body=MARK, timeouts=LIMITS))
        await until(lambda: MARK in server.received)
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await running
        assert not isinstance(caught.value, CancelledUnsent)


# --- told at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "SOCKS5", "socks"])
async def test_socks_is_refused_with_advice(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ``proxy=`` nor the environment makes the client speak HTTP to a SOCKS proxy."""
    proxy = f"{scheme}://user:s3cret@127.0.0.1:1080"
    with pytest.raises(ConfigurationError, match=r"socks\w*:// proxies are not supported.*session") as caught:
        Sessions(LoopScope(lambda: 0.0), proxy=proxy)
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    with pytest.raises(ConfigurationError, match=r"http_proxy: socks"):
        async with sending(1, trust_env=True):
            pass
    async with sending(1) as transport:  # what is not trusted is not read
        assert transport.sessions.per_request(transport.base_url)["proxy"] is None


async def test_a_proxy_of_the_environment_that_changes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first use the same advice comes as an error, before anything is sent."""
    monkeypatch.delenv("http_proxy", raising=False)
    async with listening(silent) as server, sending(server.port, trust_env=True) as transport:
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(ConfigurationError, match="socks5:// proxies are not supported"):
            await transport.create("/x", MARK, endpoint="e", external_task_id="a", timeouts=Timeouts())
        assert server.received == b""


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"proxy": 5}, "proxy: must be text"),
        ({"proxy": "ftp://a"}, "proxy: use http://host:port"),
        ({"proxy": "a:8080"}, "proxy: use http://host:port"),
        ({"ssl": "no"}, "ssl: must be an ssl.SSLContext, True or False, not str"),
        ({"ssl": 0}, "ssl: must be an ssl.SSLContext, True or False, not int"),
        ({"headers": {"X": 5}}, r"headers\['X'\]: name and value must be text"),
        ({"headers": {5: "x"}}, r"headers\[5\]: name and value must be text"),
        ({"headers": {"X": "\ud800"}}, r"headers\['X'\]: one line"),
        ({"headers": {"X": "a\x7f"}}, r"headers\['X'\]: one line"),
        ({"headers": {"Content-length": "5"}}, r"headers\['Content-length'\]: leave it out"),
    ],
    ids=str,
)
async def test_options_that_no_request_can_use(options: dict[str, Any], problem: str) -> None:
    """What would fail every request is refused when the client is made, by its name."""
    with pytest.raises(ConfigurationError, match=problem):
        async with sending(1, **options):
            pass
