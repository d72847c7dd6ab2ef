"""Test http/transport.py: every exchange gives one outcome, whatever the wire does."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from kling_async import ConfigurationError, Timeouts
from kling_async._version import __version__
from kling_async.core.verdict import (
    Accepted,
    Again,
    Answer,
    Broken,
    Full,
    Garbled,
    Got,
    Lost,
    Missing,
    Refused,
)
from kling_async.errors import (
    APIError,
    AuthenticationError,
    BadResponse,
    ExternalIdTaken,
    RateLimited,
    RequestRejected,
    ServerError,
    TransportError,
)
from kling_async.events import Hooks
from kling_async.http.auth import ApiKey, KeyPair
from kling_async.http.sessions import Sessions
from kling_async.http.transport import Transport
from kling_async.runtime.loop import LoopScope
from tests.wiretap import CERTIFICATE, CUT, HANG, code, free_port, raw, server_tls, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kling_async.core.verdict import ExchangeOutcome
    from kling_async.http.auth import Signer

pytestmark = pytest.mark.anyio

KEY: Final = "sk-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
LIMITS: Final = Timeouts()


@asynccontextmanager
async def sending(
    port: int,
    *,
    signer: Signer | None = None,
    headers: Mapping[str, str] | None = None,
    scheme: str = "http",
    **options: Any,
) -> AsyncIterator[Transport]:
    scope = LoopScope(lambda: 1_790_000_000.0)
    sessions = Sessions(scope, **options)
    try:
        hooks = Hooks(None, scope.time)
        yield Transport(sessions, signer or ApiKey(KEY), f"{scheme}://127.0.0.1:{port}", headers, hooks=hooks)
    finally:
        await sessions.close()


async def outcome_of(answer: bytes, method: str = "GET", **options: Any) -> ExchangeOutcome:
    """Send one request to a server with that answer; return the outcome."""
    async with serving(answer) as wire, sending(wire.port) as transport:
        return await transport.exchange(method, "/x", timeouts=LIMITS, **options)


OK: Final = raw({"code": 0, "message": "SUCCEED", "request_id": "r-1", "data": {"task_id": "77"}})
HTML: Final = b"<html><head><title>502 Bad Gateway</title></head></html>"
FORM: Final = "the answer is not of the API's form"
CUT_OFF: Final = "the connection was cut before the whole answer came"

# --- what an answer comes to -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(OK, Answer(200, 0, "SUCCEED", "r-1", b'{"task_id": "77"}'), id="success"),
        pytest.param(code(1201), Answer(200, 1201, "as scripted", "r-1", b"null"), id="code, HTTP 200"),
        pytest.param(raw({"code": "1201"}, 400), Answer(400, 1201, "", "", b"null"), id="a code as text"),
        pytest.param(raw({"error": 1}, 404), Answer(404, None, "", "", b"null"), id="4xx without a code"),
        pytest.param(raw({"code": 0, "data": "odd"}), Answer(200, 0, "", "", b'"odd"'), id="odd data"),
        pytest.param(raw({"code": None}, 503), Answer(503, None, "", "", b"null"), id="5xx without a code"),
        pytest.param(raw(HTML, 502), Garbled(502, FORM, HTML.decode()), id="HTML"),
        pytest.param(raw(b'{"code":0,"da'), Garbled(200, FORM, '{"code":0,"da'), id="cut JSON"),
        pytest.param(raw({"code": "no"}), Garbled(200, FORM, '{"code": "no"}'), id="code of another type"),
        pytest.param(raw([1]), Garbled(200, FORM, "[1]"), id="JSON array"),
        pytest.param(raw(b"null"), Garbled(200, FORM, "null"), id="JSON null"),
        pytest.param(raw(), Garbled(200, "the answer is empty", ""), id="nothing"),
        pytest.param(raw(b" \r\n"), Garbled(200, "the answer is empty", ""), id="blanks"),
        pytest.param(raw(b"\xff\xfe", 500), Garbled(500, FORM, "\ufffd\ufffd"), id="binary"),
        pytest.param(raw(b"", 302, Location="http://x/"), Garbled(302, "the answer is empty", ""), id="302"),
        pytest.param(
            raw(b'{"code":0,"message":"\xff"}'), Garbled(200, FORM, '{"code":0,"message":"\ufffd"}'),
            id="not UTF-8",
        ),
        pytest.param(
            raw(b'{"data":' + b"[" * 100_000), Garbled(200, FORM, '{"data":' + "[" * 192), id="deep",
        ),
    ],
)  # fmt: skip
async def test_every_answer_has_its_outcome(answer: bytes, expected: ExchangeOutcome) -> None:
    """Status, code, message, request id and data are read; an unreadable answer keeps a short excerpt."""
    assert await outcome_of(answer) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"code":0,"message":"SUCCEED","request_id":"r-9","data":{"ta', id="cut JSON"),
        pytest.param(b'{"code":[],"message":"","request_id":"r-9"}', id="wrong types"),
    ],
)
async def test_a_garbled_answer_keeps_its_request_id(body: bytes) -> None:
    """The request id is read from an unreadable answer too: the vendor's support asks for it."""
    outcome = await outcome_of(raw(body))
    assert isinstance(outcome, Garbled) and outcome.request_id == "r-9"


@pytest.mark.parametrize("size", [32 * 1024**2, 32 * 1024**2 + 1], ids=["32 MiB", "one byte more"])
async def test_an_answer_of_more_than_32_mib_is_refused_even_compressed(size: int) -> None:
    """The bound counts decompressed bytes, so a few kilobytes cannot fill the memory."""
    body = gzip.compress(b'{"code": 0}' + b" " * (size - 11), 6)
    assert len(body) < 100_000
    outcome = await outcome_of(raw(body, Content_Encoding="gzip"))
    if size > 32 * 1024**2:
        assert outcome == Garbled(200, "the answer is larger than 32 MiB", "")
    else:
        assert isinstance(outcome, Answer) and outcome.code == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("5", 5.0), ("0", 0.0), ("1.5", 1.5), ("3600", 3600.0), ("999999", 3600.0)),
        *(
            ("-1", None),
            ("inf", None),
            ("nan", None),
            ("soon", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ),
    ],
)
async def test_retry_after_is_a_number_of_seconds_an_hour_at_most(header: str, seconds: float | None) -> None:
    """Retry-After is read from any answer; dates and other texts count as absent."""
    for answer in (code(1302, 429, Retry_After=header), raw(HTML, 429, Retry_After=header)):
        outcome = await outcome_of(answer)
        assert isinstance(outcome, Answer | Garbled) and outcome.retry_after == seconds


@pytest.mark.parametrize(
    ("header", "time"),
    [
        ("Mon, 21 Sep 2026 18:13:20 GMT", 1790014400.0),
        ("yesterday", None),
        ("Mon, 99 Sep 2026 18:13:20 GMT", None),
    ],
)
async def test_the_servers_clock_is_its_date_header(header: str, time: float | None) -> None:
    """The Date header gives seconds since 1970; an invalid date counts as absent."""
    outcome = await outcome_of(code(0, Date=header))
    assert isinstance(outcome, Answer) and outcome.date == time


TASK_GONE: Final = code(1201, 400, "Task not found")
TAKEN: Final = code(1201, 400, "external_task_id already exists")
BadKey: Final = AuthenticationError


@pytest.mark.parametrize(
    ("answer", "created", "of_create", "read", "of_read"),
    [
        pytest.param(OK, Accepted, None, Got, None, id="success"),
        pytest.param(raw({"code": 0, "data": "odd"}), Lost, BadResponse, Got, None, id="unreadable task"),
        pytest.param(raw({"data": {}}), Lost, BadResponse, Again, BadResponse, id="200 without a code"),
        pytest.param(raw(b'{"code":0,"da'), Lost, BadResponse, Again, BadResponse, id="cut JSON"),
        pytest.param(raw(), Lost, BadResponse, Again, BadResponse, id="nothing"),
        pytest.param(raw(HTML, 502), Lost, BadResponse, Again, BadResponse, id="HTML 502"),
        pytest.param(raw(HTML, 404), Refused, BadResponse, Refused, BadResponse, id="HTML 404"),
        pytest.param(raw(HTML, 302), Refused, BadResponse, Refused, BadResponse, id="HTML 302"),
        pytest.param(raw(HTML, 429), Again, RateLimited, Again, BadResponse, id="HTML 429"),
        pytest.param(raw({}, 400), Refused, RequestRejected, Refused, RequestRejected, id="400, no code"),
        pytest.param(raw({}, 401), Refused, BadKey, Refused, BadKey, id="401, no code"),
        pytest.param(raw({}, 429), Again, RateLimited, Again, RateLimited, id="429 without a code"),
        pytest.param(raw({}, 500), Lost, ServerError, Again, ServerError, id="500 without a code"),
        pytest.param(code(9999, 429), Again, RateLimited, Again, RateLimited, id="429, unknown code"),
        pytest.param(code(1302, 429), Again, RateLimited, Again, RateLimited, id="1302"),
        pytest.param(code(1303, 429), Full, APIError, Again, APIError, id="1303"),
        pytest.param(code(5001, 503), Lost, ServerError, Again, ServerError, id="5001"),
        pytest.param(TAKEN, Refused, ExternalIdTaken, Refused, ExternalIdTaken, id="taken"),
        pytest.param(TASK_GONE, Refused, RequestRejected, Missing, None, id="not found"),
        pytest.param(CUT, Lost, TransportError, Again, TransportError, id="cut"),
        pytest.param(b"no HTTP\r\n\r\n", Lost, TransportError, Again, TransportError, id="not HTTP"),
    ],
)  # fmt: skip
async def test_verdicts_of_creates_and_reads(
    answer: bytes, created: type, of_create: type | None, read: type, of_read: type | None
) -> None:
    """A create is repeated or final only if it surely made no task; a read may always be repeated."""
    async with serving(answer) as wire, sending(wire.port) as transport:
        made = await transport.create("/x", b"{}", endpoint="e", external_task_id="mine", timeouts=LIMITS)
        got = await transport.read("GET", "/x", timeouts=LIMITS)
    assert (type(made), type(got)) == (created, read)
    for verdict, kind in ((made, of_create), (got, of_read)):
        error = getattr(verdict, "error", None)
        assert error is None if kind is None else isinstance(error, kind)
        if isinstance(error, APIError) and answer.endswith(b'"r-1"}'):
            assert error.request_id == "r-1"


# --- where nothing whole comes -----------------------------------------------------------------


async def test_a_refused_connection_counts_as_not_sent() -> None:
    """A create whose connection was refused can be repeated without a lookup."""
    port = free_port()
    async with sending(port) as transport:
        outcome = await transport.exchange("POST", "/x", body=b"{}", timeouts=LIMITS)
    assert isinstance(outcome, Broken) and not outcome.sent
    assert outcome.reason.startswith(f"cannot connect to 127.0.0.1:{port}: Connect call failed")


async def test_an_unknown_host_counts_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the host, without the resolver's words."""

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with sending(1) as transport:
        transport.base_url = "https://api.example"
        monkeypatch.setattr(socket, "getaddrinfo", nobody)
        outcome = await transport.exchange("GET", "/x", timeouts=LIMITS)
    assert outcome == Broken(False, "cannot find the host api.example")


async def test_a_connect_timeout_counts_as_not_sent() -> None:
    """The TLS handshake counts as connecting: 10 s, not the 60 s of an exchange."""
    loop = asyncio.get_running_loop()
    async with serving(HANG) as wire, sending(wire.port, scheme="https") as transport:
        start = loop.time()
        outcome = await transport.exchange("GET", "/x", timeouts=LIMITS)
        assert outcome == Broken(False, "no connection in time")
        assert loop.time() - start == pytest.approx(10, abs=1.1)


async def test_tls_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    """An untrusted certificate is refused before anything is sent; ``ssl=`` decides what is trusted."""
    trusting = ssl.create_default_context(cadata=CERTIFICATE[CERTIFICATE.index("-----BEGIN C") :])
    outcomes: list[ExchangeOutcome] = []
    async with serving(OK, tls=server_tls(tmp_path)) as wire:
        for option in (None, trusting, False):
            async with sending(wire.port, scheme="https", ssl=option) as transport:
                outcomes.append(await transport.exchange("GET", "/x", timeouts=LIMITS))
        assert len(wire.requests) == 2
    assert isinstance(outcomes[0], Broken) and not outcomes[0].sent
    assert outcomes[0].reason.startswith("no TLS connection to 127.0.0.1")
    assert [type(outcome) for outcome in outcomes[1:]] == [Answer, Answer]


@pytest.mark.parametrize(
    ("answer", "after", "reason"),
    [
        pytest.param(CUT, 0, CUT_OFF, id="cut before the answer"),
        pytest.param(OK[:-5], 30, "no answer in time", id="the answer stops half way"),
        pytest.param(HANG, 30, "no answer in time", id="silence"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 0, CUT_OFF,
            id="cut within the answer",
        ),
        pytest.param(
            raw(b"no gzip", Content_Encoding="gzip"), 0, CUT_OFF, id="not the compression it says",
        ),
    ],
)  # fmt: skip
async def test_failures_after_sending_count_as_sent(answer: bytes, after: float, reason: str) -> None:
    """A create that fails after it was sent may have made its task."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await outcome_of(answer, "POST", body=b"{}") == Broken(True, reason)
    assert loop.time() - start == pytest.approx(after, abs=1.1)


async def test_an_answer_that_dribbles_in_ends_at_the_total_time() -> None:
    """An answer with bytes within every read timeout still ends at the total timeout."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while not writer.is_closing() and not reader.at_eof():
            writer.write(b" ")
            await asyncio.sleep(20)
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    async with server, sending(server.sockets[0].getsockname()[1]) as transport:
        start = loop.time()
        assert await transport.exchange("GET", "/x", timeouts=LIMITS) == Broken(True, "no answer in time")
        assert loop.time() - start == pytest.approx(60, abs=1.1)
        await asyncio.sleep(40)


async def test_a_larger_body_gets_more_time() -> None:
    """A body gets 6 s per MiB on top of the read timeout of 30 s."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    outcome = await outcome_of(HANG, "POST", body=b" " * (3 * 1024**2))
    assert outcome == Broken(True, "no answer in time")
    assert loop.time() - start == pytest.approx(30 + 3 * 6, abs=1.1)


# --- what is sent ------------------------------------------------------------------------------


async def test_headers_of_a_request() -> None:
    """Requests carry key, name and version, and accept JSON; a body has its content type."""
    async with serving(OK) as wire, sending(wire.port) as transport:
        await transport.exchange("GET", "/x", params={"pageNum": "1"}, timeouts=LIMITS)
        await transport.exchange("POST", "/y", body=b'{"a":1}', timeouts=LIMITS)
    get, post = wire.requests
    assert (get.method, get.target, get.body) == ("GET", "/x?pageNum=1", b"")
    assert (post.method, post.target, post.body) == ("POST", "/y", b'{"a":1}')
    for request in wire.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["user-agent"] == f"kling-async/{__version__}"
        assert request.headers["accept"] == "application/json"
    assert post.headers["content-type"] == "application/json" and "content-type" not in get.headers


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        pytest.param("User-Agent", "mine/1", id="replaces ours"),
        pytest.param("user-agent", "mine/1", id="replaces ours, other case"),
        pytest.param("X-Team", "mine/1", id="new"),
        pytest.param("Authorization", f"Bearer {KEY}", id="never the key"),
        pytest.param("authorization", f"Bearer {KEY}", id="never the key, other case"),
    ],
)
async def test_own_headers_go_with_every_request(name: str, kept: str) -> None:
    """The caller's headers replace ours in any case, never the Authorization, and are sent once."""
    async with serving(OK) as wire, sending(wire.port, headers={name: "mine/1"}) as transport:
        await transport.exchange("GET", "/x", timeouts=LIMITS)
    request = wire.requests[0]
    assert (request.headers[name.lower()], request.names.count(name.lower())) == (kept, 1)


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X-A\n", "1")], ids=["value", "name"])
async def test_a_header_with_line_breaks_is_refused(header: tuple[str, str]) -> None:
    """A name or value with a line break fails when the client is made, not in the middle of a create."""
    with pytest.raises(ConfigurationError):
        async with sending(1, headers=dict([header])):
            pass


async def test_connections_are_kept_and_creates_have_their_own() -> None:
    """Reads share one connection and creates another, so no POST uses one that polls kept alive."""
    async with serving(OK) as wire, sending(wire.port) as transport:
        for method in ("GET", "POST", "GET", "POST"):
            await transport.exchange(method, "/x", timeouts=LIMITS)
    assert [request.connection for request in wire.requests] == [1, 2, 1, 2]


async def test_cookies_are_not_kept() -> None:
    """Cookies of an answer are not sent back: the key alone identifies the account."""
    async with serving(raw({"code": 0}, Set_Cookie="a=1; Path=/")) as wire, sending(wire.port) as transport:
        for _ in range(2):
            await transport.exchange("GET", "/x", timeouts=LIMITS)
    assert "cookie" not in wire.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_never_followed(status: int) -> None:
    """The key is sent to the base URL only."""
    async with serving(OK) as thief:
        answer = raw(b"", status, Location=f"http://127.0.0.1:{thief.port}/x")
        assert isinstance(await outcome_of(answer), Garbled)
        assert isinstance(await outcome_of(answer, "POST", body=b"{}"), Garbled)
    assert thief.requests == []


async def test_a_proxy_is_used() -> None:
    """Requests through a proxy carry the whole address as their target."""
    async with serving(OK) as proxy, sending(1, proxy=f"http://127.0.0.1:{proxy.port}") as transport:
        assert isinstance(await transport.exchange("GET", "/x", timeouts=LIMITS), Answer)
    assert proxy.requests[0].target == "http://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(raw(b"", 407), Broken(False, "the proxy refused (HTTP 407)"), id="refuses"),
        # nothing tells whether the tunnel stood already: taken for sent, the safe way to be wrong
        pytest.param(
            CUT, Broken(True, "the connection was cut before the whole answer came"), id="cuts"
        ),
    ],
)  # fmt: skip
async def test_failures_of_a_proxy(answer: bytes, expected: ExchangeOutcome) -> None:
    """A request that the proxy refused was not sent; after a cut it counts as sent."""
    async with serving(answer) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        async with sending(1, scheme="https", proxy=address) as transport:
            assert await transport.exchange("POST", "/x", body=b"{}", timeouts=LIMITS) == expected
    assert proxy.requests[0].method == "CONNECT" and KEY not in str(proxy.requests)


async def test_the_environments_proxy_is_used_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """``trust_env`` is off by default, as in aiohttp."""
    async with serving(OK) as proxy, serving(OK) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        for trust in (False, True):
            async with sending(server.port, trust_env=trust) as transport:
                await transport.exchange("GET", "/x", timeouts=LIMITS)
    assert (len(server.requests), len(proxy.requests)) == (1, 1)


async def test_a_netrc_does_not_replace_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``trust_env`` is for proxies: a password in .netrc does not replace the key."""
    (tmp_path / "netrc").write_text("default login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving(OK) as wire, sending(wire.port, trust_env=True) as transport:
        assert isinstance(await transport.exchange("GET", "/x", timeouts=LIMITS), Answer)
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_large_body_is_sent_in_pieces() -> None:
    """Sending 8 MiB causes no warning of aiohttp and lets other tasks run meanwhile."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    body = bytes(range(256)) * (8 * 1024**2 // 256)
    async with serving(OK) as wire, sending(wire.port) as transport:
        ticker = asyncio.create_task(tick())
        outcome = await transport.exchange("POST", "/x", body=body, timeouts=LIMITS)
        ticker.cancel()
    assert isinstance(outcome, Answer)
    assert wire.requests[0].body == body and wire.requests[0].headers["content-length"] == str(len(body))
    assert turns > 20


# --- tokens ------------------------------------------------------------------------------------

SERVER_TIME: Final = 1_790_000_000 - 7200
EXPIRED: Final = code(1004, 401, Date="Mon, 21 Sep 2026 12:13:20 GMT")


def claims(authorization: str) -> dict[str, Any]:
    token = authorization.removeprefix("Bearer ")
    checked: dict[str, Any] = jwt.decode(
        token, "s" * 32, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    return checked


@pytest.mark.parametrize("create", [True, False], ids=["create", "read"])
@pytest.mark.parametrize(("refusals", "good"), [(1, True), (2, False)], ids=["once", "twice"])
async def test_a_refused_token_is_signed_anew_once(refusals: int, good: bool, create: bool) -> None:
    """The second send has the same body and the server's clock; a second refusal closes the account."""
    answers = (*[EXPIRED] * refusals, OK)
    async with serving(*answers) as wire, sending(wire.port, signer=KeyPair("access", "s" * 32)) as transport:
        verdict: object
        if create:
            verdict = await transport.create("/x", b"{}", endpoint="e", external_task_id="m", timeouts=LIMITS)
        else:
            verdict = await transport.read("GET", "/x", timeouts=LIMITS, body=b"{}")
    first, second = wire.requests
    assert claims(first.headers["authorization"])["exp"] == 1_790_000_000 + 1800
    assert claims(second.headers["authorization"])["exp"] == SERVER_TIME + 1800
    assert first.body == second.body == b"{}"
    if good:
        assert isinstance(verdict, Accepted if create else Got)
    else:
        assert isinstance(verdict, Refused) and isinstance(verdict.error, AuthenticationError)
        assert (verdict.error.code, verdict.closes) == (1004, "all")


@pytest.mark.parametrize("number", [1003, 1004])
async def test_an_api_key_cannot_be_renewed(number: int) -> None:
    """A refused API key is final after one request."""
    async with serving(code(number, 401), OK) as wire, sending(wire.port) as transport:
        verdicts = [
            await transport.create("/x", b"{}", endpoint="e", external_task_id="m", timeouts=LIMITS),
        ]
        assert len(wire.requests) == 1
    assert isinstance(verdicts[0], Refused) and verdicts[0].closes == "all"
