"""Files of results as part of a page, in Base64: copies that stay when the vendor deletes its own."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Final

from kling_async.display.html import bundle, joined, titled
from kling_async.errors import DownloadError
from kling_async.runtime.input_files import read_regular
from kling_async.runtime.loop import in_thread
from kling_async.wire.players import data_address, player

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kling_async.display.html import MimeBundle

__all__ = ["EMBED_MAX", "Embedded", "EmbeddedFile", "embedded_paths", "read_file", "too_large"]

EMBED_MAX: Final = 16 * 1024**2
"""Most bytes of all files together by default: a notebook's file grows by four thirds of it."""


class EmbeddedFile:
    """One file in memory."""

    __slots__ = ("content", "name", "suffix")

    def __init__(self, content: bytes, suffix: str, name: str) -> None:
        self.content = content
        self.suffix = suffix
        self.name = name


class Embedded:
    """Files of one result that are shown in a notebook as Base64 copies; made by ``embed()``.

    The copies become part of the notebook's file, need no server, and outlive the vendor's 30 days.
    """

    __slots__ = ("files", "title")

    def __init__(self, title: str, files: Sequence[EmbeddedFile]) -> None:
        self.title = title
        self.files = tuple(files)

    @property
    def size(self) -> int:
        """Bytes of all files; Base64 takes a third more."""
        return sum(len(file.content) for file in self.files)

    def __repr__(self) -> str:
        names = ", ".join(file.name for file in self.files)
        return f"<Embedded {self.title}: {names}; {self.size} bytes>"

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        shown = (player(data_address(file.content), file.suffix, file.name) for file in self.files)
        return bundle(repr(self), titled(self.title, joined(*shown)))


def too_large(most: int, task_id: str) -> DownloadError:
    """Return the error of files that have more bytes than a caller allows."""
    text = f"the files have more than max_bytes={most} bytes together; raise it, or show the downloaded files"
    return DownloadError(text, task_id=task_id)


async def read_file(path: Path, left: int, most: int, task_id: str = "") -> bytes:
    """Return the content of a file on disk.

    Args:
        path: The file.
        left: Most bytes that it may have.
        most: Bound on all files, for the error.
        task_id: Id of the task, for errors.

    Raises:
        DownloadError: It is larger, or cannot be read.
    """
    try:
        return await in_thread(asyncio.get_running_loop(), read_regular, path, left)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise too_large(most, task_id) from None
        raise DownloadError(f"{path} cannot be read: {error.strerror}", task_id=task_id) from None


async def embedded_paths(title: str, paths: Sequence[Path], most: int) -> Embedded:
    """Return the files of some paths, at most that many bytes together.

    Raises:
        DownloadError: They have more, or one cannot be read.
    """
    files: list[EmbeddedFile] = []
    left = most
    for path in paths:
        content = await read_file(path, left, most)
        left -= len(content)
        files.append(EmbeddedFile(content, path.suffix.lower(), path.name))
    return Embedded(title, files)
