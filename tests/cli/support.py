"""Shared by tests of commands: an emulator in a thread of its own, and the settings that name it."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kling_async.cli import main
from kling_async.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(speed: float = 1000.0, **options: Any) -> Iterator[Emulator]:
    """Serve an emulator from another thread: `main` runs event loops of its own in this one."""
    started, stop = threading.Event(), asyncio.Event()
    emulator = Emulator(speed=speed, **options)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with emulator:
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield emulator
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)


def settings_for(emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Path:
    """Write a TOML file that names an emulator, with queries that come often; make it the user's."""
    home = folder / "home"
    path = home / "kling" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f'api_key = "{emulator.api_key}"\nbase_url = "{emulator.url}"\n{more}\n'
        "[polling]\nmin_interval = 0.02\nmax_interval = 0.05\nrequest_cost = 0.001\n"
        "requests_per_second = 200\n"
    )
    path.chmod(0o600)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return path


class Ran(NamedTuple):
    """The status and the output of a command that has ended."""

    status: int
    out: str
    err: str


def kling(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """Run a command in this process."""
    capsys.readouterr()
    # the commands that are printed begin with the name of the program
    with pytest.MonkeyPatch.context() as program:
        program.setattr(sys, "argv", ["kling"])
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else -1
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return Ran(status, found.out, found.err)
