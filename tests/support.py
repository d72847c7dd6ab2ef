"""Shared by tests of the drivers: an emulator with a client of it, small requests, ways to let time pass."""

from __future__ import annotations

import asyncio
import random
import struct
import time
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kling_async import Client, v1
from kling_async.testing import Emulator, emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kling_async.events import Event


def clip(prompt: str = "a paper boat", **more: Any) -> v1.TextToVideo:
    """Make a small request that takes one video slot."""
    return v1.TextToVideo(prompt=prompt, **more)


def still(prompt: str = "a paper boat", **more: Any) -> v1.ImageGeneration:
    """Make a small request that takes one image slot."""
    return v1.ImageGeneration(prompt=prompt, **more)


def client_of(emu: Emulator, **options: Any) -> Client:
    """Make a client of the emulator: by API key unless options say otherwise, with seeded jitter."""
    if "access_key" not in options:
        options.setdefault("api_key", emu.api_key)
    options.setdefault("now", wall_clock())
    settings: dict[str, Any] = {"base_url": emu.url, "rng": random.Random(7), **options}
    return Client(**settings)


def wall_clock() -> Callable[[], float]:
    """Make a wall clock that advances with the running loop's clock, which may be virtual."""
    loop = asyncio.get_running_loop()
    start = time.time() - loop.time()
    return lambda: start + loop.time()


@asynccontextmanager
async def pair(
    slots: dict[str, int] | None = None,
    *,
    seconds: float | None = 30.0,
    client: dict[str, Any] | None = None,
    **emu: Any,
) -> AsyncIterator[tuple[Emulator, Client]]:
    """Start an emulator whose tasks take ``seconds``, and a client of it."""
    async with emulator(slots=slots or {"video": 5, "image": 9}, **emu) as server:
        if seconds is not None:
            server.set_duration(seconds)
        async with client_of(server, **(client or {})) as user:
            yield server, user


def png(width: int = 320, height: int = 320) -> bytes:
    """Encode a grey picture in as few bytes as that size allows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + b"\x80" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class Recorder:
    """Collect the events of a client."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]


async def settle(turns: int = 50) -> None:
    """Run everything that can run before time passes."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Any, seconds: float = 600.0, *, step: float = 0.1) -> None:
    """Let virtual time pass until ``condition()`` is true; fail after ``seconds``."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, f"not true within {seconds:g} s"
        await asyncio.sleep(step)
