"""Writes a journal with jobs in every state, by whichever version of this package is on the path.

``tests/batch/data/journal-0.1.sqlite`` was written so, by the code before the modules moved into rooms::

    git worktree add /tmp/before c351475
    PYTHONPATH=/tmp/before python tests/batch/make_journal.py /tmp/journal

It holds no signed address, no key and no path but that of the picture, ``/tmp/journal/in.png``. The files
that it names are not kept: only their sizes count. Uses nothing but the public face, so that it runs with
every version; each state is a run of its own, for a run waits for what the ones before it left running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async import Client, OutOfUnits, Polling, media, v1
from kling_async.testing import Emulator, emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async import TaskRequest


def png() -> bytes:
    """A grey picture of 320 x 320."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x80" * 320) * 320
    header = struct.pack(">IIBBBBB", 320, 320, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


def requests(picture: Path) -> dict[str, TaskRequest[Any]]:
    """All requests of the journal, by key."""
    return {
        "plain": v1.TextToVideo(prompt="plain"),
        "clip": v1.TextToVideo(prompt="clip", duration=5),
        "stills": v1.ImageGeneration(prompt="stills", n=2),
        "animated": v1.ImageToVideo(prompt="animated", image=media(picture), extra={"note": 1.0}),
        "files missing": v1.TextToVideo(prompt="files missing"),
        "moderated": v1.TextToVideo(prompt="moderated"),
        "broken": v1.TextToVideo(prompt="broken"),
        "running": v1.TextToVideo(prompt="running"),
        "sent, made": v1.TextToVideo(prompt="sent, made"),
        "sent, not made": v1.TextToVideo(prompt="sent, not made"),
        "out of units": v1.TextToVideo(prompt="out of units"),
    }


def label(request: TaskRequest[Any]) -> str:
    """The label of a request: its type."""
    return type(request).__name__


class Writer:
    """Runs batches on one journal."""

    def __init__(self, emu: Emulator, folder: Path) -> None:
        self.emu = emu
        self.folder = folder
        picture = folder / "in.png"
        picture.write_bytes(png())
        os.utime(picture, (1e9, 1e9))  # a journal keeps no digest of a file changed just now
        self.requests = requests(picture)

    async def run(
        self, *keys: str, leave: Callable[[], object] | None = None, download: bool = True, **options: Any
    ) -> None:
        """Run a batch of some requests to its end, or until a condition holds."""
        polling = Polling(min_interval=0.05, max_interval=0.1)
        client = Client(api_key=self.emu.api_key, base_url=self.emu.url, polling=polling)
        if download:
            options["download_to"] = self.folder / "out"
        pairs = [(key, self.requests[key]) for key in keys]
        journal = self.folder / "journal.sqlite"
        async with (
            client,
            client.batch(
                pairs, journal=journal, name="{index}", max_units=1000, label=label, **options
            ) as results,
        ):
            while leave is not None and not leave():  # noqa: ASYNC110 - the emulator tells of no create
                await asyncio.sleep(0.01)
            if leave is None:
                async for outcome in results:
                    print(outcome.key, outcome.ok, outcome.error or "")  # noqa: T201 - a script
            await asyncio.sleep(0.2)

    def task(self, prompt: str) -> str | None:
        """The id of a task, once it is made."""
        return next((id_ for id_, task in self.emu.tasks.items() if task.body["prompt"] == prompt), None)

    async def fail(self, prompt: str, message: str) -> None:
        """Let a task fail once it is made."""
        while self.task(prompt) is None:  # noqa: ASYNC110 - the emulator tells of no create
            await asyncio.sleep(0.01)
        self.emu.finish(self.task(prompt) or "", "failed", message)

    async def write(self) -> None:
        """Bring a job into each state."""
        emu = self.emu
        await self.run("plain", download=False)
        await self.run("clip", "stills", "animated")
        emu.fault("media", status=404, times=None)
        await self.run("clip", "files missing", refetch=False)
        emu.faults.clear()
        emu.set_duration(1000)
        await asyncio.gather(
            self.run("moderated", "broken"),
            self.fail("moderated", "Failure to pass the risk control system"),
            self.fail("broken", "internal error"),
        )
        await self.run("clip", "stills", "running", leave=lambda: self.task("running"))
        emu.fault("create", kind="hang", acts=True)
        await self.run("sent, made", leave=lambda: self.task("sent, made"))
        emu.faults.clear()
        emu.fault("create", kind="hang", acts=False)
        rows = len(emu.ledger.creates)
        await self.run("sent, not made", leave=lambda: len(emu.ledger.creates) > rows)
        emu.faults.clear()
        emu.fault("create", code=1102, status=429, times=None)
        with contextlib.suppress(OutOfUnits):
            await self.run("out of units")


async def main(folder: Path) -> None:
    """Write the journal into a folder."""
    async with emulator(slots={"video": 5, "image": 9}) as emu:
        emu.set_duration(0.2)
        await Writer(emu, folder).write()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True)
    asyncio.run(main(Path(sys.argv[1])))
