"""orchestrator/calls.py: the caller's own reads keep the rate of status queries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kling_async import v1
from tests.support import pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async import Client

pytestmark = pytest.mark.anyio

READS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "list": lambda client: client.list(v1.TextToVideo),
    "request": lambda client: client.request("GET", "/v1/videos/text2video"),
}


@pytest.mark.parametrize("read", READS)
async def test_the_callers_own_reads_keep_the_rate(read: str) -> None:
    """Rule 13: 30 reads at once take 3 s at 10 a second; the first ones go at once."""
    loop = asyncio.get_running_loop()
    async with pair() as (_, client):
        begun = loop.time()
        await READS[read](client)
        assert loop.time() - begun < 0.5
        await asyncio.gather(*(READS[read](client) for _ in range(30)), return_exceptions=True)
        assert 2.8 <= loop.time() - begun <= 6


async def test_a_post_of_the_callers_own_waits_for_nothing() -> None:
    """Whatever is no read goes at once, though many reads wait for their turn."""
    loop = asyncio.get_running_loop()
    async with pair() as (emu, client):
        begun = loop.time()
        reads = [asyncio.create_task(client.list(v1.TextToVideo)) for _ in range(30)]
        await asyncio.sleep(0)
        clip = {"prompt": "a boat", "model_name": "kling-v2-6"}
        await asyncio.gather(*(client.request("POST", "/v1/videos/text2video", json=clip) for _ in range(5)))
        assert loop.time() - begun < 1 and len(emu.tasks) == 5
        await asyncio.gather(*reads)
