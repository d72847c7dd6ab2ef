"""Resume a download: which bytes to request, and how an answer relates to the bytes on disk. Pure.

The remainder of a file is requested with an overlap: the server sends the last bytes on disk once more, and
only if they are equal is the remainder appended. The overlap also tells whether a complete file on disk is
the one that would come; its first bytes are compared too, because files of one length may end alike, in
silence or in padding.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BEGINNING",
    "NOTHING",
    "OVERLAP",
    "LocalPart",
    "LocalState",
    "ReceivedPart",
    "Rejected",
    "Remainder",
    "StartOver",
    "Whole",
    "judge_file",
    "range_headers",
]

OVERLAP: Final = 4096
"""Bytes requested a second time, to be compared."""
BEGINNING: Final = 64 * 1024
"""First bytes of a complete file that are compared; a file no longer than that is compared as a whole."""


class LocalState(enum.Enum):
    """How much of a file is on disk."""

    MISSING = "missing"
    """Nothing: fetch the whole file."""
    PARTIAL = "partial"
    """The first bytes, with the ETag under which the remainder can be requested."""
    COMPLETE = "complete"
    """A file under its final name, fetched earlier: only compare it."""


class LocalPart(NamedTuple):
    """The bytes of a file that are on disk, as far as a request and its answer need them."""

    size: int
    tail: bytes
    """The last `OVERLAP` bytes, or all if there are fewer; empty only if nothing is on disk."""
    total: int
    """Length of the whole file."""
    etag: str = ""
    """The server's strong ETag of this content; empty for a complete file, which has no note of it."""
    head: bytes = b""
    """The first `BEGINNING` bytes of a complete file, compared after its tail was found equal."""

    @property
    def state(self) -> LocalState:
        """How much of the file is on disk."""
        if not self.size:
            return LocalState.MISSING
        return LocalState.PARTIAL if self.etag else LocalState.COMPLETE

    @property
    def resumable(self) -> int:
        """Number of bytes that a download can continue behind."""
        return self.size if self.state is LocalState.PARTIAL else 0

    @property
    def start(self) -> int:
        """Position of the first byte of the overlap."""
        return self.size - len(self.tail)

    @property
    def beginning(self) -> LocalPart:
        """The first bytes of a complete file, as the tail of a second comparison."""
        return LocalPart(len(self.head), self.head, self.total)


NOTHING: Final = LocalPart(0, b"", 0)


class Whole(NamedTuple):
    """The answer brings the file from its first byte on."""

    total: int | None
    """Length of the file; None if the answer does not tell."""
    etag: str = ""
    """The strong ETag under which the remainder can be requested later; empty if there is none."""


class ReceivedPart:
    """The beginning of a file that was handed on as it came, of which only the last bytes are kept."""

    def __init__(self) -> None:
        self.whole: Whole | None = None
        """The content that the bytes are the beginning of; None before the first byte."""
        self.size = 0
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """Note the next bytes."""
        self.size += len(chunk)
        self._tail = chunk[-OVERLAP:] if len(chunk) >= OVERLAP else (self._tail + chunk)[-OVERLAP:]

    @property
    def total(self) -> int | None:
        """Length of the whole file; None if it is not known."""
        return None if self.whole is None else self.whole.total

    @property
    def is_complete(self) -> bool:
        """Whether as many bytes came as the file is long; False if its length is not known."""
        return self.size == self.total

    @property
    def is_too_long(self) -> bool:
        """Whether more bytes came than the file is long."""
        return self.total is not None and self.size > self.total

    @property
    def local(self) -> LocalPart | None:
        """The bytes to go on behind, `NOTHING` before the first one; None if nothing can be resumed."""
        if self.whole is None:
            return NOTHING
        if not self.whole.etag or not self.whole.total:
            return None
        return LocalPart(self.size, self._tail, self.whole.total, self.whole.etag)


class Remainder(NamedTuple):
    """The answer brings the requested range of a file of the same length and ETag."""


class StartOver(NamedTuple):
    """The bytes on disk are not the beginning of the server's file: request the whole file."""


class Rejected(NamedTuple):
    """The answer brings no file."""

    reason: str
    temporary: bool
    """Whether a later request may bring it."""


FileVerdict: TypeAlias = Whole | Remainder | StartOver | Rejected

_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]{1,256}"')
_ERROR_PAGES: Final = ("text/html", "application/json", "application/xml", "text/xml")
_TEMPORARY: Final = frozenset({202, 408, 425, 429})
"""Besides 5xx. 202: a file that the server is still making."""


def range_headers(local: LocalPart) -> dict[str, str]:
    """Return the headers of a request for the bytes that are not on disk (RFC 9110, 13.1.5 and 14.2)."""
    headers = {"Accept-Encoding": "identity"}  # positions in a compressed body are not positions in the file
    match local.state:
        case LocalState.PARTIAL:
            headers["Range"] = f"bytes={local.start}-"
            headers["If-Range"] = local.etag
        case LocalState.COMPLETE:
            headers["Range"] = f"bytes={local.start}-{local.size - 1}"
        case LocalState.MISSING:
            pass
    return headers


def judge_file(status: int, headers: Mapping[str, str], local: LocalPart) -> FileVerdict:
    """Decide what an answer to a request for a file means.

    Args:
        status: HTTP status, after redirects.
        headers: Headers of the answer; names are looked up as they are spelt here.
        local: The bytes on disk that the request was made for.
    """
    if status == 206 and local.size:
        return _judge_range(headers, local)
    if status == 416 and local.size:
        return StartOver()
    if status != 200:
        temporary = status >= 500 or status in _TEMPORARY
        return Rejected(f"the file's server answered HTTP {status}", temporary)
    return _judge_whole(headers)


def _judge_whole(headers: Mapping[str, str]) -> Whole | Rejected:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in _ERROR_PAGES:
        return Rejected(f"the file's server sent {kind}, not a file", temporary=False)
    if _is_encoded(headers):
        return Rejected("the file's server sent it compressed, which was not asked for", temporary=True)
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return Whole(None, _strong_etag(headers))
    length = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not _LENGTH.fullmatch(length):
        # such a body ends with its connection, and a cut connection looks the same
        return Rejected("the file's server does not tell where the file ends", temporary=True)
    return Whole(int(length), _strong_etag(headers))


def _judge_range(headers: Mapping[str, str], local: LocalPart) -> FileVerdict:
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or _is_encoded(headers):
        return StartOver()
    partial = local.state is LocalState.PARTIAL
    same_content = not partial or _strong_etag(headers) == local.etag
    last = (local.total if partial else local.size) - 1
    as_requested = [int(number) for number in found.groups()] == [local.start, last, local.total]
    return Remainder() if same_content and as_requested else StartOver()


def _is_encoded(headers: Mapping[str, str]) -> bool:
    """Tell whether the body is not the file's own bytes: a torn one may unpack to what looks whole."""
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def _strong_etag(headers: Mapping[str, str]) -> str:
    """Return the ETag if it is a strong one: a weak one does not vouch for equal bytes."""
    etag = headers.get("ETag", "")
    return etag if _STRONG_ETAG.fullmatch(etag) else ""
