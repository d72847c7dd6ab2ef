"""The HTTP sessions of a client: made when first needed, per event loop, and closed with it."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kling_async.errors import ConfigurationError
from kling_async.http.addresses import is_public
from kling_async.http.auth import is_loopback

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import AsyncGenerator

    from yarl import URL

    from kling_async.runtime.loop import LoopScope

__all__ = ["Kind", "PublicResolver", "Sessions"]

Kind = Literal["reads", "creates", "files", "proxied files"]

_CREATE_KEEP_ALIVE: Final = 5.0
# A generator that its loop finalises closes the sessions when the loop ends; it must not be collected before.
_keepers: dict[int, AsyncGenerator[None]] = {}


class Sessions:
    """The sessions of one client.

    Creates have connections of their own with a short keep-alive: a POST on a connection that the server is
    just closing is lost (GETs are repeated by aiohttp, POSTs never). Files come from addresses that the
    vendor's answers name, so they get connections to public addresses only, and sessions without headers and
    cookies of anybody's. Where a proxy is used, and on the connections of an injected session, names are
    resolved elsewhere and only literal addresses are judged.
    """

    def __init__(
        self,
        scope: LoopScope,
        *,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        trust_env: bool = False,
        local_files: bool = False,
    ) -> None:
        self.scope = scope
        self.local_files = local_files
        """Whether result files may come from this machine: only where the API does."""
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            raise ConfigurationError("proxy: use http://host:port; other kinds need a session of your own")
        self._proxy = proxy
        self._ssl = True if ssl is None else ssl
        self._injected = session
        self._trust_env = trust_env
        self._open: dict[Kind, aiohttp.ClientSession] = {}
        self._keeper: AsyncGenerator[None] | None = None
        scope.on_loop_replaced.append(self._forget)

    def per_request(self, url: str) -> dict[str, Any]:
        """Return what to pass with a request to that address: proxy and certificate checks.

        The environment's proxies are read here, not by aiohttp's trust_env: that would also take a .netrc,
        which does not go with a header of ours.
        """
        proxy = self._proxy
        if proxy is None and self._trust_env:
            proxy = _proxy_of_environment(url)
        return {"proxy": proxy, "ssl": self._ssl}

    async def for_file(self, url: URL) -> tuple[aiohttp.ClientSession, dict[str, Any]]:
        """Return the session for a result file, and what to pass with the request.

        An injected session's own proxy is used as it would use it itself.
        """
        settings, mine = self.per_request(str(url)), self._injected
        if mine is not None and settings["proxy"] is None:
            settings["proxy"] = getattr(mine, "_default_proxy", None)
            if (login := getattr(mine, "_default_proxy_auth", None)) is not None:
                settings["proxy_auth"] = login
            if settings["proxy"] is None and mine.trust_env:
                settings["proxy"] = _proxy_of_environment(str(url))
        return await self.get("files" if settings["proxy"] is None else "proxied files"), settings

    async def get(self, kind: Kind) -> aiohttp.ClientSession:
        """Return the session for that kind of request, in the running loop."""
        loop = self.scope.enter()
        if self._injected is not None:
            if getattr(self._injected, "_loop", loop) is not loop:
                raise ConfigurationError("the session passed to Client belongs to another event loop")
            if self._injected.closed:
                raise ConfigurationError("the session passed to Client is closed")
            if kind in ("reads", "creates"):
                return self._injected
        session = self._open.get(kind)
        if session is None or session.closed:
            session = self._open[kind] = self._make(kind)
            if self._keeper is None:
                self._keeper = _keep(self._open)
                _keepers[id(self._open)] = self._keeper
                await anext(self._keeper)
        return session

    def _make(self, kind: Kind) -> aiohttp.ClientSession:
        jar = aiohttp.DummyCookieJar()
        if self._injected is not None:
            connector: aiohttp.BaseConnector | None = self._injected.connector
            return aiohttp.ClientSession(connector=connector, connector_owner=False, cookie_jar=jar)
        # who resolves names for a proxy is the proxy; its own name may well lead to a private address
        resolver = PublicResolver(local=self.local_files) if kind == "files" else None
        keep_alive = _CREATE_KEEP_ALIVE if kind == "creates" else 30.0
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive, resolver=resolver)
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar)

    async def close(self) -> None:
        """Close what this client opened; an injected session is its owner's."""
        keeper, self._keeper, self._open = self._keeper, None, {}
        if keeper is not None:
            await keeper.aclose()

    def _forget(self) -> None:
        self._keeper, self._open = None, {}


def _proxy_of_environment(url: str) -> str | None:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    # everybody's HTTPS_PROXY may leave out the scheme
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


async def _keep(sessions: dict[Kind, aiohttp.ClientSession]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for session in sessions.values():
            await session.close()
        _keepers.pop(id(sessions), None)
        await asyncio.sleep(0)  # lets the closed connections end


class PublicResolver(AbstractResolver):
    """Resolves names, but only to public addresses: result addresses are not ours to trust.

    Args:
        local: This machine's addresses will do too.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve, and leave out what is not public."""
        found = await self._inner.resolve(host, port, family)
        public = [item for item in found if self._may(item["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    def _may(self, host: str) -> bool:
        return is_public(host) or (self._local and is_loopback(host))

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()
