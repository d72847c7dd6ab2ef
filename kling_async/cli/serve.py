"""Run ``kling emulator``: serve the emulator until interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Final

from kling_async.emulator import Audio, Clip, Editing, Element, Emulator, Face, Faces, Gateway, Voice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

__all__ = ["run_emulator"]

ITEMS: Final[dict[str, Callable[[str, float], Audio | Clip | Editing | Element | Faces | Voice]]] = {
    "clip": lambda item_id, seconds: Clip(id=item_id, seconds=seconds),
    "audio": lambda item_id, seconds: Audio(id=item_id, seconds=seconds),
    "faces": lambda item_id, seconds: Faces(
        id=item_id,
        clip=Clip(id=f"{item_id}-clip", seconds=seconds),
        faces=[Face(id="0", start_ms=0, end_ms=round(seconds * 1000))],
    ),
    "editing": lambda item_id, seconds: Editing(
        id=item_id, clip=Clip(id=f"{item_id}-clip", seconds=seconds), marks={0: [(0.5, 0.5)]}
    ),
    "voice": lambda item_id, _: Voice(id=item_id),
    "element": lambda item_id, _: Element(id=int(item_id)),
}
"""Makers of the items that ``--know`` names, by kind, from an id and a length in seconds."""


def run_emulator(options: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit status."""
    return asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> int:
    async with contextlib.AsyncExitStack() as stack:
        try:
            emulator = await stack.enter_async_context(_emulator(options))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            text = f"kling: cannot serve on port {options.port}: {reason}; choose another --port"
            print(text, file=sys.stderr)
            return 1
        emulator.know(*(ITEMS[kind](item_id, seconds) for kind, item_id, seconds in options.know))
        print(emulator.banner())
        for kind, item_id, _ in options.know:
            print(f"known: {kind} {item_id}")
        # flushed: a program that reads these lines through a pipe waits for the address
        print(f"ledger: {emulator.url}/_emulator/ledger", "Ctrl-C ends it", sep="\n", flush=True)
        await asyncio.Event().wait()
    return 0


def _emulator(options: argparse.Namespace) -> Emulator:
    return Emulator(
        slots=options.slots,
        foreign=options.foreign,
        speed=options.speed,
        port=options.port,
        webhook_secret=options.webhook_secret,
        gateway=None if options.gateway is None else Gateway(dialect=options.gateway),
    )
