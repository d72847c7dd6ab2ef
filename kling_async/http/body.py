"""Send a request's body, and know whether any of it was written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import StreamWriter

from kling_async.errors import KlingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

__all__ = ["TrackedBody"]

_STREAM_FROM: Final = 512 * 1024
"""Bytes from which a body is written piece by piece, so that other work gets its turn meanwhile."""
_PIECE: Final = 64 * 1024


class TrackedBody(aiohttp.Payload):
    """A body of bytes that notes its first byte: before that the server cannot know the request.

    A proxy's CONNECT, the TLS handshake and the encoding of headers all come before it.

    Args:
        data: The bytes.
        check: Called directly before the first byte, on each connection; if it raises, nothing is written.
    """

    def __init__(self, data: bytes, check: Callable[[], None] | None = None) -> None:
        super().__init__(data, content_type="application/json")
        self._data = data
        self._size = len(data)
        self._check = check
        self.withheld: KlingError | None = None
        """The error of the check that kept the request back."""
        self.written = False
        """Whether a byte of the request may have left this machine."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text; aiohttp shows it nowhere by itself."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body to a connection."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body to a connection, whose header has its length."""
        del content_length
        if self._check is not None:
            try:
                self._check()
            except KlingError as error:  # aiohttp raises another one in its place
                self.withheld = error
                raise
        size = len(self._data)
        piece = _PIECE if size > _STREAM_FROM else max(size, 1)
        view = memoryview(self._data)
        await self._write_first(writer, view[:piece])
        for start in range(piece, size, piece):
            await asyncio.sleep(0)
            await writer.write(view[start : start + piece])

    async def _write_first(self, writer: AbstractStreamWriter, chunk: memoryview) -> None:
        """Write the first piece, which goes out together with the headers."""
        if not isinstance(writer, StreamWriter):
            self.written = True
            await writer.write(chunk)
            return
        before = writer.output_size
        try:
            await writer.write(chunk, drain=False)  # hooks of an injected session run before the bytes go out
        finally:
            # nothing was awaited since the write: a transport that is closed now failed in that very write,
            # and asyncio's transports send with one call, which either failed or took some bytes
            self.written = writer.output_size != before and not _is_closed(writer)
        await writer.drain()


def _is_closed(writer: StreamWriter) -> bool:
    transport = writer.transport
    return transport is None or transport.is_closing()
