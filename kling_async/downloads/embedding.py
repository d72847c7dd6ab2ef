"""Read files into memory, to become part of a page."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from kling_async.errors import DownloadError
from kling_async.runtime.input_files import read_regular
from kling_async.runtime.loop import in_thread
from kling_async.wire.players import Embedded, EmbeddedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["embedded_paths", "read_file", "too_large"]


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
