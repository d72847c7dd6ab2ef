"""Compute the SHA-256 of a request's input files, which its job's name stands for; read each file once."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.errors import Problem, RequestInvalid
from kling_async.runtime.input_files import open_regular, why_unreadable
from kling_async.wire.checks import media_fields
from kling_async.wire.media_formats import MASK, judge_size, judge_source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from kling_async.wire.media import Media
    from kling_async.wire.media_formats import Limits
    from kling_async.wire.requests import Request

__all__ = ["Digest", "InputDigests", "UnfitFile"]

_SETTLED: Final = 2.0
"""Seconds after a change from which on another one gives a file another time: FAT counts in steps of 2 s."""


class UnfitFile(Exception):
    """A file that the API does not take, in words."""


class Digest(NamedTuple):
    """The SHA-256 of an input file, with the size and time for which it holds."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


class InputDigests:
    """Computes digests, or recalls them for files whose size and time have not changed.

    Args:
        recall: Returns the stored digest of an unchanged file, by absolute path; None: there is none.
        now: The wall clock, seconds since 1970.
    """

    def __init__(self, recall: Callable[[str], Awaitable[str | None]], now: Callable[[], float]) -> None:
        self._recall = recall
        self._now = now
        self._computed: list[Digest] = []

    def take(self) -> list[Digest]:
        """Return the digests to store, each once."""
        computed, self._computed = self._computed, []
        return computed

    async def of_file(self, path: str | Path, limits: Limits = MASK) -> str:
        """Return the SHA-256 of a file in hexadecimal.

        Args:
            path: The file.
            limits: Of its field. Default: those of a field for which the vendor names no size.

        Raises:
            OSError: The file cannot be read.
            UnfitFile: The file is larger than the limits allow; nothing of it was read.
        """
        name = os.path.abspath(path)  # noqa: PTH100, ASYNC240 - asks only for the working folder
        known = await self._recall(name)
        if known is not None:
            return known
        digest, steady = await asyncio.get_running_loop().run_in_executor(None, _hash_file, name, limits)
        # a file changed just now may change once more within the same time stamp, unnoticed by later runs
        if steady and abs(self._now() - digest.mtime_ns / 1e9) > _SETTLED:
            self._computed.append(digest)
        return digest.sha256

    async def of_request(self, request: Request) -> dict[Media, str]:
        """Return the SHA-256 of each media of a request that is not an address.

        Raises:
            RequestInvalid: A file cannot be read, is too large, or is none that the field takes.
        """
        found: dict[Media, str] = {}
        for field, media, limits in media_fields(request):
            if media.url is not None:
                continue
            try:
                found[media] = await self._of_media(media, limits)
            except UnfitFile as error:
                wrong = Problem(field, str(error))
            except (OSError, ValueError) as error:
                wrong = Problem(field, f"cannot read {media.path!r}: {why_unreadable(error)}")
            else:
                continue
            raise RequestInvalid(type(request).__name__, [wrong])
        return found

    async def _of_media(self, media: Media, limits: Limits) -> str:
        """Return the SHA-256 of a file or bytes; what the API does not take is refused unread."""
        if text := judge_source(media, limits):
            raise UnfitFile(text)
        if media.path is not None:
            return await self.of_file(media.path, limits)
        data = media.data or b""
        if text := judge_size(len(data), limits):
            raise UnfitFile(text)
        return await asyncio.get_running_loop().run_in_executor(None, _hash_bytes, data)


def _hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_file(path: str, limits: Limits) -> tuple[Digest, bool]:
    """Return the digest of a file, and whether the file stayed the same while it was read."""
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        if text := judge_size(before.st_size, limits):
            raise UnfitFile(text)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    steady = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return Digest(path, before.st_size, before.st_mtime_ns, digest), steady
