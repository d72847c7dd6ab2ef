"""Images that go to the API: an address, bytes, or a file; and how to read what they are.

The API takes an http(s) address it can reach itself, or bare Base64 without a ``data:`` prefix. Files and
bytes are only looked at here; they are read and encoded after admission, so a queue of requests stays small.
"""

from __future__ import annotations

import base64
import binascii
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec

__all__ = ["Media", "MediaInput", "media", "without_query"]


def without_query(url: str) -> str:
    """Return an address without its query and userinfo: signed addresses are secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<unreadable address>"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """One input file. Exactly one field is set; make it with `media()`."""

    url: str | None = None
    data: bytes | None = None
    path: str | None = None

    def __repr__(self) -> str:
        if self.url is not None:
            return f"Media(url={without_query(self.url)!r})"
        if self.path is not None:
            return f"Media(path={self.path!r})"
        return f"Media(<{len(self.data or b'')} bytes>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich no more than anybody else."""
        return [("", repr(self)[len("Media(") : -1])]

    def __post_init__(self) -> None:
        if [self.url, self.data, self.path].count(None) != 2:
            raise ValueError("a Media is an address, bytes or a path: one of them; use media()")


if TYPE_CHECKING:
    MediaInput: TypeAlias = Media | str | bytes | Path
else:
    MediaInput = Media
"""What a media field takes. At run time it always holds a `Media`."""

_URL: Final = ("http://", "https://")


def media(source: Media | str | bytes | Path) -> Media:
    """Return the `Media` for an address, for bytes, for a `Path`, or for Base64 text.

    A text must be an http(s) address, a ``data:`` address or Base64: a file is named by a `Path`, so that a
    text from a stranger never opens a file of yours.

    Raises:
        ValueError: The text is none of these.
    """
    if isinstance(source, Media):
        return source
    if isinstance(source, bytes):
        return Media(data=source)
    if isinstance(source, Path):
        return Media(path=str(source))
    if source.lower().startswith(_URL):
        return Media(url=source)
    text = source.partition(",")[2] if source[:5].lower() == "data:" else source
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        msg = "is neither an http(s) address nor Base64; name a file by pathlib.Path(...)"
        raise ValueError(msg)
    return Media(data=data)


class Limits(NamedTuple):
    """What the API takes in one field. Defaults: the reference's media_limits for images of ``/v1``."""

    formats: tuple[str, ...] = ("jpeg", "png")
    max_mb: float = 10
    min_side_px: int = 300
    aspect_min: float = 0.4
    aspect_max: float = 2.5


class ImageInfo(NamedTuple):
    """What an image's header says."""

    format: str
    width: int
    height: int


_PNG: Final = b"\x89PNG\r\n\x1a\n"
# start-of-frame markers; C4, C8 and CC lie in that range but mean something else
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_header(file: BinaryIO) -> ImageInfo | None:
    """Read the format and size of a PNG or JPEG; None if it is neither, or cut off."""
    head = file.read(24)
    if len(head) == 24 and head[:8] == _PNG and head[12:16] == b"IHDR":
        width, height = struct.unpack(">II", head[16:24])
        return ImageInfo("png", width, height)
    if head[:2] == b"\xff\xd8":
        file.seek(2)
        return _jpeg_size(file)
    return None


def _jpeg_size(file: BinaryIO) -> ImageInfo | None:
    """Walk the segments up to the frame header, without reading their contents."""
    while file.read(1) == b"\xff":
        while (marker := file.read(1)) == b"\xff":
            pass  # fill bytes
        if not marker or marker[0] == 0xD9 or marker[0] == 0xDA:
            return None
        if marker[0] == 0x01 or 0xD0 <= marker[0] <= 0xD8:
            continue  # these have no length
        size = file.read(2)
        if len(size) < 2 or (length := int.from_bytes(size, "big")) < 2:
            return None
        if marker[0] in _SOF:
            frame = file.read(5)
            if len(frame) < 5:
                return None
            height, width = struct.unpack(">HH", frame[1:])
            return ImageInfo("jpeg", width, height)
        file.seek(length - 2, 1)
    return None


def judge_image(info: ImageInfo | None, size: int, limits: Limits) -> str | None:
    """Return what is wrong with an image of ``size`` bytes, or None if the API takes it."""
    if info is None or info.format not in limits.formats:
        return f"is not a readable image; use {' or '.join(f.upper() for f in limits.formats)}"
    if size > limits.max_mb * 1024 * 1024:
        return f"has {size / 1024 / 1024:.1f} MB; at most {limits.max_mb:g} MB"
    if min(info.width, info.height) < limits.min_side_px:
        return f"is {info.width} x {info.height} px; each side needs at least {limits.min_side_px} px"
    aspect = info.width / info.height
    if not limits.aspect_min <= aspect <= limits.aspect_max:
        shapes = f"1:{1 / limits.aspect_min:g} and {limits.aspect_max:g}:1"
        return f"is {info.width} x {info.height} px; width / height must lie within {shapes}"
    return None
