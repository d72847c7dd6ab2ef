"""Keep the part of a file that is still coming: private, locked, and resumable after a crash.

Blocking file work only; `kling_async.downloads.fetch` runs all of it in threads.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from kling_async.downloads.placing import Existing, Placement, digest, place
from kling_async.downloads.ranges import BEGINNING, NOTHING, OVERLAP, LocalPart
from kling_async.runtime.filelock import TAKEN, lock
from kling_async.runtime.input_files import read_regular
from kling_async.wire.media_formats import HEAD, judge_result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kling_async.downloads.ranges import Whole

__all__ = ["Partial", "write_private"]

_UMASK: Final = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)
# O_NOFOLLOW, where the system has it: a link in the place of a part must not lead us elsewhere
_OPEN_EXISTING: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_OPEN_OR_CREATE: Final = _OPEN_EXISTING | os.O_CREAT
_WINDOWS: Final = sys.platform == "win32"  # where an open file can be neither renamed nor removed
_LOCK_TRIES: Final = 10
_EXTRA_PARTS: Final = 8
"""Further parts of one file whose names are fixed, so that those left by a crash are found and removed."""
_NOTE_MAX: Final = 1024**2
"""Bytes from which on a file is no note of ours."""


class _Note(msgspec.Struct, frozen=True):
    """Stored beside a part: the content that the part is the beginning of."""

    source: str
    etag: str
    total: int


class Partial:
    """Write one file by way of ``.<name>.part`` beside it, which only this user can read.

    The part is locked while somebody writes to it. A second writer gets ``.<name>.1.part``, and so on; what a
    crash left of these is not resumed, and whoever opens a part of the same file removes it. Methods run one
    at a time, in a thread; each may raise OSError.

    Args:
        target: Path of the whole file.
        source: Name of the file's origin: a part of another source is not resumed.
        existing: How to treat a file that is there under the final name.
    """

    def __init__(self, target: Path, source: str, existing: Existing = Existing.REPLACE) -> None:
        self.target = target
        self._existing = existing
        self._source = source
        self._path = self._part_path("")
        self._file: BinaryIO | None = None
        self._note: _Note | None = None
        self._resumable = True
        """Whether later writers look for this part: not for one with an extra or a random name."""
        self._note_exists = False
        """Whether a note may lie beside the part."""

    def _part_path(self, suffix: str) -> Path:
        return self.target.with_name(f".{self.target.name}{suffix}.part")

    @property
    def _note_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.json")

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None  # noqa: S101 - open() came first
        return self._file

    def open(self) -> LocalPart:
        """Open and lock the part; return the bytes of the file that are on disk."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open_locked_part()
        self._note = self._read_note() if self._resumable else None
        return self.local_part()

    def local_part(self) -> LocalPart:
        """Return the bytes on disk: those of the part, else the complete file under the final name."""
        size = os.fstat(self._opened.fileno()).st_size
        if self._note is None or not 0 < size <= self._note.total:
            comparable = self._existing in (Existing.REPLACE, Existing.COMPARE)
            return self._complete_file() if comparable else NOTHING
        return LocalPart(size, _tail(self._opened, size), self._note.total, self._note.etag)

    def _open_locked_part(self) -> BinaryIO:
        extra = [self._part_path(f".{number}") for number in range(1, _EXTRA_PARTS + 1)]
        try:
            for path in extra:
                _remove_unlocked(path)
            for path in (self._path, *extra):
                if (file := _open_locked(path)) is not None:
                    self._resumable = path == self._path
                    self._path = path
                    return file
        except _LocksUnsupported:
            pass  # every writer gets a part with a random name
        self._resumable = False
        self._path = self._part_path(f".{secrets.token_hex(4)}")
        return os.fdopen(os.open(self._path, _OPEN_OR_CREATE | os.O_EXCL, 0o600), "r+b")

    def _read_note(self) -> _Note | None:
        """Return the note of a part; None if it is missing, torn, or of another source."""
        try:
            data = read_regular(self._note_path, _NOTE_MAX)
        except FileNotFoundError:
            return None
        self._note_exists = True
        try:
            note = msgspec.json.decode(data, type=_Note)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return note if note.source == self._source and note.etag else None

    def _complete_file(self) -> LocalPart:
        """Return the file under the final name, if its first bytes are of its kind."""
        if not self.target.is_file():  # to open a pipe would wait for its writer
            return NOTHING
        with contextlib.suppress(OSError), self.target.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(BEGINNING)
            if size and judge_result(self.target.suffix, head[:HEAD]) is None:
                if size <= BEGINNING:
                    return LocalPart(size, head, size)
                return LocalPart(size, _tail(file, size), size, head=head)
        return NOTHING

    def discard(self) -> int | None:
        """Remove the part of a file that its server no longer has; return the size of the complete file.

        Only its first bytes and the length in the part's note can vouch for that file: a file gets its final
        name when it is whole.

        Returns:
            None if there is no such file, or it is not of its kind or of the noted length.
        """
        self.open()
        note, size = self._note, self._complete_file().size
        self.close(keep=False)
        return size if size and (note is None or note.total == size) else None

    def begin(self, coming: Whole) -> None:
        """Empty the part: the file comes from its first byte on."""
        self._note = None
        self._remove_note()
        self._opened.seek(0)
        self._opened.truncate()
        if self._resumable and coming.etag and coming.total:
            self._note, self._note_exists = _Note(self._source, coming.etag, coming.total), True
            write_private(self._note_path, msgspec.json.encode(self._note), durable=False)

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write bytes at the end of the part."""
        self._opened.seek(0, os.SEEK_END)
        self._opened.writelines(chunks)
        self._opened.flush()

    def publish(self, chunks: Iterable[bytes]) -> Placement:
        """Write the last bytes; give the whole file its final name and the permissions of any new file.

        Unless a file that is there may be replaced, the first of ``a.mp4``, ``a-2.mp4``, ... that is free is
        taken, or one that holds an equal file.
        """
        self.append(chunks)
        os.fsync(self._opened.fileno())  # bytes before name: after a power cut a named file is whole
        size, sha256 = os.fstat(self._opened.fileno()).st_size, digest(self._opened)
        self._path.chmod(0o666 & ~_UMASK)
        if _WINDOWS:
            self._opened.close()
        self._remove_note()  # before the name: a part that is whole has nothing to resume
        if self._existing in (Existing.REPLACE, Existing.RENEW):
            self._path.replace(self.target)
            placed = Placement(self.target, True, sha256)
        else:
            placed = place(self._path, self.target, size, sha256)
            if not placed.fresh:
                self._path.unlink(missing_ok=True)
        self._opened.close()
        _sync_folder(self.target.parent)
        return placed

    @property
    def closed(self) -> bool:
        """Whether the part is not open."""
        return self._file is None or self._file.closed

    def close(self, *, keep: bool) -> None:
        """Close the part; remove it unless it is to be kept and can be resumed."""
        file, self._file = self._file, None
        if file is None or file.closed:
            return
        with contextlib.suppress(OSError), file:
            if keep and self._note is not None and os.fstat(file.fileno()).st_size:
                return
            if _WINDOWS:
                file.close()
            self._path.unlink(missing_ok=True)
            self._remove_note()

    def _remove_note(self) -> None:
        if self._note_exists:
            self._note_path.unlink(missing_ok=True)
            self._note_exists = False


class _LocksUnsupported(Exception):
    """The file system has no locks."""


def _open_locked(path: Path, flags: int = _OPEN_OR_CREATE) -> BinaryIO | None:
    """Open and lock a part; return None if somebody else holds its lock."""
    for _ in range(_LOCK_TRIES):
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
        try:
            lock(file.fileno())
        except OSError as error:
            file.close()
            if error.errno not in TAKEN:
                raise _LocksUnsupported from None
            return None
        with contextlib.suppress(FileNotFoundError):
            opened = os.fstat(file.fileno())
            if os.path.samestat(opened, path.stat()):
                if opened.st_nlink <= 1:
                    return file
                path.unlink()  # a crash between link and unlink: it is a stored file under its second name
        file.close()  # its holder published or removed it between our open and our lock: open the new one
    return None


def _remove_unlocked(path: Path) -> None:
    """Remove a part that nobody writes to."""
    with contextlib.suppress(OSError):
        file = _open_locked(path, _OPEN_EXISTING)
        if file is not None:
            with file:
                if _WINDOWS:
                    file.close()
                path.unlink()


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - OVERLAP))
    return file.read(OVERLAP)


def write_private(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a small file in one step that only this user can read; a ``durable`` one survives a power cut."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, _OPEN_OR_CREATE | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can do that."""
    if _WINDOWS:
        return
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # a folder may be writable without being readable
    with contextlib.suppress(OSError):
        os.fsync(file)
    os.close(file)
