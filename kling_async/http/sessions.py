"""Open the HTTP sessions of a client when first needed, one set per event loop, and close them with it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import ssl as ssl_module
import urllib.request
import weakref
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kling_async.errors import ConfigurationError
from kling_async.http.addresses import is_loopback, is_public

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yarl import URL

    from kling_async.http.own_files import OwnFiles

__all__ = ["PublicResolver", "Scope", "SessionKind", "Sessions"]

SessionKind = Literal["reads", "creates", "files", "proxied files"]

# aiohttp repeats a GET on a connection that the server is just closing, a POST never. Measured: a gap between
# polls equal to the server's keep-alive broke 100 of 200 POSTs sent over the connections of the polls.
_CREATE_KEEP_ALIVE: Final = 5.0
_READ_KEEP_ALIVE: Final = 30.0
"""Seconds that an idle connection stays open."""

_closers: dict[int, AsyncGenerator[None]] = {}
"""Keeps every `_close_with_loop` generator alive until its loop finalises it (``shutdown_asyncgens``)."""


class Scope(Protocol):
    """The event loop that a client lives in, and its clocks (`kling_async.runtime.loop.LoopScope`)."""

    def subscribe(self, listener: Sessions, /) -> None:
        """Call the listener's ``on_loop_replaced`` whenever a new loop replaces one that ended."""

    def enter(self) -> asyncio.AbstractEventLoop:
        """Make the running loop the client's."""
        ...

    def time(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def now(self) -> float:
        """Return wall time, seconds since 1970."""
        ...


class Sessions:
    """Hold the sessions of one client, one per kind of request.

    Creates have connections of their own with a short keep-alive. Files come from addresses that the vendor's
    answers name, so they get connections to public addresses only, and sessions without headers and cookies.
    Where a proxy is used, and on the connections of an injected session, names are resolved elsewhere and
    only literal addresses are judged.

    Args:
        scope: The event loop that the client lives in.
        session: A session of the caller's to use for the API; it is not closed.
        proxy: ``http://`` or ``https://`` address of a proxy for all requests.
        ssl: An SSL context, or False to skip certificate checks; None checks as usual.
        trust_env: Take a proxy from the environment if none is given.
        local_files: Accept result files from this machine: only where the API itself is on it.
        own_files: Tells which result files are of a gateway's own host, and shows it the key where it asks.

    Raises:
        ConfigurationError: The proxy is of another kind, or ``ssl`` of another type.
    """

    def __init__(
        self,
        scope: Scope,
        *,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        trust_env: bool = False,
        local_files: bool = False,
        own_files: OwnFiles | None = None,
    ) -> None:
        self.scope = scope
        self.local_files = local_files
        self.own_files = own_files
        """Files that come over the connections of the API: a gateway's own."""
        if not (ssl is None or isinstance(ssl, bool | ssl_module.SSLContext | aiohttp.Fingerprint)):
            raise ConfigurationError(
                f"ssl: must be an ssl.SSLContext, True or False, not {type(ssl).__name__}"
            )
        self._proxy = None if proxy is None else _checked_proxy(proxy, "proxy")
        self._ssl = True if ssl is None else ssl
        self._injected = session
        self._trust_env = trust_env
        self._open: dict[SessionKind, aiohttp.ClientSession] = {}
        self._closer: AsyncGenerator[None] | None = None
        self._finalizer: weakref.finalize[[asyncio.AbstractEventLoop, AsyncGenerator[None]], Sessions] | None
        self._finalizer = None
        scope.subscribe(self)

    def per_request(self, url: str) -> dict[str, Any]:
        """Return the options of a request to that address: proxy and certificate checks.

        Raises:
            ConfigurationError: The environment names a proxy of another kind.
        """
        proxy = self._proxy
        # not by aiohttp's own trust_env: that reads .netrc too and refuses an Authorization header beside it
        if proxy is None and self._trust_env:
            proxy = _proxy_of_environment(url)
        return {"proxy": proxy, "ssl": self._ssl}

    async def for_file(self, url: URL) -> tuple[aiohttp.ClientSession, dict[str, Any]]:
        """Return the session for a result file, and the options of the request.

        The proxy of an injected session is used as that session would use it itself.
        """
        options, injected = self.per_request(str(url)), self._injected
        if self.own_files is not None and self.own_files.covers(url):
            return await self.get("reads"), options
        if injected is not None and options["proxy"] is None:
            # files do not go through the injected session, and aiohttp has no public way to its proxy
            options["proxy"] = getattr(injected, "_default_proxy", None)
            if (login := getattr(injected, "_default_proxy_auth", None)) is not None:
                options["proxy_auth"] = login
            if options["proxy"] is None and injected.trust_env:
                options["proxy"] = _proxy_of_environment(str(url))
        return await self.get("files" if options["proxy"] is None else "proxied files"), options

    async def get(self, kind: SessionKind) -> aiohttp.ClientSession:
        """Return the session for that kind of request, in the running loop.

        Raises:
            ConfigurationError: The injected session is closed or belongs to another loop.
        """
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
            if self._closer is None:
                self._closer = _closers[id(self._open)] = _close_with_loop(self._open)
                await anext(self._closer)  # started in this loop, which then finalises it
                self._finalizer = weakref.finalize(self, _close_dropped, loop, self._closer)
                self._finalizer.atexit = False
        return session

    def _make(self, kind: SessionKind) -> aiohttp.ClientSession:
        jar = aiohttp.DummyCookieJar()
        if self._injected is not None:
            connector: aiohttp.BaseConnector | None = self._injected.connector
            return aiohttp.ClientSession(connector=connector, connector_owner=False, cookie_jar=jar)
        # a proxy resolves the names of files itself, and its own name may lead to a private address
        resolver = PublicResolver(local=self.local_files) if kind == "files" else None
        keep_alive = _CREATE_KEEP_ALIVE if kind == "creates" else _READ_KEEP_ALIVE
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive, resolver=resolver)
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar)

    async def close(self) -> None:
        """Close the sessions that this client opened; an injected session is its owner's to close."""
        closer = self._closer
        self.on_loop_replaced()
        if closer is not None:
            await closer.aclose()

    def on_loop_replaced(self) -> None:
        """Forget the sessions of the loop that ended: it closed them itself."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._closer, self._open = None, {}


def _proxy_of_environment(url: str) -> str | None:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy:
        return None
    # curl and others take an HTTPS_PROXY without scheme, aiohttp does not
    return _checked_proxy(proxy if "://" in proxy else f"http://{proxy}", f"{parts.scheme}_proxy")


def _checked_proxy(proxy: object, name: str) -> str:
    """Return the address of an HTTP proxy.

    Raises:
        ConfigurationError: It is of another kind: aiohttp would speak HTTP to it all the same.
    """
    if not isinstance(proxy, str):
        raise ConfigurationError(
            f"{name}: must be text, such as http://host:port, not {type(proxy).__name__}"
        )
    scheme = proxy.partition("://")[0].lower() if "://" in proxy else ""
    if scheme in ("http", "https"):
        return proxy
    if scheme.startswith("socks"):
        raise ConfigurationError(
            f"{name}: {scheme}:// proxies are not supported; use the proxy's http:// port, or pass a session "
            "with a connector for SOCKS (aiohttp_socks.ProxyConnector): Client(session=...)"
        )
    raise ConfigurationError(f"{name}: use http://host:port; other kinds need a session of your own")


async def _close_with_loop(sessions: dict[SessionKind, aiohttp.ClientSession]) -> AsyncGenerator[None]:
    """Close the sessions on ``aclose()``, or at the latest when the event loop ends."""
    try:
        yield
    finally:
        for session in sessions.values():
            await session.close()
        _closers.pop(id(sessions), None)
        await asyncio.sleep(0)  # the transports of closed connections end in the loop's next turn


_closing: set[asyncio.Task[None]] = set()
"""Keeps the tasks alive that close the sessions of clients that were dropped."""


def _close_dropped(loop: asyncio.AbstractEventLoop, closer: AsyncGenerator[None]) -> None:
    """Close the sessions of a client of which nothing is left; called in any thread, by the collector."""

    def close() -> None:
        task = loop.create_task(_closed(closer))
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    with contextlib.suppress(RuntimeError):  # the loop was closed, and has closed them
        loop.call_soon_threadsafe(close, context=contextvars.Context())


async def _closed(closer: AsyncGenerator[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop ends, and does it at this moment
        await closer.aclose()


class PublicResolver(AbstractResolver):
    """Resolve names to public addresses only: a name in a result may lead into this network.

    Args:
        local: Accept this machine's addresses too.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name; leave out addresses that are not public.

        Raises:
            OSError: No address is left.
        """
        found = await self._inner.resolve(host, port, family)
        public = [item for item in found if self._is_allowed(item["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    def _is_allowed(self, host: str) -> bool:
        return is_public(host) or (self._local and is_loopback(host))

    async def close(self) -> None:
        """Release the inner resolver."""
        await self._inner.close()
