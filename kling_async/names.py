"""Names of the files of results: from a template, safe on every file system, the same in every run.

A name is a function of what goes into it and of nothing else, so a later run finds what an earlier one
stored. What a file system could confuse with something else (capitals, other spellings of a letter,
characters it does not take, a text that is too long) is told apart by a hash at the end of the name.
"""

from __future__ import annotations

import base64
import hashlib
import re
import string
import unicodedata
from typing import TYPE_CHECKING, Final

from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kling_async.wire import File

__all__ = ["FIELDS", "Template"]

FIELDS: Final = ("key", "index", "task_id", "endpoint", "name", "n")
"""What a template may hold: the caller's name of the task; its position in a batch, else 0; the vendor's
id; the endpoint's name; the file's name within its result, ``0`` or ``frontal``; its number there, from 0."""

_ANYTHING: Final = frozenset({"key", "name"})
"""Fields whose text may differ from another's in a way that a file system does not see."""
_BYTES_MAX: Final = 200
"""Of a whole name in UTF-8; the usual limit is 255, and parts and sidecars add to it."""
_HASHED: Final = re.compile(r"\+[a-z2-7]{12}")
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"]
)
"""Windows takes these for devices, whatever follows behind a dot."""


class Template:
    """How to name files: a text with ``FIELDS`` in braces, without suffix.

    Raises:
        RequestInvalid: A field is unknown, or the text around the fields cannot be part of a file's name.
    """

    def __init__(self, text: str) -> None:
        self._pieces = tuple(_parsed(text))
        self.fields = frozenset(field for _, field in self._pieces if field)
        """Those it holds."""

    def names(
        self, values: Mapping[str, str | int], files: Sequence[File], *, marked: bool = False
    ) -> list[str]:
        """Return the names of the files of one result, suffixes included; no two are alike.

        Args:
            values: Of all fields but ``name`` and ``n``.
            files: The files of the result.
            marked: Whether they are the watermarked copies, which are named so.
        """
        told = {(file.name.casefold(), file.suffix) for file in files}
        apart = len(told) == len(files)
        names: list[str] = []
        for n, file in enumerate(files):
            own: dict[str, str | int] = {**values, "name": file.name if apart else str(n), "n": n}
            if len(files) > 1 and not self.fields & {"name", "n"}:
                pieces = (*self._pieces, ("-", "name"))
            else:
                pieces = self._pieces
            names.append(_name(pieces, own, "-watermarked" if marked else "", file.suffix))
        return names


def _parsed(text: str) -> Iterable[tuple[str, str]]:
    """Yield pairs of text and the field behind it; at the end the field is empty."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _invalid(f"{text!r} cannot be read: {error}") from None
    if not text.strip(" ."):
        raise _invalid("is empty")
    for literal, field, spec, conversion in parts:
        if unsafe := sorted({char for char in literal if _is_unsafe(char)}):
            raise _invalid(f"{''.join(unsafe)!r} cannot be part of a file's name")
        if field is not None and (field not in FIELDS or spec or conversion):
            raise _invalid(f"no field {{{field}}}; there are {', '.join(f'{{{f}}}' for f in FIELDS)}")
        yield literal, field or ""


def _invalid(text: str) -> RequestInvalid:
    return RequestInvalid("download", [Problem("name", text)])


def _name(pieces: Iterable[tuple[str, str]], values: Mapping[str, str | int], more: str, suffix: str) -> str:
    """Put a name together; hash it if that lost anything."""
    texts = {field: str(values[field]) for _, field in pieces if field}
    text = "".join(literal + texts.get(field, "") for literal, field in pieces) + more
    room = _BYTES_MAX - len(suffix.encode())
    name = _clean(text, room)
    lossless = name == text and all(_is_plain(t) for field, t in texts.items() if field in _ANYTHING)
    if lossless and not _HASHED.fullmatch(text[-13:]):
        return name + suffix
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    mark = "+" + base64.b32encode(digest).decode().lower()[:12]
    return _clean(text, room - len(mark)) + mark + suffix


def _clean(text: str, room: int) -> str:
    """Return what of a text can stand in a file's name of so many bytes."""
    text = "".join("_" if _is_unsafe(char) else char for char in unicodedata.normalize("NFC", text))
    text = text.lstrip(" ")
    if text.startswith("."):
        text = f"_{text[1:]}"  # else hidden, and like the name of a part
    if text.partition(".")[0].rstrip().upper() in _DEVICES:
        text = f"_{text}"
    text = text.encode()[:room].decode(errors="ignore")
    return text.rstrip(" .") or "_"


def _is_unsafe(char: str) -> bool:
    return char in _FORBIDDEN or not char.isprintable()


def _is_plain(text: str) -> bool:
    """Whether no other text looks the same to a file system that ignores case and spelling."""
    return all(
        text == unicodedata.normalize("NFC", other)
        for other in (text, text.casefold(), text.upper().casefold())
    )
