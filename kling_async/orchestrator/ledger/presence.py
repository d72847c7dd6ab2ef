"""Presence: how the processes that use a ledger know each other's lives, and reach each other.

A process lives as long as it holds the lock on a file of its own beside the ledger: the system releases it
however the process ends, and a stopped process keeps it.
"""

from __future__ import annotations

import glob
import secrets
from typing import TYPE_CHECKING

from kling_async.orchestrator.ledger.mailbox import Mailbox
from kling_async.runtime.filelock import FileLock, LockHeld

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.orchestrator.ledger.mailbox import Letter

__all__ = ["Presence"]


class Presence:
    """Show the others that this process lives, and where it gets results; `renew` begins.

    Args:
        path: The ledger's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.token = ""
        """Names this process in the ledger, and its files."""
        self._lock: FileLock | None = None
        self.mailbox = Mailbox(None)
        """Where it gets results from others."""

    def renew(self) -> None:
        """Take a lock and a mailbox under a new name."""
        token = secrets.token_hex(8)
        lock = FileLock(self._beside(token, "lock"))
        self.end()
        self.token, self._lock, self.mailbox = token, lock, Mailbox(self._beside(token, "sock"))

    def end(self) -> None:
        """Release the lock, and close the mailbox."""
        self.mailbox.close()
        if self._lock is not None:
            self._lock.release()

    def lives(self, token: str) -> bool:
        """Tell whether another process lives."""
        try:
            FileLock(self._beside(token, "lock")).release()
        except LockHeld:
            return True
        return False

    def has_company(self) -> bool:
        """Tell whether any other process lives that uses a file of this name, be it in the ledger or not."""
        for path in self._path.parent.glob(f"{glob.escape(self._path.name)}.*.lock"):
            token = path.suffixes[-2].removeprefix(".")
            if token != self.token:
                if self.lives(token):
                    return True
                self.remove(token)
        return False

    def send(self, token: str, letter: Letter) -> None:
        """Send a result to another process, if it can be reached."""
        self.mailbox.send(self._beside(token, "sock"), letter)

    def remove(self, token: str) -> None:
        """Remove the files of a process that is dead, or leaves; "": of none."""
        for kind in ("lock", "sock") if token else ():
            self._beside(token, kind).unlink(missing_ok=True)

    def _beside(self, token: str, kind: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{token}.{kind}")
