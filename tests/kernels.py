"""Drive a real Jupyter kernel: run cells, interrupt them, see their outputs as a notebook would."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Cell", "Kernel", "running_kernel"]

_ROOT: Final = Path(__file__).parents[1]
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Cell:
    """The outputs of one cell."""

    text: str = ""
    """What it printed, on both streams."""
    displays: list[dict[str, str]] = field(default_factory=list)
    """Its displays and its value, by media type; one that was updated stands as it is now."""
    updates: int = 0
    error: str = ""
    """Name of the error that ended it."""
    traceback: str = ""
    seconds: float = 0.0
    """How long it ran on after it was interrupted, if it was."""

    @property
    def last(self) -> dict[str, str]:
        """The last display, or its value."""
        return self.displays[-1]


class Kernel:
    """A kernel, and the client of it that a notebook would be.

    Args:
        manager: Of the process.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._client: Any = None
        self.said = ""
        """All that came on its streams, whichever cell it belonged to."""

    def connect(self) -> None:
        """Open the channels, and wait until it answers."""
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def disconnect(self) -> None:
        """Close the channels."""
        self._client.stop_channels()

    def restart(self) -> None:
        """Restart the process: its memory is lost."""
        self.disconnect()
        self._manager.restart_kernel(now=False)
        self.connect()

    def run(self, code: str, *, interrupt_at: str = "") -> Cell:
        """Run a cell to its end.

        Args:
            code: Of the cell.
            interrupt_at: A text of its output, at which it is interrupted once.
        """
        request, cell, began = self._client.execute(code), Cell(), 0.0
        ids: list[str] = []
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                self.said += content["text"]
            if message["parent_header"].get("msg_id") != request:
                continue
            if kind == "status" and content["execution_state"] == "idle":
                cell.seconds = time.monotonic() - began if began else 0.0
                return cell
            _take(cell, ids, kind, content)
            shown = cell.text + "".join(display["text/plain"] for display in cell.displays)
            if interrupt_at and not began and interrupt_at in shown:
                self._manager.interrupt_kernel()
                began = time.monotonic()

    def value(self, code: str) -> str:
        """Return the text of a cell's value; the cell must succeed."""
        cell = self.run(code)
        assert not cell.error, cell.traceback
        return cell.last["text/plain"] if cell.displays else cell.text


def _take(cell: Cell, ids: list[str], kind: str, content: dict[str, Any]) -> None:
    """Add an output to a cell, or replace the one that it updates."""
    name = content.get("transient", {}).get("display_id", "")
    if kind == "stream":
        cell.text += content["text"]
    elif kind == "error":
        cell.error = content["ename"]
        cell.traceback = _COLOURS.sub("", "\n".join(content["traceback"]))
    elif kind in {"display_data", "execute_result"}:
        cell.displays.append(content["data"])
        ids.append(name)
    elif kind == "update_display_data":
        cell.displays[ids.index(name)] = content["data"]
        cell.updates += 1


@contextmanager
def running_kernel(folder: Path, env: Mapping[str, str]) -> Iterator[Kernel]:
    """Start a kernel in a folder, and end it in good order; what its process says is in ``kernel.log``."""
    manager = KernelManager(kernel_name="python3")
    paths = {
        "PYTHONPATH": str(_ROOT),
        "IPYTHONDIR": str(folder / ".ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    with (folder / "kernel.log").open("ab") as log:
        manager.start_kernel(cwd=str(folder), env={**os.environ, **paths, **env}, stdout=log, stderr=log)
        kernel = Kernel(manager)
        try:
            kernel.connect()
            yield kernel
        finally:
            kernel.disconnect()
            manager.shutdown_kernel(now=False)
