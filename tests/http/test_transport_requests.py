"""Test http/transport.py: what is sent: headers, connections, proxies, tokens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from kling_async import ConfigurationError
from kling_async._version import __version__
from kling_async.core.verdict import (
    Accepted,
    Answer,
    Broken,
    Garbled,
    Got,
    Refused,
)
from kling_async.errors import (
    AuthenticationError,
)
from kling_async.http.auth import KeyPair
from tests.http.exchanges import KEY, LIMITS, OK, outcome_of, sending
from tests.wiretap import CUT, code, raw, serving

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.core.verdict import ExchangeOutcome

pytestmark = pytest.mark.anyio

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
        pytest.param(CUT, Broken(False, "the connection was cut before anything was sent"), id="cuts"),
    ],
)
async def test_failures_of_a_proxy(answer: bytes, expected: ExchangeOutcome) -> None:
    """A request that the proxy refused, or for which it opened no tunnel, was not sent."""
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
