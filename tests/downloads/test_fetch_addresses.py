"""Test downloads/fetch.py: addresses that files may come from, and requests to file servers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from kling_async.http.sessions import Sessions
from kling_async.runtime.loop import LoopScope
from tests.films import FILM, SIZE, Fetcher, fetching_from
from tests.wiretap import raw, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(status: int, tmp_path: Path) -> None:
    """Absolute and relative locations are followed, with every redirecting status."""
    hops = [raw(b"", status, Location=where) for where in ("/1", "2?a=b", "./3")]
    async with fetching_from(*hops, raw(FILM)) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert [request.target for request in get.wire.requests] == [
            "/a.mp4?x-sign=5ecre7",
            "/1",
            "/2?a=b",
            "/3",
        ]


async def test_the_fourth_redirect_is_not_followed(tmp_path: Path) -> None:
    """A file server cannot redirect for ever."""
    async with fetching_from(raw(b"", 302, Location="/again")) as get:
        assert str(await get.fails(tmp_path)) == "more than 3 redirects"
        assert len(get.wire.requests) == 4


NOT_OURS: Final = [
    *("http://a.example/a.mp4", "http://8.8.8.8/a.mp4", "ftp://a.example/a.mp4", "file:///etc/passwd"),
    *("https://10.0.0.1/a.mp4", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data"),
    *("https://[fd00::1]/a.mp4", "https://printer.local/", "https:///a.mp4", "data:text/plain,x"),
]


@pytest.mark.parametrize(
    "url", [*NOT_OURS, "https://127.0.0.1/", "http://localhost/", "https://\uff11\uff12\uff17.0.0.1/"]
)
async def test_addresses_that_are_not_public_https_are_refused(url: str, tmp_path: Path) -> None:
    """Addresses in answers are not trusted: nothing is connected to."""
    async with fetching_from(raw(FILM), local=False) as get:
        error = await get.fails(tmp_path, url)
        assert str(error).startswith("the result's address (") and str(error).endswith("is not public https")
        assert get.wire.requests == []


@pytest.mark.parametrize("url", ["//[bad", "a.mp4", "https://a.example:99999/a.mp4", "https://a.example:b/"])
async def test_an_address_that_is_no_url_is_reported(url: str, tmp_path: Path) -> None:
    """The error names the result's address, not the API's, and nothing is repeated."""
    async with fetching_from(raw(FILM)) as get:
        assert str(await get.fails(tmp_path, url, tries=3)) == "the result's address is not a URL"
        assert get.wire.requests == []


async def test_an_address_that_aiohttp_rejects_is_reported(tmp_path: Path) -> None:
    """A proxy address that is no URL ends the download without repeats."""
    sessions = Sessions(LoopScope(lambda: 0.0), local_files=True, proxy="http://[")
    async with serving(raw(FILM)) as wire:
        error = await Fetcher(wire, sessions).fails(tmp_path, tries=3)
        await sessions.close()
    assert str(error) == "the result's address, or the proxy's, is not a valid URL"


@pytest.mark.parametrize(
    ("where", "error"),
    [
        *((where, "is not public https") for where in NOT_OURS),
        ("//[bad", "is not a URL"),
        ("https://[", "is not a URL"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(where: str, error: str, tmp_path: Path) -> None:
    """A public server cannot redirect to a private one, even where the API is on this machine."""
    async with fetching_from(raw(b"", 302, Location=where)) as get:
        assert error in str(await get.fails(tmp_path))
        assert len(get.wire.requests) == 1


@pytest.mark.parametrize("options", [{}, {"trust_env": True}, {"local_files": True}], ids=str)
async def test_a_name_that_resolves_to_a_private_address_is_refused(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is judged by the address that is connected to, so a rebound name opens nothing.

    The same holds with ``trust_env`` and no proxy in the environment, and with the API on this machine.
    """
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def rebound(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443))]

    sessions = Sessions(LoopScope(lambda: 0.0), **options)
    async with serving(raw(FILM)) as wire:
        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        error = await Fetcher(wire, sessions).fails(tmp_path, "https://cdn.example/a.mp4")
        await sessions.close()
    assert str(error) == "the download broke off: cannot find the host cdn.example"


async def test_a_proxy_may_have_a_private_address(tmp_path: Path) -> None:
    """A proxy is the caller's choice and resolves the names of files itself."""
    async with serving(raw(b"", 502)) as wire:
        sessions = Sessions(LoopScope(lambda: 0.0), proxy=f"http://localhost:{wire.port}")
        error = await Fetcher(wire, sessions).fails(tmp_path, "https://cdn.example/a.mp4")
        await sessions.close()
        assert str(error) == "the download broke off: the proxy refused (HTTP 502)"
        assert (wire.requests[0].method, wire.requests[0].target) == ("CONNECT", "cdn.example:443")


async def test_headers_of_an_injected_session_do_not_go_to_file_servers(tmp_path: Path) -> None:
    """Neither its headers nor its cookies are sent, even after a redirect to another host."""
    jar = aiohttp.CookieJar(unsafe=True)
    jar.update_cookies({"sid": "s3cret"})
    mine = aiohttp.ClientSession(headers={"Authorization": "Bearer s3cret"}, cookie_jar=jar)
    sessions = Sessions(LoopScope(lambda: 0.0), session=mine, local_files=True)
    async with mine, serving(raw(FILM)) as last:
        elsewhere = f"http://localhost:{last.port}/b.mp4"
        async with serving(raw(b"", 302, Location=elsewhere, Set_Cookie="a=b")) as first:
            assert (await Fetcher(first, sessions)(tmp_path / "77.mp4")).size == SIZE
            await sessions.close()
            assert not mine.closed
            for wire in (first, last):
                (request,) = wire.requests
                assert set(request.headers) == {"host", "accept", "accept-encoding", "user-agent"}


async def test_a_netrc_password_does_not_go_to_a_file_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``trust_env`` is for proxies: an address in an answer gets no password out of a .netrc."""
    (tmp_path / "netrc").write_text("default login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sessions = Sessions(LoopScope(lambda: 0.0), local_files=True, trust_env=True)
    async with serving(raw(FILM)) as wire:
        await Fetcher(wire, sessions)(tmp_path / "77.mp4")
        await sessions.close()
    assert "authorization" not in wire.requests[0].headers
