"""Files that are still coming: private parts that survive a crash and are gone on with by the next attempt.

All in here is plain file work, done in threads by `kling_async.downloads`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from kling_async.core.ranges import NOTHING, OVERLAP, Here
from kling_async.headers import HEAD, judge_result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kling_async.core.ranges import Whole

__all__ = ["Partial", "write_private"]

_UMASK: Final = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)
_OPEN: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_WINDOWS: Final = sys.platform == "win32"
_CHASES: Final = 10


class _Note(msgspec.Struct, frozen=True):
    """What a part is the beginning of; lies beside it."""

    source: str
    etag: str
    total: int


class Partial:
    """One file on its way to ``target``, by way of ``.<name>.part`` beside it, which only this user can read.

    The part has a lock as long as somebody works on it; who comes second gets a part of a random name.
    Methods run one at a time; each may raise OSError.

    Args:
        target: Where the whole file will be.
        source: What it is the file of: a part of another source is not gone on with.
    """

    def __init__(self, target: Path, source: str) -> None:
        self.target = target
        self._source = source
        self._path = target.with_name(f".{target.name}.part")
        self._file: BinaryIO | None = None
        self._note: _Note | None = None
        self._shared = True
        """Whether others would use the same part, were it not locked."""
        self._noted = False
        """Whether a note may lie beside it."""

    @property
    def _note_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json")

    @property
    def _open(self) -> BinaryIO:
        assert self._file is not None  # noqa: S101 - open() came first
        return self._file

    def open(self) -> Here:
        """Open and lock the part; return what is here of the file."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._locked()
        self._note = self._read_note() if self._shared else None
        return self.here()

    def here(self) -> Here:
        """Return what is here of the file: what came so far, else what lies in its place."""
        size = os.fstat(self._open.fileno()).st_size
        if self._note is None or not 0 < size <= self._note.total:
            return self._placed()
        return Here(size, _tail(self._open, size), self._note.total, self._note.etag)

    def _locked(self) -> BinaryIO:
        for _ in range(_CHASES):
            file = os.fdopen(os.open(self._path, _OPEN, 0o600), "r+b")
            if not _lock(file.fileno()):
                file.close()
                break
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    return file
            file.close()  # it got its name, or was removed, before we had the lock
        self._shared = False
        self._path = self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}.part")
        return os.fdopen(os.open(self._path, _OPEN | os.O_EXCL, 0o600), "r+b")

    def _read_note(self) -> _Note | None:
        try:
            data = self._note_path.read_bytes()
        except FileNotFoundError:
            return None
        self._noted = True
        try:
            note = msgspec.json.decode(data, type=_Note)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return note if note.source == self._source and note.etag else None

    def _placed(self) -> Here:
        with contextlib.suppress(OSError), self.target.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size and judge_result(self.target.suffix, file.read(HEAD)) is None:
                return Here(size, _tail(file, size), size)
        return NOTHING

    def begin(self, coming: Whole) -> None:
        """Forget what is here: the file comes anew, from its first byte on."""
        self._note = None
        self._drop_note()
        self._open.seek(0)
        self._open.truncate()
        if self._shared and coming.etag and coming.total:
            self._note, self._noted = _Note(self._source, coming.etag, coming.total), True
            write_private(self._note_path, msgspec.json.encode(self._note), lasting=False)

    def append(self, chunks: Iterable[bytes]) -> None:
        """Put bytes behind what is here."""
        self._open.seek(0, os.SEEK_END)
        self._open.writelines(chunks)
        self._open.flush()

    def publish(self, chunks: Iterable[bytes]) -> None:
        """Add the last bytes; give the whole file its name, and the rights of any new file."""
        self.append(chunks)
        os.fsync(self._open.fileno())
        self._path.chmod(0o666 & ~_UMASK)
        if _WINDOWS:
            self._open.close()
        self._path.replace(self.target)
        self._drop_note()
        self._open.close()
        _sync_folder(self.target.parent)

    @property
    def closed(self) -> bool:
        """Whether there is nothing to end."""
        return self._file is None or self._file.closed

    def close(self, *, keep: bool) -> None:
        """End the work on it. What cannot be gone on with, or is not to be kept, is removed."""
        file, self._file = self._file, None
        if file is None or file.closed:
            return
        with contextlib.suppress(OSError), file:
            if keep and self._note is not None and os.fstat(file.fileno()).st_size:
                return
            if _WINDOWS:
                file.close()
            self._path.unlink(missing_ok=True)
            self._drop_note()

    def _drop_note(self) -> None:
        if self._noted:
            self._note_path.unlink(missing_ok=True)
            self._noted = False


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - OVERLAP))
    return file.read(OVERLAP)


def write_private(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Write a small file in one step that only this user can read; ``lasting``: it survives a power cut."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, _OPEN | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if lasting:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can do that."""
    if _WINDOWS:
        return
    file = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(file)
    os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        os.lseek(file, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
