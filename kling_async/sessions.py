"""The HTTP sessions of a client: made when first needed, per event loop, and closed with it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import urllib.request
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import AsyncGenerator

    from kling_async.loops import Home

__all__ = ["Kind", "Sessions", "is_public"]

Kind = Literal["reads", "creates", "files"]

_CREATE_KEEP_ALIVE: Final = 5.0
# A generator that its loop finalises closes the sessions when the loop ends; it must not be collected before.
_keepers: dict[int, AsyncGenerator[None]] = {}


class Sessions:
    """The sessions of one client.

    Creates have connections of their own with a short keep-alive: a POST on a connection that the server is
    just closing is lost (GETs are repeated by aiohttp, POSTs never). Files come from addresses that the
    vendor's answers name, so they get connections without our headers and to public addresses only. Behind
    a proxy, or with an injected session, names are resolved elsewhere and only literal addresses are judged.
    """

    def __init__(
        self,
        home: Home,
        *,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        trust_env: bool = False,
        local_files: bool = False,
    ) -> None:
        self.home = home
        self.local_files = local_files
        """Whether result files may come from this machine: only where the API does."""
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            raise ConfigurationError("proxy: use http://host:port; other kinds need a session of your own")
        self._proxy = proxy
        self._ssl = True if ssl is None else ssl
        self._injected = session
        self._trust_env = trust_env
        self._proxied = proxy is not None or trust_env
        self._open: dict[Kind, aiohttp.ClientSession] = {}
        self._keeper: AsyncGenerator[None] | None = None
        home.on_move.append(self._forget)

    def per_request(self, url: str) -> dict[str, Any]:
        """Return what to pass with a request to that address: proxy and certificate checks.

        The environment's proxies are read here, not by aiohttp's trust_env: that would also take a .netrc,
        which does not go with a header of ours.
        """
        proxy = self._proxy
        if proxy is None and self._trust_env:
            parts = urlsplit(url)
            if not urllib.request.proxy_bypass(parts.hostname or ""):
                proxy = urllib.request.getproxies().get(parts.scheme)
                if proxy and "://" not in proxy:  # which everybody's HTTPS_PROXY may leave out
                    proxy = f"http://{proxy}"
        return {"proxy": proxy, "ssl": self._ssl}

    async def get(self, kind: Kind) -> aiohttp.ClientSession:
        """Return the session for that kind of request, in the running loop."""
        loop = self.home.enter()
        if self._injected is not None:
            if getattr(self._injected, "_loop", loop) is not loop:
                raise ConfigurationError("the session passed to Client belongs to another event loop")
            if self._injected.closed:
                raise ConfigurationError("the session passed to Client is closed")
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
        resolver: AbstractResolver | None = None
        if kind == "files" and not self.local_files and not self._proxied:
            resolver = PublicResolver()
        keep_alive = _CREATE_KEEP_ALIVE if kind == "creates" else 30.0
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive, resolver=resolver)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close what this client opened; an injected session is its owner's."""
        keeper, self._keeper, self._open = self._keeper, None, {}
        if keeper is not None:
            await keeper.aclose()

    def _forget(self) -> None:
        self._keeper, self._open = None, {}


async def _keep(sessions: dict[Kind, aiohttp.ClientSession]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for session in sessions.values():
            await session.close()
        _keepers.pop(id(sessions), None)
        await asyncio.sleep(0)  # lets the closed connections end


class PublicResolver(AbstractResolver):
    """Resolves names, but only to public addresses: result addresses are not ours to trust."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve, and leave out what is not public."""
        found = await self._inner.resolve(host, port, family)
        public = [item for item in found if is_public(item["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()


def is_public(host: str) -> bool:
    """Tell whether an address is public; a name counts as public until it is resolved."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost" and not host.endswith((".localhost", ".local", ".internal"))
    if isinstance(address, ipaddress.IPv6Address) and (inner := _ipv4_within(address)) is not None:
        return inner.is_global and not inner.is_multicast
    return address.is_global and not address.is_multicast


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, if it is such a disguise."""
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
