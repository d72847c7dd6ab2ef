"""A terminal as a person has it: type, press keys, look at the screen; by tmux, on a server of its own."""

from __future__ import annotations

import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Screen", "needs_tmux", "terminal"]

ROOT: Final = Path(__file__).parents[2]

needs_tmux: Final = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
"""Marks tests that look at a terminal."""


class Screen:
    """One terminal with a shell, in which ``kling`` is the command of this project."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._socket, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def begin(self, line: str) -> None:
        """Type a command that reads from the terminal; return once it has that.

        The shell's line editor takes keys in a mode of its own: what is typed before the shell has left that
        mode may never reach the command.
        """
        self.type(f"printf 'be%s\\n' gun; {line}")
        self.wait_for("\nbegun")

    def press(self, key: str) -> None:
        """Press a key, by tmux's name: ``C-c``, ``Enter``."""
        self._tmux("send-keys", key)

    def look(self) -> list[str]:
        """Return the lines that are on the screen, the empty ones at its end left out."""
        return self._tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def printed(self) -> list[str]:
        """Return the lines as they were printed: whole, with the spaces at which they were wrapped."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-pJ").rstrip("\n").split("\n")]

    def wait_for(self, text: str, seconds: float = 30.0) -> list[str]:
        """Return the screen as soon as it shows a text."""
        until = time.monotonic() + seconds
        while text not in "\n".join(screen := self.look()):
            assert time.monotonic() < until, "\n".join(screen)
            threading.Event().wait(0.05)
        return screen

    def clear(self) -> None:
        """Empty the screen."""
        self.type("clear")
        threading.Event().wait(0.1)


@contextmanager
def terminal(
    folder: Path, columns: int, rows: int = 40, env: Mapping[str, str] | None = None
) -> Iterator[Screen]:
    """Open a terminal of that size, with a folder as the working directory.

    Args:
        folder: Where the shell starts.
        columns: Characters of a line.
        rows: Lines.
        env: Environment variables besides those of this process.
    """
    socket = f"kling-{secrets.token_hex(6)}"  # a server that ends goes on listening for a moment
    shell = folder / "bashrc"
    exports = {"PYTHONPATH": str(ROOT), "PS1": "$ ", "TERM": "screen-256color", **(env or {})}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
    lines.append(f'kling() {{ {shlex.quote(sys.executable)} -m kling_async "$@"; }}')
    shell.write_text("\n".join(lines) + "\n")
    size = ["-x", str(columns), "-y", str(rows)]
    command = ["new-session", "-d", *size, "-c", str(folder), f"bash --rcfile {shlex.quote(str(shell))}"]
    screen = Screen(socket)
    screen._tmux(*command)
    try:
        screen.wait_for("$")
        yield screen
    finally:
        screen._tmux("kill-server")
