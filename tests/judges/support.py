"""Helpers that call the clients of others."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from kling_async.testing import Emulator

BOAT = "https://example.com/boat.png"
LAKE = "https://example.com/lake.png"

PNG = b"\x89PNG"
MP4 = b"ftyp"
"""Marks in the first bytes of such files."""


def keys_of(emu: Emulator) -> dict[str, Any]:
    """Return the key pair of the emulator's account, under the names that both clients use."""
    return {"access_key": emu.access_key, "secret_key": emu.secret_key}


def driver_of(prompture: Any, name: str, emu: Emulator) -> Any:
    """Return one of prompture's drivers, pointed at the emulator."""
    return getattr(prompture, name)(endpoint=emu.url, **keys_of(emu))


async def generated(driver: Any, prompt: str, options: dict[str, Any]) -> dict[str, Any]:
    """Call a driver and return its answer; a blocking driver runs in a thread."""
    method = getattr(driver, "generate_video", None) or driver.generate_image
    if not inspect.iscoroutinefunction(method):
        return await asyncio.to_thread(method, prompt, options)
    made: dict[str, Any] = await method(prompt, options)
    return made


async def downloaded(url: str) -> bytes:
    """Download a file."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()
