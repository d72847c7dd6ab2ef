"""An emulated Kling API for tests of programs that use this library: free of cost, and failing on demand.

::

    async with emulator(slots={"video": 2}) as emu:
        emu.fault("create", status=503, code=5001, times=2)
        async with Client(base_url=emu.url, api_key=emu.api_key) as client:
            ...
        assert emu.ledger.peak("video") <= 2

Each change of a task's status is posted to the ``callback_url`` of its create, if that is on loopback, and
signed by ``emulator(webhook_secret="whsec_...")``; ``emu.fault("callback", kind="lost")`` loses one, and
``emu.ledger.callbacks`` lists them.

Start a new emulator in each test. It runs in the test's event loop, on a free port of loopback. With a
virtual clock, tasks that take minutes end at once.
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
    Gateway,
    Ledger,
    Pack,
    Row,
    SentCallback,
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
    "Gateway",
    "Ledger",
    "Pack",
    "Row",
    "SentCallback",
    "Task",
    "Voice",
    "emulator",
]

emulator = Emulator
"""Alias of `Emulator`, for ``async with emulator(...) as emu``."""
