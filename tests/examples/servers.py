"""Run uvicorn with workers as a process of its own, and end it or its workers by signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["ROOT", "Server", "free_port"]

ROOT: Final = Path(__file__).parents[2]
_START: Final = re.compile(r"Started server process \[(\d+)\]")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Server:
    """A server of one application; started again, it has the same port and folder.

    Args:
        app: Module and variable, found in ``folder`` or in the project.
        folder: Working directory; its ``log.txt`` takes the output of all workers.
        env: Environment variables besides those of this process.
        workers: How many processes serve.
    """

    def __init__(self, app: str, folder: Path, env: Mapping[str, str], *, workers: int = 2) -> None:
        self.app = app
        self.folder = folder
        self.env = env
        self.workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log.txt"
        self._process: asyncio.subprocess.Process | None = None

    def said(self) -> str:
        """Return all output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def pids(self) -> list[int]:
        """Return the worker processes that were started so far, in that order, also those that ended."""
        return [int(pid) for pid in _START.findall(self.said())]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve; end in good order."""
        before = self.said().count("startup complete")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", self.app, "--port", str(self.port)),
                *("--workers", str(self.workers), "--timeout-graceful-shutdown", "2", "--no-access-log"),
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", **self.env},
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(60):
                while self.said().count("startup complete") < before + self.workers:
                    assert self._process.returncode is None, self.said()
                    await asyncio.sleep(0.05)
            yield
        finally:
            await self._end()

    async def _end(self) -> None:
        """Ask the server to end, as a deployment does; kill it with its workers if it does not."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 60)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
