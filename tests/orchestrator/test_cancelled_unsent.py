"""Test orchestrator/submitter.py: a create that is cancelled before its first byte is no doubt."""

from __future__ import annotations

import asyncio

import pytest

from kling_async import AmbiguousCreate, Client, ClientClosed
from tests.support import clip

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_closed_before_and_after_the_first_byte(scheme: str) -> None:
    """Closed within the TLS handshake nothing was made; closed after the request the task may exist."""
    connected = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            connected.set()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        client = Client(
            api_key="sk-test", base_url=f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        )
        running = asyncio.create_task(client.submit(clip(), external_task_id="mine"))
        await asyncio.wait_for(connected.wait(), 5)
        await client.aclose()
        (error,) = await asyncio.gather(running, return_exceptions=True)
    assert type(error) is (ClientClosed if scheme == "https" else AmbiguousCreate)
