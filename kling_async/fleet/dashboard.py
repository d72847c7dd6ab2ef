"""Serve the dashboard of a fleet on loopback: one page, and snapshots as server-sent events.

One loop queries the database, each second, for any number of viewers. It also keeps what the charts show of
the last minutes, so that a page that is opened, or opened again, begins with a picture. A viewer that is slow
skips snapshots. The database may go away: viewers are told, and again when it is back.

The page is one file with a style and a script of its own, which a Content-Security-Policy names by a nonce;
nothing is loaded from elsewhere, and names of jobs, labels and machines are set as text. Only requests that
name this machine as their host are answered: pages of other sites cannot read it by an address of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from kling_async.fleet.database import shown_dsn
from kling_async.fleet.looking import EVERY, looks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType
    from typing import Self

    from kling_async.fleet.looking import Look
    from kling_async.fleet.status import FleetStatus

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["Dashboard", "chart_point"]

_PAGE: Final = Path(__file__).with_name("dashboard.html")
_POINTS: Final = 900
"""Snapshots that the charts remember: fifteen minutes."""
_CLOSING: Final = 1.0
"""Seconds that viewers have to end when the server closes."""
_WRITE: Final = 10.0
"""Seconds after which a viewer that takes nothing is given up."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_NAMES: Final = ("127.0.0.1", "localhost")

_json: Final = msgspec.json.Encoder()


def chart_point(status: FleetStatus) -> dict[str, Any]:
    """Return what the charts show of a snapshot."""
    return {
        "at": status.at,
        "limit": sum(pool.limit for pool in status.pools),
        "members": {member.name: sum(member.slots.values()) for member in status.members if member.slots},
        "pools": {pool.name: pool.held for pool in status.pools if pool.held},
        "orphans": sum(pool.orphaned for pool in status.pools),
        "succeeded": status.succeeded,
        "failed": status.failed,
    }


class Dashboard:
    """The server of the page. Enter it with ``async with``; it serves until left.

    Args:
        dsn: The fleet's database.
        port: On loopback; 0 takes a free one.
        every: Seconds between two snapshots.
    """

    def __init__(self, dsn: str, *, port: int = 0, every: float = EVERY) -> None:
        self._dsn = dsn
        self._port = port
        self._every = every
        self._points: deque[dict[str, Any]] = deque(maxlen=_POINTS)
        self._latest: bytes | None = None
        """The event of the last look."""
        self._changed = asyncio.Condition()
        self._serial = 0
        """How many looks there were."""
        self._closing = False
        self._looking: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"<Dashboard of {shown_dsn(self._dsn)}>"

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSING)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner
        self._looking = asyncio.create_task(self._look(), name="kling_async fleet dashboard")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        assert self._looking is not None  # noqa: S101 - entered
        assert self._runner is not None  # noqa: S101 - as above
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking
        await self._tell()
        await self._runner.cleanup()

    async def serve(self) -> None:
        """Serve until cancelled."""
        if self._looking is not None:
            await asyncio.shield(self._looking)

    # -- the loop

    async def _look(self) -> None:
        async with contextlib.aclosing(looks(self._dsn, self._every)) as looking:
            async for look in looking:
                if look.status is not None and not look.away:
                    self._points.append(chart_point(look.status))
                self._latest = self._event("look", self._shown(look))
                await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._serial += 1
            self._changed.notify_all()

    async def _after(self, seen: int) -> tuple[int, bytes | None]:
        """Return the number and the event of the latest look, once it is another than one that was seen."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._serial != seen)
            return self._serial, self._latest

    def _shown(self, look: Look) -> Mapping[str, Any]:
        status = None if look.status is None else look.status.to_dict()
        point = self._points[-1] if self._points and not look.away else None
        return {"status": status, "point": point, "away": look.away, "seconds": look.seconds}

    @staticmethod
    def _event(name: str, value: object) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (name.encode(), _json.encode(value))

    # -- requests

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only requests to this machine's own names: others were led here by a name of their site."""
        hosts = {f"{name}:{self._port}" for name in _NAMES}
        if request.headers.get("Host", "").lower() not in hosts:
            raise web.HTTPMisdirectedRequest(text="this server answers to 127.0.0.1 and localhost only\n")
        return await handler(request)

    async def _page(self, _: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        text = await asyncio.get_running_loop().run_in_executor(None, _PAGE.read_text, "utf-8")
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers = {**_HEADERS, "Content-Security-Policy": policy}
        return web.Response(text=text.replace("NONCE", nonce), content_type="text/html", headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send what the charts remember, then each look, until the viewer or the server ends."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        facts = {"database": shown_dsn(self._dsn), "points": list(self._points), "every": self._every}
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._send(response, b"retry: 1000\n" + self._event("history", facts))
            seen = -1 if self._latest is not None else self._serial
            while not self._closing:
                seen, event = await self._after(seen)
                if self._closing or event is None:
                    break
                await self._send(response, event)
        return response

    @staticmethod
    async def _send(response: web.StreamResponse, event: bytes) -> None:
        async with asyncio.timeout(_WRITE):
            await response.write(event)
