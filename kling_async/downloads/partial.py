"""Files that are still coming: private parts that survive a crash and are gone on with by the next attempt.

All in here is plain file work, done in threads by `kling_async.downloads.result_files`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from kling_async.downloads.ranges import BEGINNING, NOTHING, OVERLAP, LocalPart
from kling_async.runtime.filelock import TAKEN, lock
from kling_async.wire.media_formats import HEAD, judge_result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kling_async.downloads.ranges import Whole

__all__ = ["Partial", "write_private"]

_UMASK: Final = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)
_THERE: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_OPEN: Final = _THERE | os.O_CREAT
_WINDOWS: Final = sys.platform == "win32"
_CHASES: Final = 10
_OTHERS: Final = 8
"""How many more parts of one file have names that are known beforehand, and so are found after a crash."""


class _Note(msgspec.Struct, frozen=True):
    """What a part is the beginning of; lies beside it."""

    source: str
    etag: str
    total: int


class Partial:
    """One file on its way to ``target``, by way of ``.<name>.part`` beside it, which only this user can read.

    The part has a lock as long as somebody works on it; who comes second gets ``.<name>.1.part``, and so on.
    What a crash left of those is not gone on with; whoever opens a part of the same file removes it. Methods
    run one at a time; each may raise OSError.

    Args:
        target: Where the whole file will be.
        source: What it is the file of: a part of another source is not gone on with.
    """

    def __init__(self, target: Path, source: str) -> None:
        self.target = target
        self._source = source
        self._path = self._named("")
        self._file: BinaryIO | None = None
        self._note: _Note | None = None
        self._shared = True
        """Whether others would use the same part, were it not locked."""
        self._noted = False
        """Whether a note may lie beside it."""

    def _named(self, which: str) -> Path:
        return self.target.with_name(f".{self.target.name}{which}.part")

    @property
    def _note_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json")

    @property
    def _open(self) -> BinaryIO:
        assert self._file is not None  # noqa: S101 - open() came first
        return self._file

    def open(self) -> LocalPart:
        """Open and lock the part; return what is here of the file."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._locked()
        self._note = self._read_note() if self._shared else None
        return self.here()

    def here(self) -> LocalPart:
        """Return what is here of the file: what came so far, else what lies in its place."""
        size = os.fstat(self._open.fileno()).st_size
        if self._note is None or not 0 < size <= self._note.total:
            return self._placed()
        return LocalPart(size, _tail(self._open, size), self._note.total, self._note.etag)

    def _locked(self) -> BinaryIO:
        others = [self._named(f".{number}") for number in range(1, _OTHERS + 1)]
        try:
            for path in others:
                _sweep(path)
            for path in (self._path, *others):
                if (file := _take(path)) is not None:
                    self._shared = path == self._path
                    self._path = path
                    return file
        except _NoLocks:
            pass
        self._shared = False
        self._path = self._named(f".{secrets.token_hex(4)}")
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

    def _placed(self) -> LocalPart:
        with contextlib.suppress(OSError), self.target.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(BEGINNING)
            if size and judge_result(self.target.suffix, head[:HEAD]) is None:
                if size <= BEGINNING:
                    return LocalPart(size, head, size)
                return LocalPart(size, _tail(file, size), size, head=head)
        return NOTHING

    def give_up(self) -> int | None:
        """Remove what came of a file that is to be had no more; return the size of the one in its place.

        That one can only be judged by its first bytes and by the length that was noted of a part: a file gets
        its name when it is whole. None if it is not there, not of its kind, or not of that length.
        """
        self.open()
        note, size = self._note, self._placed().size
        self.close(keep=False)
        return size if size and (note is None or note.total == size) else None

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


class _NoLocks(Exception):
    """This file system has none."""


def _take(path: Path, flags: int = _OPEN) -> BinaryIO | None:
    """Open and lock a part; None if somebody else has it."""
    for _ in range(_CHASES):
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
        try:
            lock(file.fileno())
        except OSError as error:
            file.close()
            if error.errno not in TAKEN:
                raise _NoLocks from None
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # it got its name, or was removed, before we had the lock
    return None


def _sweep(path: Path) -> None:
    """Remove a part that nobody works on."""
    with contextlib.suppress(OSError):
        file = _take(path, _THERE)
        if file is not None:
            with file:
                if _WINDOWS:
                    file.close()
                path.unlink()


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
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # one may write to it, but not read it
    with contextlib.suppress(OSError):
        os.fsync(file)
    os.close(file)
