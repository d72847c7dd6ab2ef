"""Open files that others named: regular ones only, since any other may block for ever, or never end."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

__all__ = ["open_regular", "read_regular", "why_unreadable"]

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading; never wait for a pipe's writer or a device.

    Raises:
        OSError: It is missing, cannot be read, or is no regular file.
    """
    # before it is opened, since that alone rewinds a tape; and after it, in case another took its place
    _refuse_others(os.stat(path))  # noqa: PTH116 - a path may be a text here
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _refuse_others(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        most: Bytes from which on it is too large to be read.

    Raises:
        OSError: As by `open_regular`, or it is too large.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= most:
            data = file.read(most + 1)
            if len(data) <= most:
                return data
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def why_unreadable(error: OSError | ValueError) -> str:
    """Return why a file could not be read, in the system's words; a ValueError is raised for a NUL only."""
    if not isinstance(error, OSError):
        return "its name contains a NUL"
    return error.strerror or str(error) or type(error).__name__


def _refuse_others(found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
    raise OSError(errno.EINVAL, f"it is {kind}, not a regular file; copy its content to one")
