"""Names of the files of results: from a template, safe on every file system, the same in every run.

A name is a function of what goes into it and of nothing else, so a later run finds what an earlier one
stored. What a file system could confuse with something else (capitals, other spellings of a letter,
characters it does not take, a text that is too long) is told apart by a hash at the end of the name.

So are values that only look the same once they are joined: the second file of ``a`` and the only one of
``a.1``. Every text is read back, in one way alone; whoever is read out of it has it, others get a hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import unicodedata
from typing import TYPE_CHECKING, Final

from kling_async.catalog import TASKS
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kling_async.wire.requests import File

__all__ = ["FIELDS", "Template"]

FIELDS: Final = ("key", "index", "task_id", "endpoint", "name", "n")
"""What a template may hold: the caller's name of the task; its position in a batch, else 0; the vendor's
id; the endpoint's name; the file's name within its result, ``0`` or ``frontal``; its number there, from 0."""

_LOOKS: Final = {
    "key": ".*",
    "index": "[0-9]+(?:-[0-9a-f]{12})?",
    "task_id": "[0-9]+|[0-9a-z-]+",
    "endpoint": "|".join(re.escape(row.name) for row in sorted(TASKS, key=lambda row: -len(row.name))),
    "name": ".*",
    "n": "[0-9]+",
}
"""What the text of a field looks like when a name is read back, as a pattern; the longest that fits is taken.
Whatever looks otherwise has a hash."""
_NUMBERS: Final = "[0-9]{1,2}"
_MARK: Final = "-watermarked"
_BYTES_MAX: Final = 200
"""Of a whole name in UTF-8; the usual limit is 255, and parts and sidecars add to it."""
_HASHED: Final = re.compile(r"\+[a-z2-7]{12}\Z")
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
        self._adds = ""
        """What comes between a name and the file's own, where several files need that."""
        if not self.fields & {"name", "n"}:
            self._adds = "." if self._pieces[-1][1] == "key" else "-"  # keys are often like scene-1
        self._pattern = _pattern(self._pieces, self._adds)

    def names(
        self, values: Mapping[str, str | int], files: Sequence[File], *, marked: bool = False
    ) -> list[str]:
        """Return the names of the files of one result, suffixes included.

        No two are alike, and none is like that of a file that has other values in a field of the template.

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
            texts: dict[str, str | None] = {field: str(own[field]) for field in self.fields}
            if self._adds:
                texts["name"] = str(own["name"]) if len(files) > 1 else None
            names.append(self._name(texts, file.suffix, marked=marked))
        return names

    def _name(self, texts: Mapping[str, str | None], suffix: str, *, marked: bool) -> str:
        """Put a name together; hash it if that lost anything, or if others have the same text."""
        text = "".join(literal + (texts[field] or "" if field else "") for literal, field in self._pieces)
        if self._adds and texts["name"] is not None:
            text += f"{self._adds}{texts['name']}"
        text += _MARK if marked else ""
        room = _BYTES_MAX - len(suffix.encode())
        name = _clean(text, room)
        own = self._is_read_from(text, texts, suffix, marked=marked)
        lossless = name == text and all(_is_plain(t) for t in texts.values() if t is not None)
        if own and lossless and not _HASHED.search(_seen(text)):
            return name + suffix
        hashed = text.encode("utf-8", "surrogatepass") if own else _told(texts, marked=marked)
        mark = "+" + base64.b32encode(hashlib.sha256(hashed).digest()).decode().lower()[:12]
        return _clean(text, room - len(mark)) + mark + suffix

    def _is_read_from(self, text: str, texts: Mapping[str, str | None], suffix: str, *, marked: bool) -> bool:
        """Whether these are the texts of the fields that are found in a name's text, suffix left out."""
        if len(text) > _BYTES_MAX or (not suffix and "." in text):  # that may be a suffix
            return False
        seen = _seen(text)
        found = self._pattern.fullmatch(seen.removesuffix(_MARK))
        return (
            seen.endswith(_MARK) is marked
            and found is not None
            and found.groupdict() == {field: t if t is None else _seen(t) for field, t in texts.items()}
        )


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


def _pattern(pieces: Iterable[tuple[str, str]], adds: str) -> re.Pattern[str]:
    """Return what reads the fields out of a text as `_seen`; the name of one file of several comes last."""
    parts: list[str] = []
    known: set[str] = set()
    for literal, field in pieces:
        parts.append(re.escape(_seen(literal)))
        if field:
            parts.append(f"(?P={field})" if field in known else f"(?P<{field}>{_LOOKS[field]})")
            known.add(field)
    if adds == ".":
        parts[-1] = parts[-1].replace(".*", ".*?")  # a key that ends like the second of several has a hash
        parts.append(f"(?:\\.(?P<name>{_NUMBERS}))?")
    elif adds:
        parts.append(f"(?:-(?P<name>{_LOOKS['name']}))??")  # rather not: scene-1 is a key
    return re.compile("".join(parts), re.DOTALL)


def _told(texts: Mapping[str, str | None], *, marked: bool) -> bytes:
    """Return what only these texts of the fields give, and no text in UTF-8 does."""
    return b"\xff" + json.dumps([marked, texts], sort_keys=True).encode()


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


def _seen(text: str) -> str:
    """Return what is left of a text where neither case nor spelling counts."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFC", text).upper().casefold())


def _is_plain(text: str) -> bool:
    """Whether no other text looks the same to a file system that ignores case and spelling."""
    return all(
        text == unicodedata.normalize("NFC", other)
        for other in (text, text.casefold(), text.upper().casefold())
    )
