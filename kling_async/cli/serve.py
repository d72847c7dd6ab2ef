"""``kling emulator``: the emulator, until somebody stops it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from kling_async.emulator import Emulator

if TYPE_CHECKING:
    import argparse

__all__ = ["run_emulator"]


def run_emulator(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        print(f"kling: cannot serve on port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    async with Emulator(slots=options.slots, speed=options.speed, port=options.port) as emulator:
        slots = ", ".join(f"{name} {size}" for name, size in options.slots.items())
        print(f"An emulator of the Kling API, {options.speed:g} times as fast; slots: {slots}")
        print("Point a client at it:")
        for name, value in emulator.env().items():
            print(f"  export {name}={value}")
        print(f"Its ledger: {emulator.url}/_emulator/ledger   Ctrl-C ends it.", flush=True)
        await asyncio.Event().wait()
