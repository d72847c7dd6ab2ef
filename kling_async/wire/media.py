"""Input files of the API (images, sounds, videos): an address, bytes, or a file on disk.

The API takes an http(s) address that it can reach, or bare Base64 without a ``data:`` prefix. Files and bytes
are read and encoded after admission only, so that a queue of requests stays small.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.redaction import without_query
from kling_async.wire.plain import plain

__all__ = ["Media", "media"]


if TYPE_CHECKING:
    _LocalPath = str
else:

    class _LocalPath(str):
        """A path that only Python code gives.

        Frameworks decode structs by msgspec (Litestar does), which makes no such type from a text: so a body
        from a stranger never names a file of ours.
        """

        __slots__ = ()


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """One input file. Exactly one field is set; make it with `media()`."""

    url: str | None = None
    """An http(s) address that the vendor can reach."""
    data: bytes | None = None
    """The content of the file."""
    path: _LocalPath | None = None
    """Path of a file on disk; it is read when its turn has come."""

    def __repr__(self) -> str:
        if self.url is not None:
            return f"Media(url={without_query(self.url)!r})"
        if self.path is not None:
            return f"Media(path={self.path!r})"
        return f"Media(<{len(self.data or b'')} bytes>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich the same as the repr: no query, no content."""
        return [("", repr(self)[len("Media(") : -1])]

    def __post_init__(self) -> None:
        values = {"url": self.url, "data": self.data, "path": self.path}
        given = {name: value for name, value in values.items() if value is not None}
        if len(given) != 1:
            raise ValueError("a Media is an address, bytes or a path: one of them; use media()")
        for name, value in given.items():
            exact = b"".join((value,)) if isinstance(value, bytes) else plain(value)
            if type(exact) is not (wanted := bytes if name == "data" else str):
                raise TypeError(f"Media({name}=...) must be {_NAMES[wanted]}, not {type(value).__name__}")
            if exact is not value:
                msgspec.structs.force_setattr(self, name, exact)


_NAMES: Final[dict[type, str]] = {str: "text", bytes: "bytes"}
_URL: Final = ("http://", "https://")


def media(source: Media | str | bytes | Path) -> Media:
    """Return the `Media` for an address, for bytes, for a `Path`, or for Base64 text.

    A text must be an http(s) address, a ``data:`` address or Base64: a file is named by a `Path`, so that a
    text from a stranger never opens a file of yours.

    Raises:
        ValueError: The text is none of these.
        TypeError: The value is of another type.
    """
    source = plain(source)
    if isinstance(source, Media):
        return source
    if isinstance(source, bytes):
        return Media(data=source)
    if isinstance(source, Path):
        return Media(path=str(source))
    if not isinstance(source, str):
        raise TypeError(f"must be an address, bytes or a Path, not {_described(source)}")
    if source.lstrip()[:8].lower().startswith(_URL):  # `check` judges blanks around and within
        return Media(url=source)
    return Media(data=_from_base64(source))


def _from_base64(source: str) -> bytes:
    text = source.partition(",")[2] if source[:5].lower() == "data:" else source
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise ValueError("is neither an http(s) address nor Base64; name a file by pathlib.Path(...)")
    return data


def _described(source: object) -> str:
    name = type(source).__name__
    return f"{name}; pass what its read() returns" if hasattr(type(source), "read") else name
