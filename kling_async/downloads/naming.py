"""Name the files of results: from a template, safe on every file system, the same in every run.

A name is a function of the values that go into it and of nothing else, so a later run finds the files of an
earlier one. Values that a file system could confuse (capitals, other spellings of a letter, forbidden
characters, a text that is too long) are distinguished by a hash at the end of the name.

So are values that give the same text only when they are joined: the second file of key ``a`` and the only
file of key ``a.1``. Every text parses back into values in exactly one way; these values own the plain text,
all others get a hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.catalog import TASKS
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kling_async.wire.requests import File

__all__ = ["FIELDS", "Template"]

FIELDS: Final = ("key", "index", "task_id", "endpoint", "name", "n")
"""Fields of a template: the caller's name of the task; its position in a batch, else 0; the vendor's id; the
endpoint's name; the file's name within its result, ``0`` or ``frontal``; its number there, from 0. Leading
zeros are for ``index`` and ``n``: ``{index:05d}``."""

_FIELD_PATTERNS: Final = {
    "key": ".*",
    "index": "[0-9]+(?:-[0-9a-f]{12})?",
    "task_id": "[0-9]+|[0-9a-z-]+",
    # longest first: one endpoint's name may be the beginning of another's
    "endpoint": "|".join(re.escape(row.name) for row in sorted(TASKS, key=lambda row: -len(row.name))),
    "name": ".*",
    "n": "[0-9]+",
}
"""Patterns by which a text is parsed back into fields, each as long as fits; other values get a hash."""
_NUMBERS: Final = ("index", "n")
_SIBLING_NUMBER: Final = "[0-9]{1,2}"
_WATERMARK_SUFFIX: Final = "-watermarked"
_BYTES_MAX: Final = 200
"""Length of a whole name in UTF-8; the usual limit is 255, and parts and sidecars add to a name."""
_LOOKS_HASHED: Final = re.compile(r"\+[a-z2-7]{12}\Z")
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
_WINDOWS_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"]
)
"""Names that Windows takes for devices, whatever follows behind a dot."""


class Template:
    """Make file names from a text with ``FIELDS`` in braces, without suffix.

    Raises:
        RequestInvalid: A field is unknown, or the text around the fields cannot be part of a file's name.
    """

    def __init__(self, text: str) -> None:
        self._pieces = tuple(_parse_template(text))
        self.fields = frozenset(slot.field for _, slot in self._pieces if slot)
        """Fields that the text holds."""
        self._separator = ""
        """Text between a name and the file's own name, added where a result has several files."""
        if not self.fields & {"name", "n"}:
            last = self._pieces[-1][1]
            self._separator = "." if last and last.field == "key" else "-"  # keys are often like scene-1
        self._pattern = _pattern(self._pieces, self._separator)

    def names(
        self, values: Mapping[str, str | int], files: Sequence[File], *, watermarked: bool = False
    ) -> list[str]:
        """Return the names of the files of one result, suffixes included.

        All differ from each other, and from the names of files with other values in a field of the template.

        Args:
            values: Values of all fields but ``name`` and ``n``.
            files: The files of the result.
            watermarked: Whether they are the watermarked copies; their names say so.
        """
        own_names = {(file.name.casefold(), file.suffix) for file in files}
        distinct = len(own_names) == len(files)  # the vendor may leave out an index, or repeat one
        names: list[str] = []
        for n, file in enumerate(files):
            own: dict[str, str | int] = {**values, "name": file.name if distinct else str(n), "n": n}
            texts: dict[str, str | None] = {
                slot.name: slot.text_of(own[slot.field]) for _, slot in self._pieces if slot
            }
            if self._separator:
                texts["name"] = str(own["name"]) if len(files) > 1 else None
            names.append(self._name(texts, file.suffix, watermarked=watermarked))
        return names

    def _name(self, texts: Mapping[str, str | None], suffix: str, *, watermarked: bool) -> str:
        """Join the fields; add a hash if cleaning lost anything, or if other values own the same text."""
        text = "".join(literal + (texts[slot.name] or "" if slot else "") for literal, slot in self._pieces)
        if self._separator and texts["name"] is not None:
            text += f"{self._separator}{texts['name']}"
        text += _WATERMARK_SUFFIX if watermarked else ""
        room = _BYTES_MAX - len(suffix.encode())
        name = _clean(text, room)
        owned = self._parses_back(text, texts, suffix, watermarked=watermarked)
        lossless = name == text and all(_is_plain(t) for t in texts.values() if t is not None)
        if owned and lossless and not _LOOKS_HASHED.search(_fold(text)):
            return name + suffix
        hashed = text.encode("utf-8", "surrogatepass") if owned else _encode(texts, watermarked=watermarked)
        mark = "+" + base64.b32encode(hashlib.sha256(hashed).digest()).decode().lower()[:12]
        return _clean(text, room - len(mark)) + mark + suffix

    def _parses_back(
        self, text: str, texts: Mapping[str, str | None], suffix: str, *, watermarked: bool
    ) -> bool:
        """Tell whether a name's text, suffix left out, parses back into these fields."""
        if len(text) > _BYTES_MAX or (not suffix and "." in text):  # a dot may begin what reads as a suffix
            return False
        folded = _fold(text)
        found = self._pattern.fullmatch(folded.removesuffix(_WATERMARK_SUFFIX))
        return (
            folded.endswith(_WATERMARK_SUFFIX) is watermarked
            and found is not None
            and found.groupdict() == {field: t if t is None else _fold(t) for field, t in texts.items()}
        )


class _Slot(NamedTuple):
    """A field at its place in a template."""

    field: str
    width: int = 0
    """Digits of a number, zeros in front included."""

    @property
    def name(self) -> str:
        """Name of the pattern's group: two widths of one field are parsed back apart."""
        return f"{self.field}_{self.width}" if self.width else self.field

    def text_of(self, value: str | int) -> str:
        """Return the text of a value; zeros go to the number in front, for an index may be ``7-<hash>``."""
        found = _NUMBER.match(str(value)) if self.width else None
        return str(value) if found is None else found[1].zfill(self.width) + found[2]


_NUMBER: Final = re.compile(r"([0-9]+)(.*)", re.DOTALL)
_SPEC: Final = re.compile(r"(?:0([1-9][0-9]?))?d?")
"""Format of a number: leading zeros up to a width, nothing else."""


def _parse_template(text: str) -> Iterable[tuple[str, _Slot | None]]:
    """Yield pairs of literal text and the field behind it; there may be none behind the last."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _invalid(f"{text!r} cannot be read: {error}") from None
    if not text.strip(" ."):
        raise _invalid("is empty")
    for literal, field, spec, conversion in parts:
        if unsafe := sorted({char for char in literal if _is_unsafe(char)}):
            raise _invalid(f"{''.join(unsafe)!r} cannot be part of a file's name")
        if field is None:
            yield literal, None
        elif field not in FIELDS or conversion:
            raise _invalid(f"no field {{{field}}}; there are {', '.join(f'{{{f}}}' for f in FIELDS)}")
        else:
            yield literal, _Slot(field, _width(field, spec or ""))


def _width(field: str, spec: str) -> int:
    """Return the width that a format demands; 0 for none."""
    if spec and field not in _NUMBERS:
        raise _invalid(f"{{{field}:{spec}}}: only {{index}} and {{n}} take a format, such as {{index:05d}}")
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise _invalid(
            f"{{{field}:{spec}}}: a format can only ask for leading zeros, such as {{{field}:05d}}"
        )
    return int(found[1] or 0)


def _invalid(text: str) -> RequestInvalid:
    return RequestInvalid("download", [Problem("name", text)])


def _pattern(pieces: Iterable[tuple[str, _Slot | None]], separator: str) -> re.Pattern[str]:
    """Return the pattern that parses a folded text into fields; a sibling's name comes last."""
    parts: list[str] = []
    known: set[str] = set()
    for literal, slot in pieces:
        parts.append(re.escape(_fold(literal)))
        if slot:
            name, pattern = slot.name, _FIELD_PATTERNS[slot.field]
            parts.append(f"(?P={name})" if name in known else f"(?P<{name}>{pattern})")
            known.add(name)
    if separator == ".":
        parts[-1] = parts[-1].replace(".*", ".*?")  # a.1 is the second file of a, so the key a.1 gets a hash
        parts.append(f"(?:\\.(?P<name>{_SIBLING_NUMBER}))?")
    elif separator:
        parts.append(f"(?:-(?P<name>{_FIELD_PATTERNS['name']}))??")  # lazy: scene-1 is a key, not a sibling
    return re.compile("".join(parts), re.DOTALL)


def _encode(texts: Mapping[str, str | None], *, watermarked: bool) -> bytes:
    """Return bytes that only these fields give; no text in UTF-8 begins with 0xff."""
    return b"\xff" + json.dumps([watermarked, texts], sort_keys=True).encode()


def _clean(text: str, room: int) -> str:
    """Return as much of a text as can stand in a file name of ``room`` bytes."""
    text = "".join("_" if _is_unsafe(char) else char for char in unicodedata.normalize("NFC", text))
    text = text.lstrip(" ")
    if text.startswith("."):
        text = f"_{text[1:]}"  # a leading dot would hide the file and look like a part's name
    if text.partition(".")[0].rstrip().upper() in _WINDOWS_DEVICES:
        text = f"_{text}"
    text = text.encode()[:room].decode(errors="ignore")
    return text.rstrip(" .") or "_"


def _is_unsafe(char: str) -> bool:
    return char in _FORBIDDEN or not char.isprintable()


def _fold(text: str) -> str:
    """Return a text as a file system sees it that ignores case and spelling."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFC", text).upper().casefold())


def _is_plain(text: str) -> bool:
    """Tell whether no other text looks the same to a file system that ignores case and spelling."""
    return all(
        text == unicodedata.normalize("NFC", other)
        for other in (text, text.casefold(), text.upper().casefold())
    )
