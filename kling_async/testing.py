"""For tests of programs that use this library: a Kling API that costs nothing and fails on demand.

::

    async with emulator(slots={"video": 2}) as emu:
        emu.fault("create", status=503, code=5001, times=2)
        async with Client(base_url=emu.url, api_key=emu.api_key) as client:
            ...
        assert emu.ledger.peak("video") <= 2

A fresh one for each test, in the test's own event loop, on a free port of loopback. On a loop with a virtual
clock, tasks of minutes end at once.
"""

from __future__ import annotations

from kling_async.emulator import (
    Audio,
    Clip,
    Editing,
    Element,
    Emulator,
    Face,
    Faces,
    Fault,
    Ledger,
    Pack,
    Row,
    Task,
    Voice,
)

__all__ = [
    "Audio",
    "Clip",
    "Editing",
    "Element",
    "Emulator",
    "Face",
    "Faces",
    "Fault",
    "Ledger",
    "Pack",
    "Row",
    "Task",
    "Voice",
    "emulator",
]

emulator = Emulator
"""``async with emulator(...) as emu``; its arguments are those of `Emulator`."""
