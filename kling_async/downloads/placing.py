"""Give a whole file its final name without replacing a file that somebody else put there.

Blocking file work only, run in threads.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import itertools
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from kling_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kling_async.errors import DownloadFault

__all__ = [
    "Existing",
    "KnownFile",
    "Placement",
    "digest",
    "is_known",
    "move_to",
    "place",
    "prove_folder",
    "writing_error",
]

_WINDOWS: Final = sys.platform == "win32"
_PLACES_MAX: Final = 1000
"""Names that are tried before a file is given up: nobody has so many files of one name on purpose."""
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
)
"""Errors of file systems without hard links."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_THIS_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ, errno.EINVAL})
"""Errors about one file's name: others can still be stored."""
_PROOF: Final = 4096
_PIECE: Final = 1024**2


class Existing(enum.Enum):
    """How to treat a file that is there under the name wanted."""

    REPLACE = "replace"
    """It is ours: one of equal length and ends is left alone, another one is replaced."""
    RENEW = "renew"
    """It was ours and has changed since, as its content hash shows: fetched again and replaced."""
    COMPARE = "compare"
    """Nobody knows whose it is. Equal length, first 64 KiB and last 4 KiB count as equal, and nothing is
    fetched; another one is never replaced."""
    KEEP = "keep"
    """It is not known to the journal: adopted if its content hash is equal, otherwise never touched."""


class KnownFile(NamedTuple):
    """A file that a journal knows as stored."""

    name: str
    """Relative to the folder of the files."""
    size: int
    """Bytes."""
    sha256: str = ""
    """Hash of the content in hexadecimal; empty if the journal does not hold one."""


class Placement(NamedTuple):
    """Where a whole file ended up."""

    path: Path
    fresh: bool
    """False: an equal file was there before and is left alone."""
    sha256: str


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole open file, in hexadecimal."""
    file.seek(0)
    found = hashlib.sha256()
    while data := file.read(_PIECE):
        found.update(data)
    return found.hexdigest()


def is_known(path: Path, known: KnownFile) -> bool:
    """Tell whether a file on disk still is what the journal knows, by length and content hash."""
    return bool(known.sha256) and _is_equal(path, known.size, known.sha256)


def _is_equal(path: Path, size: int, sha256: str) -> bool:
    """Tell whether a path is a regular file of that content; one that cannot be read is another."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        with path.open("rb") as file:
            return digest(file) == sha256
    except OSError:
        return False


def _places(target: Path) -> Iterator[Path]:
    """Yield the name wanted, then the same with -2, -3, and so on before its suffix."""
    yield target
    stem = target.name.removesuffix(target.suffix)
    for number in itertools.count(2):
        yield target.with_name(f"{stem}-{number}{target.suffix}")


def place(part: Path, target: Path, size: int, sha256: str) -> Placement:
    """Move a part to the first name that is free; an equal file under one of the names is adopted.

    The part of an adopted file is left to its owner.

    Raises:
        OSError: It cannot be moved.
    """
    for path in itertools.islice(_places(target), _PLACES_MAX):
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):  # somebody was faster: compare that file
                move_to(part, path)
                return Placement(path, True, sha256)
        if _is_equal(path, size, sha256):
            return Placement(path, False, sha256)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def move_to(part: Path, path: Path) -> None:
    """Rename a file to a name that nobody has.

    A hard link is the one way on POSIX that never replaces; where there are none, a look comes first.

    Raises:
        FileExistsError: Somebody has it.
    """
    if _WINDOWS:
        part.rename(path)  # which never replaces there
        return
    try:
        os.link(part, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        part.unlink()
        return
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    part.rename(path)


def prove_folder(folder: Path) -> None:
    """Make a folder, write a file in it as downloads do, read it back, rename it and remove it.

    Raises:
        OSError: Something of this does not work, so that no file could be stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = secrets.token_bytes(_PROOF)
    name = f".kling-{secrets.token_hex(6)}"
    part, moved = folder / f"{name}.part", folder / f"{name}.proof"
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(part, flags, 0o600), "r+b") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_to(part, moved)
        read = moved.read_bytes()
        moved.unlink()
    except BaseException:
        for path in (part, moved):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise
    if read != data:
        raise OSError(errno.EIO, "what was written is not what is read")


def writing_error(path: Path, error: OSError, task_id: str) -> DownloadError:
    """Return the error for a file that could not be written."""
    fault: DownloadFault = "file" if error.errno in _THIS_NAME else "storage"
    reason = error.strerror or type(error).__name__
    text = f"cannot write {str(path)!r}: {reason}"
    return DownloadError(text, task_id=task_id, disk_full=error.errno in _FULL, fault=fault)
