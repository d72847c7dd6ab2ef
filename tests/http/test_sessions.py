"""Test http/sessions.py: sessions are opened when needed, live with their loop, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from kling_async import Client, ConfigurationError, Timeouts
from kling_async.core.verdict import Full
from kling_async.events import Hooks
from kling_async.http import sessions as module
from kling_async.http.auth import ApiKey
from kling_async.http.sessions import PublicResolver, Sessions
from kling_async.http.transport import Transport
from kling_async.runtime.loop import LoopScope
from kling_async.wire.dialects.translate import Dialects
from tests.support import clip, pair
from tests.wiretap import code, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.abc import ResolveResult

    from kling_async.http.sessions import SessionKind

KINDS: tuple[SessionKind, ...] = ("reads", "creates", "files", "proxied files")


@contextlib.asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Sessions]:
    sessions = Sessions(LoopScope(lambda: 0.0), **options)
    try:
        yield sessions
    finally:
        await sessions.close()


def connector_of(session: aiohttp.ClientSession) -> aiohttp.TCPConnector:
    assert isinstance(session.connector, aiohttp.TCPConnector)
    return session.connector


# --- own sessions ------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_sessions_are_made_when_first_needed_one_a_kind() -> None:
    """Making a client opens nothing; each kind of request gets one session and one connector."""
    async with opened() as sessions:
        assert sessions._open == {} and not module._closers
        first = [await sessions.get(kind) for kind in KINDS]
        assert [await sessions.get(kind) for kind in KINDS] == first
        assert len({id(connector_of(session)) for session in first}) == len(KINDS)
        assert len(module._closers) == 1


@pytest.mark.anyio
async def test_closing_closes_all_sessions() -> None:
    """All sessions are closed, and nothing is left in the module's registry; closing twice is harmless."""
    async with opened() as sessions:
        first = [await sessions.get(kind) for kind in KINDS]
    assert all(session.closed for session in first)
    assert not module._closers
    await sessions.close()


@pytest.mark.anyio
async def test_a_session_that_somebody_closed_is_replaced() -> None:
    """A closed session is replaced by a new one, which is closed in the end."""
    async with opened() as sessions:
        first = await sessions.get("reads")
        await first.close()
        second = await sessions.get("reads")
        assert second is not first and not second.closed
        assert len(module._closers) == 1
    assert second.closed


@pytest.mark.anyio
async def test_creates_keep_connections_for_five_seconds_only() -> None:
    """Rule 17: creates use short-lived connections, for a POST on one that the server closes is lost."""
    async with opened() as sessions:
        ages = {kind: connector_of(await sessions.get(kind))._keepalive_timeout for kind in KINDS}
    assert ages == {"creates": 5.0, "reads": 30.0, "files": 30.0, "proxied files": 30.0}


@pytest.mark.anyio
async def test_connections_are_not_limited_by_the_connector() -> None:
    """Slots and polling bound the requests, not aiohttp's default of a hundred connections."""
    async with opened() as sessions:
        assert {connector_of(await sessions.get(kind)).limit for kind in KINDS} == {0}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "guarded"),
    [
        pytest.param({}, True, id="plain"),
        pytest.param({"local_files": True}, True, id="an API on this machine"),
        pytest.param({"proxy": "http://proxy.example"}, False, id="a proxy resolves"),
        pytest.param({"trust_env": True}, False, id="a proxy of the environment resolves"),
    ],
)
async def test_files_come_from_public_addresses_only(
    options: dict[str, Any], guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of file servers resolve to public addresses only, unless a proxy resolves them."""
    monkeypatch.setenv("https_proxy", ENV)
    monkeypatch.setenv("no_proxy", "inside.example")
    async with opened(**options) as sessions:
        assert await is_guarded(sessions, "https://a.example/x") is guarded
        if "proxy" not in options:
            assert await is_guarded(sessions, "https://b.inside.example/x")
            monkeypatch.delenv("https_proxy")
            assert await is_guarded(sessions, "https://a.example/x")
        for kind in ("reads", "creates"):  # the base URL is the caller's choice
            assert not isinstance(connector_of(await sessions.get(kind))._resolver, PublicResolver)


async def is_guarded(sessions: Sessions, url: str) -> bool:
    session, _ = await sessions.for_file(URL(url))
    return isinstance(connector_of(session)._resolver, PublicResolver)


MINE, ENV = "http://mine.example:1", "http://env.example:2"


@pytest.mark.parametrize(
    ("options", "url", "proxy"),
    [
        pytest.param({}, "https://a.example/x", None, id="not asked for"),
        pytest.param({"trust_env": True}, "https://a.example/x", ENV, id="from the environment"),
        pytest.param({"trust_env": True}, "http://a.example/x", None, id="none for http"),
        pytest.param({"trust_env": True}, "https://b.inside.example/x", None, id="left out by no_proxy"),
        pytest.param({"proxy": MINE}, "https://a.example/x", MINE, id="given"),
        pytest.param({"proxy": MINE, "trust_env": True}, "https://b.inside.example/x", MINE, id="given wins"),
    ],
)
def test_which_proxy_a_request_takes(
    options: dict[str, Any], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The given proxy wins; else that of the environment, if trusted, by scheme and exceptions."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", ENV)
    monkeypatch.setenv("no_proxy", "inside.example")
    sessions = Sessions(LoopScope(lambda: 0.0), **options)
    assert sessions.per_request(url) == {"proxy": proxy, "ssl": True}


def test_a_proxy_of_the_environment_may_leave_out_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy without scheme means http://, as for curl; otherwise every create would be ambiguous."""
    monkeypatch.setenv("https_proxy", "env.example:2")
    monkeypatch.delenv("no_proxy", raising=False)
    sessions = Sessions(LoopScope(lambda: 0.0), trust_env=True)
    assert sessions.per_request("https://a.example/x")["proxy"] == "http://env.example:2"


# --- injected sessions -------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_injected_session_is_used_for_the_api_and_not_closed() -> None:
    """An injected session serves the API and stays open; files get another one over its connections."""
    async with aiohttp.ClientSession(headers={"A": "b"}) as mine:
        async with opened(session=mine) as sessions:
            reads, creates, *files = [await sessions.get(kind) for kind in KINDS]
            assert reads is creates is mine
            assert all(session.connector is mine.connector and not session.headers for session in files)
            assert all(isinstance(session.cookie_jar, aiohttp.DummyCookieJar) for session in files)
        assert all(session.closed for session in files)
        assert mine.connector is not None and not mine.connector.closed
        async with pair(client={"session": mine}) as (emu, client):
            await client.submit(clip())
            assert len(emu.ledger.creates) == 1
        assert not mine.closed and not module._closers


@pytest.mark.anyio
async def test_files_take_the_proxy_of_an_injected_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files use the injected session's proxy, or its environment's, unless the client has one."""
    monkeypatch.setenv("https_proxy", ENV)
    monkeypatch.delenv("no_proxy", raising=False)
    url, login = URL("https://a.example/x"), object()
    connector = aiohttp.TCPConnector()
    session = partial(aiohttp.ClientSession, connector=connector, connector_owner=False)
    async with connector, session() as plain, session(trust_env=True) as trusting, session(proxy=MINE) as own:
        monkeypatch.setattr(own, "_default_proxy_auth", login)
        for mine, settings in (
            (plain, {"proxy": None, "ssl": True}),
            (trusting, {"proxy": ENV, "ssl": True}),
            (own, {"proxy": MINE, "proxy_auth": login, "ssl": True}),
        ):
            async with opened(session=mine) as sessions:
                assert (await sessions.for_file(url))[1] == settings
        async with opened(session=own, proxy=ENV, ssl=False) as sessions:
            assert (await sessions.for_file(url))[1] == {"proxy": ENV, "ssl": False}


@pytest.mark.anyio
async def test_a_closed_injected_session_is_refused() -> None:
    """A closed injected session is a ConfigurationError, before anything is sent."""
    async with aiohttp.ClientSession() as mine:
        pass
    async with Client(api_key="k", base_url="http://127.0.0.1:1", session=mine) as client:
        with pytest.raises(ConfigurationError, match="the session passed to Client is closed"):
            await client.request("GET", "/x")


@pytest.mark.real
def test_an_injected_session_of_another_loop_is_refused() -> None:
    """A session whose connections belong to another loop is a ConfigurationError."""
    with asyncio.Runner() as other:

        async def make() -> aiohttp.ClientSession:
            return aiohttp.ClientSession()

        mine = other.run(make())

        async def use() -> None:
            async with Client(api_key="k", base_url="http://127.0.0.1:1", session=mine) as client:
                with pytest.raises(ConfigurationError, match="belongs to another event loop"):
                    await client.request("GET", "/x")

        asyncio.run(use())
        other.run(mine.close())


@pytest.mark.anyio
async def test_an_injected_session_that_raises_for_status_changes_nothing() -> None:
    """``raise_for_status`` of an injected session does not hide the API's 4xx answers."""
    async with (
        serving(code(1303, 429)) as wire,
        aiohttp.ClientSession(raise_for_status=True) as mine,
        opened(session=mine) as sessions,
    ):
        hooks, address = Hooks(None, sessions.scope.time), f"http://127.0.0.1:{wire.port}"
        transport = Transport(sessions, ApiKey("k"), address, Dialects(), hooks=hooks)
        limits = Timeouts()
        verdict = await transport.create("/x", b"{}", endpoint="e", external_task_id="m", timeouts=limits)
    assert isinstance(verdict, Full)


# --- loops that end ----------------------------------------------------------------------------


@pytest.mark.real
def test_a_loop_that_ends_closes_its_sessions_and_the_next_gets_its_own() -> None:
    """Two asyncio.run in a row use sessions of their own, closed with their loop."""
    sessions = Sessions(LoopScope(lambda: 0.0))
    first, second = (asyncio.run(sessions.get("reads")) for _ in range(2))
    assert first is not second
    assert first.closed and second.closed and not module._closers


PROGRAM = """
import asyncio, gc
from kling_async import Client, Polling, v1
from kling_async.http import sessions
from kling_async.testing import emulator

often = Polling(min_interval=0, max_interval=0.02)
client = Client(api_key="emulator-key", base_url="http://127.0.0.1:1", limits={{"video": 5}}, polling=often)

async def main(number):
    asyncio.get_running_loop().slow_callback_duration = 60  # debug mode tells of slow machines too
    async with emulator() as emu:
        emu.set_duration(0.01 if {ends} else 3600)
        client.base_url = client._engine.transport.base_url = emu.url
        task = await client.submit(v1.TextToVideo(prompt="a paper boat"))
        if {ends}:
            await task.wait()
        else:
            waiter = asyncio.create_task(task.wait())
            await asyncio.sleep(0)
        if {closes} and number == 1:
            await client.aclose()
            if not {ends}:
                await asyncio.gather(waiter, return_exceptions=True)

for number in range(2):
    asyncio.run(main(number))
    assert not sessions._closers
del client
gc.collect()
print("done")
"""


@pytest.mark.real
@pytest.mark.parametrize("closes", [True, False], ids=["with aclose", "without"])
@pytest.mark.parametrize("ends", [True, False], ids=["task ended", "task still runs"])
def test_two_runs_with_one_client_leave_no_warning(closes: bool, ends: bool) -> None:
    """A client used in two runs leaves nothing unclosed, under -W error and in asyncio's debug mode."""
    program = textwrap.dedent(PROGRAM).format(ends=ends, closes=closes)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# --- names -------------------------------------------------------------------------------------


def found(*hosts: str) -> Callable[..., Any]:
    async def resolve(*_: object) -> list[ResolveResult]:
        return [
            {"hostname": "x", "host": host, "port": 443, "family": 2, "proto": 6, "flags": 0}
            for host in hosts
        ]

    return resolve


@pytest.mark.anyio
async def test_the_resolver_keeps_public_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with public and private addresses resolves to the public ones."""
    resolver = PublicResolver()
    monkeypatch.setattr(resolver._inner, "resolve", found("10.0.0.1", "8.8.8.8", "::1", "8.8.4.4"))
    assert [item["host"] for item in await resolver.resolve("cdn.example", 443)] == ["8.8.8.8", "8.8.4.4"]
    await resolver.close()


@pytest.mark.anyio
async def test_local_files_may_come_from_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``local`` loopback addresses are kept too, but no others of this network."""
    resolver = PublicResolver(local=True)
    monkeypatch.setattr(resolver._inner, "resolve", found("10.0.0.1", "127.0.0.1", "8.8.8.8", "::1"))
    public = [item["host"] for item in await resolver.resolve("cdn.example", 443)]
    assert public == ["127.0.0.1", "8.8.8.8", "::1"]


@pytest.mark.anyio
@pytest.mark.parametrize("hosts", [(), ("127.0.0.1",), ("10.0.0.1", "169.254.169.254")])
async def test_a_name_without_a_public_address_does_not_resolve(
    hosts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with private addresses only fails to resolve."""
    resolver = PublicResolver()
    monkeypatch.setattr(resolver._inner, "resolve", found(*hosts))
    with pytest.raises(OSError, match=r"inside\.example has no public address"):
        await resolver.resolve("inside.example", 443)
