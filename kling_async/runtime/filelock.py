"""Lock a file for one process; the system releases the lock when that process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["TAKEN", "FileLock", "LockHeld", "lock"]


class LockHeld(Exception):
    """Raised where another process, or another `FileLock` of this one, holds the lock.

    Args:
        holder: Process id of the holder; empty if unknown.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(holder)


class FileLock:
    """Hold a lock on a file of its own, until `release` or the end of the process.

    The file stays when the lock is released: removing it would race with others who open it. A second lock in
    the same process is refused too. A child made by ``fork`` does not inherit the lock.

    Raises:
        LockHeld: Another holder has the lock.
        OSError: The file cannot be made, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        # unbuffered: a process that is refused reads the holder's id from the file
        self._file: BinaryIO | None = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", 0)
        try:
            lock(self._file.fileno())
        except OSError as error:
            if error.errno not in TAKEN:
                self.release()
                raise
            holder = self._file.read(20).decode("ascii", "replace").strip()
            self.release()
            raise LockHeld(holder) from None
        # only after locking: until then the file holds the id of whoever has the lock
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())
        _held.add(self)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None:
            _held.discard(self)
            file.close()


TAKEN: Final = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
"""Error numbers of `lock` for a lock that is held: EAGAIN of ``flock``, the others of Windows."""
_held: Final[weakref.WeakSet[FileLock]] = weakref.WeakSet()


def _release_in_child() -> None:
    """Close the copies that ``fork`` made: a lock of ``flock`` holds until the last copy is closed."""
    for held in tuple(_held):
        with contextlib.suppress(OSError):
            held.release()


if sys.platform == "win32":
    import msvcrt

    # Windows keeps others from reading a locked byte; this one lies far behind the holder's process id
    _LOCKED_BYTE: Final = 1 << 30

    def lock(fd: int) -> None:
        """Lock an open file until it is closed; raise OSError if the lock is held."""
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def lock(fd: int) -> None:
        """Lock an open file until it is closed; raise OSError if the lock is held."""
        # lockf() grants a second lock to the same process, and drops the first with any descriptor closed
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.register_at_fork(after_in_child=_release_in_child)
