"""A client of an emulator whose callbacks reach its receiver, through aiohttp or through ASGI."""

from __future__ import annotations

import io
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import httpx
from aiohttp import web

from kling_async.testing import emulator
from kling_async.webhooks import CallbackReceiver
from tests.support import Recorder, client_of
from tests.webhooks.support import SECRET, TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from kling_async import Client
    from kling_async.testing import Emulator

__all__ = ["ASKED", "DOORS", "Setting", "posting", "receiving"]

DOORS: Final = ("aiohttp", "asgi")
ASKED: Final = ("one", "ids", "list", "lookup")
"""Purposes of the requests that callbacks may spare."""


class Setting(NamedTuple):
    """An emulator, a client of it, and the receiver of the client's callbacks."""

    emu: Emulator
    client: Client
    receiver: CallbackReceiver
    events: Recorder
    url: str

    @property
    def asked(self) -> int:
        """How many queries and look-ups the client has sent."""
        requests = self.client.stats().requests
        return sum(requests[purpose] for purpose in ASKED)

    async def settle(self) -> None:
        """Wait until all callbacks are sent."""
        await self.emu.drain_callbacks()


@asynccontextmanager
async def receiving(
    door: str = "aiohttp",
    *,
    signed: bool = True,
    seconds: float | None = 30.0,
    emu: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
) -> AsyncIterator[Setting]:
    """Start an emulator that calls back, the receiver, and a client that names its address by default."""
    receiver: CallbackReceiver

    async def through_asgi(request: web.Request) -> web.Response:
        transport = httpx.ASGITransport(app=receiver)
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver.example") as relay:
            answer = await relay.post(
                request.path, content=await request.read(), headers=list(request.headers.items())
            )
        return web.Response(status=answer.status_code)

    async def through_aiohttp(request: web.Request) -> web.StreamResponse:
        return await receiver.aiohttp(request)

    async with AsyncExitStack() as stack:
        outer = web.Application(client_max_size=4 * 1024 * 1024)
        outer.router.add_post("/kling/{token}", through_asgi if door == "asgi" else through_aiohttp)
        runner = web.AppRunner(outer, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/kling/{TOKEN}"
        settings: dict[str, Any] = {"slots": {"video": 5, "image": 9}, **(emu or {})}
        if signed:
            settings.setdefault("webhook_secret", SECRET)
        server = await stack.enter_async_context(emulator(**settings))
        if seconds is not None:
            server.set_duration(seconds)
        events = Recorder()
        options = {"callback_url": url, "on_event": events, **(client or {})}
        user = await stack.enter_async_context(client_of(server, **options))
        receiver = CallbackReceiver(user, secret=SECRET, path_token=TOKEN)
        yield Setting(server, user, receiver, events, url)


@asynccontextmanager
async def posting(url: str) -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """Yield a function that posts a body with headers to a callback address, and returns the status."""
    async with aiohttp.ClientSession() as session:

        async def post(body: bytes, headers: dict[str, str], token: str = TOKEN) -> int:
            address = f"{url.rpartition('/')[0]}/{token}"
            async with session.post(address, data=io.BytesIO(body), headers=headers) as answer:
                return answer.status

        yield post
