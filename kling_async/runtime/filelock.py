"""A file that one process holds. The system takes the lock back when that process ends, however it ends."""

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

__all__ = ["TAKEN", "FileLock", "Held", "lock"]


class Held(Exception):
    """Somebody else holds it."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        """Their process id, if they left it."""
        super().__init__(holder)


class FileLock:
    """A lock on a file of its own, which stays behind when released: to remove it would invite a race.

    Of two in one process the second is refused too. A child made by ``fork`` does not inherit it.

    Raises:
        Held: Somebody holds it.
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO | None = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", 0)
        try:
            lock(self._file.fileno())
        except OSError as error:
            if error.errno not in TAKEN:
                self.release()
                raise
            holder = self._file.read(20).decode("ascii", "replace").strip()
            self.release()
        else:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n".encode())
            _held.add(self)
            return
        raise Held(holder)

    def release(self) -> None:
        """Let others have it. Again: does nothing."""
        file, self._file = self._file, None
        if file is not None:
            _held.discard(self)
            file.close()


TAKEN: Final = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
"""What `lock` raises where somebody else holds it."""
_held: Final[weakref.WeakSet[FileLock]] = weakref.WeakSet()


def _forget() -> None:
    """Close a child's copies: the lock would outlive its holder in them."""
    for lock in tuple(_held):
        with contextlib.suppress(OSError):
            lock.release()


if sys.platform == "win32":
    import msvcrt

    _FAR: Final = 1 << 30  # a locked byte cannot be read by others, and the holder's id should be

    def lock(fd: int) -> None:
        """Lock an open file until it is closed; OSError if that cannot be had now."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def lock(fd: int) -> None:
        """Lock an open file until it is closed; OSError if that cannot be had now."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.register_at_fork(after_in_child=_forget)
