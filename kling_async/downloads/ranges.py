"""Resuming a download: what to ask for, and what the answer means for the bytes that are here already.

The rest of a file is asked for with an overlap: the server sends the last bytes of what is here once more,
and only if they are the same is the rest put behind them. The overlap also tells whether a file that is
complete here is the one that would come; its first bytes are compared too, for files of one length may end
alike, in silence or in padding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BEGINNING",
    "NOTHING",
    "OVERLAP",
    "LocalPart",
    "Rejected",
    "Remainder",
    "StartOver",
    "Whole",
    "judge_file",
    "range_headers",
]

OVERLAP: Final = 4096
"""Bytes asked for once more."""
BEGINNING: Final = 64 * 1024
"""First bytes of a whole file that are compared; of a file no longer than that, all are."""


class LocalPart(NamedTuple):
    """What is here of a file: its beginning, or what may be all of it."""

    size: int
    tail: bytes
    """The last of them, `OVERLAP` or all there are; never empty unless nothing is here."""
    total: int
    """Length of the whole."""
    etag: str = ""
    """The server's name for this very content. Empty: it lies under its final name, only to be compared."""
    head: bytes = b""
    """What is compared after the last bytes are found to be the same: the first of a whole file."""

    @property
    def start(self) -> int:
        """Where the overlap begins."""
        return self.size - len(self.tail)

    @property
    def beginning(self) -> LocalPart:
        """The first bytes, in their turn to be compared."""
        return LocalPart(len(self.head), self.head, self.total)


NOTHING: Final = LocalPart(0, b"", 0)


class Whole(NamedTuple):
    """The file comes, from its first byte on."""

    total: int | None
    """Its length; None if it was not told."""
    etag: str = ""
    """A name for this very content, under which the rest can be asked for later; empty if there is none."""


class Remainder(NamedTuple):
    """What was asked for comes: the overlap and what is behind it, of a file of the same length and name."""


class StartOver(NamedTuple):
    """What is here is no beginning of what is there: ask for the whole."""


class Rejected(NamedTuple):
    """No file comes."""

    reason: str
    passing: bool
    """Whether it may come later."""


FileVerdict: TypeAlias = Whole | Remainder | StartOver | Rejected

_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{1,256}"')
_NO_FILES: Final = ("text/html", "application/json", "application/xml", "text/xml")
_PASSING: Final = frozenset({408, 425, 429})


def range_headers(here: LocalPart) -> dict[str, str]:
    """Return the headers of a request for what is not here (RFC 9110, 13.1.5 and 14.2).

    Plain bytes are asked for: positions in a compressed body are not positions in the file.
    """
    headers = {"Accept-Encoding": "identity"}
    if here.size:
        headers["Range"] = f"bytes={here.start}-" if here.etag else f"bytes={here.start}-{here.size - 1}"
        if here.etag:
            headers["If-Range"] = here.etag
    return headers


def judge_file(status: int, headers: Mapping[str, str], here: LocalPart) -> FileVerdict:
    """Say what an answer to a request for a file means.

    Args:
        status: Of HTTP; redirects are followed before.
        headers: Of the answer; names are looked up as they are spelt here.
        here: What was told in the request.
    """
    if status == 206 and here.size:
        return _judge_rest(headers, here)
    if status == 416 and here.size:
        return StartOver()
    if status != 200:
        passing = status >= 500 or status in _PASSING
        return Rejected(f"the file's server answered HTTP {status}", passing)
    return _judge_whole(headers)


def _judge_whole(headers: Mapping[str, str]) -> Whole | Rejected:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in _NO_FILES:
        return Rejected(f"the file's server sent {kind}, not a file", passing=False)
    if _is_encoded(headers):
        return Rejected("the file's server sent it compressed, which was not asked for", passing=True)
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return Whole(None, _strong(headers))
    length = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not _LENGTH.fullmatch(length):
        return Rejected("the file's server does not tell where the file ends", passing=True)
    return Whole(int(length), _strong(headers))


def _judge_rest(headers: Mapping[str, str], here: LocalPart) -> FileVerdict:
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or _is_encoded(headers):
        return StartOver()
    same = not here.etag or _strong(headers) == here.etag
    last = (here.total if here.etag else here.size) - 1
    fits = [int(number) for number in found.groups()] == [here.start, last, here.total]
    return Remainder() if same and fits else StartOver()


def _is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether what comes is not the file's own bytes: a torn one may unpack to something that looks whole."""
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def _strong(headers: Mapping[str, str]) -> str:
    etag = headers.get("ETag", "")
    return etag if _STRONG.fullmatch(etag) else ""
