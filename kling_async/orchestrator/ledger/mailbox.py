"""Mailboxes: the record of a task that ended goes from the process that asked to the one whose task it is.

It goes by a datagram of the system's, past the ledger's file: records hold addresses, which do not lie there.
Nothing relies on it. Where there are no such sockets, the path is too long for one, or a box is full, the
other process hears from the ledger that its task has ended, and asks for the result itself.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from kling_async.records import TaskRecord  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Letter", "Mailbox"]

_SIZE_MAX: Final = 1 << 18
"""Bytes of the longest letter: far more than a task object has."""
_AT_ONCE: Final = 1000
"""Letters read at once: more than a box holds."""


class Letter(NamedTuple):
    """A record, as far as whoever gets it must know."""

    endpoint: str
    """The path of the task's endpoint; empty: the record is that of a verified callback, which names none."""
    pool: str
    record: TaskRecord


class Mailbox:
    """The mailbox of one process: gets its letters, and sends letters to others.

    Args:
        path: Of the socket; other users of the machine cannot write to it. None: there is no box.
    """

    def __init__(self, path: Path | None) -> None:
        self._socket: socket.socket | None = None
        if path is None:
            return
        with contextlib.suppress(OSError, AttributeError):  # not all systems have AF_UNIX
            self._socket = _new_socket()
            self._socket.bind(str(path))
            path.chmod(0o600)

    def send(self, to: Path, letter: Letter) -> bool:
        """Send a letter; return whether it was taken. Nobody waits for a box that is full, or not there."""
        if self._socket is None:
            return False
        with contextlib.suppress(OSError):
            self._socket.sendto(msgspec.json.encode(letter), str(to))
            return True
        return False

    def receive(self) -> list[Letter]:
        """Return the letters that have come."""
        letters: list[Letter] = []
        with contextlib.suppress(OSError):  # among them BlockingIOError: there are no more
            while self._socket is not None and len(letters) < _AT_ONCE:
                text = self._socket.recv(_SIZE_MAX)
                with contextlib.suppress(msgspec.DecodeError):  # of another version: the file says enough
                    letters.append(msgspec.json.decode(text, type=Letter))
        return letters

    def close(self) -> None:
        """Get no more letters."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _new_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    # some systems bound a datagram by this, and by far less at first
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SIZE_MAX)
    return made
