"""Run ``kling emulator``: serve the emulator until interrupted."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from kling_async.emulator import Emulator

if TYPE_CHECKING:
    import argparse

__all__ = ["run_emulator"]


def run_emulator(options: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit status."""
    try:
        asyncio.run(_serve(options))
    except BrokenPipeError:  # the reader of our output has gone; an OSError, but not one of the port
        return 1
    except OSError as error:
        print(f"kling: cannot serve on port {options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    async with Emulator(
        slots=options.slots, foreign=options.foreign, speed=options.speed, port=options.port
    ) as emulator:
        print(emulator.banner())
        print(f"ledger: {emulator.url}/_emulator/ledger", "Ctrl-C ends it", sep="\n", flush=True)
        await asyncio.Event().wait()
