"""No byte of a create reaches a slow server once its lease is no longer sure: TLS and proxies may be slow."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import Client
from tests.clock import new_event_loop
from tests.orchestrator.test_first_byte import SECONDS, Lease
from tests.support import clip, settle, wall_clock
from tests.wiretap import raw, server_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path


class SlowVendor:
    """Accepts at once, and takes its time for the tunnel and for TLS; makes a task of each create.

    Args:
        delays: Seconds before the tunnel of each connection, and before its TLS.
        tls: Its certificate.
        tunnel: Whether it stands in for a proxy, too.
    """

    def __init__(self, delays: list[tuple[float, float]], tls: ssl.SSLContext, *, tunnel: bool) -> None:
        self._delays = delays
        self._tls = tls
        self._tunnel = tunnel
        self.lease: Lease | None = None
        self.late: list[float] = []
        """Of each first byte of a create: seconds since the bound."""
        self.made: list[str] = []
        """External ids."""
        self.talks: set[asyncio.Task[Any]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection; what is read before TLS would be lost to it."""
        if not self._tunnel:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        self.talks.add(asyncio.create_task(self._talk(reader, writer)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel, handshake = self._delays.pop(0) if self._delays else (0.0, 0.0)
        try:
            if self._tunnel:
                await reader.readuntil(b"\r\n\r\n")
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(tunnel)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.sleep(handshake)
            await writer.start_tls(self._tls)
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has left
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.read(1)
        arrived = asyncio.get_running_loop().time()
        head += await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"POST"):
            writer.write(raw({"code": 1203, "message": "there is none", "request_id": "r"}, 404))
            return True
        assert self.lease is not None
        self.late.append(arrived - self.lease.until)
        (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        self.made.append(json.loads(await reader.readexactly(length))["external_task_id"])
        task = {"task_id": self.made[-1], "task_status": "submitted", "created_at": 1, "updated_at": 1}
        data = {**task, "task_info": {"external_task_id": self.made[-1]}}
        writer.write(raw({"code": 0, "message": "", "request_id": "r", "data": data}))
        return True


@asynccontextmanager
async def slow_vendor(
    delays: list[tuple[float, float]], tls: ssl.SSLContext, *, tunnel: bool, **lease: Any
) -> AsyncIterator[tuple[SlowVendor, Client]]:
    """Run a slow server, and a client with a scripted lease."""
    vendor = SlowVendor(delays, tls, tunnel=tunnel)
    server = await asyncio.start_server(vendor.accept, "127.0.0.1", 0)
    at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    way: dict[str, Any] = {"proxy": f"http://{at}"} if tunnel else {}
    limits = {"video": 2}
    try:
        async with Client(
            base_url=f"https://{at}", api_key="key", ssl=False, limits=limits, now=wall_clock(), **way
        ) as client:
            vendor.lease = Lease(client, **lease)
            yield vendor, client
    finally:
        server.close()
        for talk in vendor.talks:
            talk.cancel()
        await asyncio.gather(*vendor.talks, return_exceptions=True)
        await settle()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return the context of a server whose certificate nobody has signed."""
    folder: Path = tmp_path_factory.mktemp("tls")
    return server_tls(folder)


@pytest.mark.parametrize("tunnel", [False, True], ids=["tls", "proxy"])
@given(
    delays=st.lists(st.tuples(SECONDS, SECONDS), max_size=4),
    waits=st.lists(SECONDS, max_size=4),
    lapses=st.lists(st.booleans(), max_size=3),
)
@settings(max_examples=40)
def test_nothing_arrives_late_and_each_create_is_sent_once(
    tls: ssl.SSLContext,
    tunnel: bool,
    delays: list[tuple[float, float]],
    waits: list[float],
    lapses: list[bool],
) -> None:
    """However long tunnel, handshake and heartbeats take: late, a create sends nothing, and goes later."""

    async def run() -> None:
        lease = {"waits": list(waits), "lapses": list(lapses)}
        async with slow_vendor(list(delays), tls, tunnel=tunnel, **lease) as (vendor, client):
            names = [f"film-{number}" for number in range(2)]
            for name in names:
                await client.submit(clip(name), external_task_id=name)
            assert vendor.made == names
            assert max(vendor.late) <= 0

    loop = new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
