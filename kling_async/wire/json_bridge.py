"""Read requests from plain data, as JSON holds them, and write them back.

Reading is strict: names must be known, objects must be objects, and a file is an https address or Base64, so
that a text from a stranger never opens a file of ours. All problems of a request are collected.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec
from msgspec import inspect as mi

from kling_async.errors import Problem, RequestInvalid
from kling_async.redaction import json_types
from kling_async.wire.construction import hint
from kling_async.wire.fields import WHOLE, Field, fields
from kling_async.wire.hosts import is_local
from kling_async.wire.media import Media, media
from kling_async.wire.plain import EXACT, plain, wrong_json

__all__ = ["Reader", "object_of", "written"]

S = TypeVar("S", bound=msgspec.Struct)

FieldCheck: TypeAlias = Callable[[str, Field, object], Iterable[Problem]]
"""Judges the value of one field: path, field, value."""

_UNREADABLE: Final = cast("Any", object())
"""Stands for a value whose problems were noted."""
_HINTS_MAX: Final = 20
_SHOWN: Final = 40
"""Characters of a stranger's text that are shown."""


class Reader:
    """Reads one request, and notes every problem on the way.

    Args:
        check: Judges each value that could be read.
        files: Folder of the files that a text may name by its path; None: a text names no file.
        from_http: Whether the data come from a stranger: ``extra`` is unknown then.
    """

    def __init__(
        self, check: FieldCheck, *, files: str | Path | None = None, from_http: bool = False
    ) -> None:
        self._check = check
        self._files = None if files is None else Path(files)
        self._from_http = from_http
        self._problems: dict[Problem, None] = {}
        self._hints = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems found so far, each once, in the order of the data."""
        return tuple(self._problems)

    def read(self, kind: type[S], endpoint: str, data: object) -> S | None:
        """Return the request; None if none can be constructed.

        Args:
            kind: Type of the request.
            endpoint: Name of its endpoint. Data may name it; another name is a problem. Empty: a part.
            data: An object by the names of the type's fields.
        """
        if not isinstance(data, Mapping):
            self._note(WHOLE, f"must be an object, not {_json_name(data)}")
            return None
        known = dict(data)
        if endpoint and (named := known.pop("endpoint", endpoint)) != endpoint:
            self._note("endpoint", f"must be {endpoint!r} for {kind.__name__}, not {_short(named)}")
        extra = None if self._from_http or not endpoint else known.pop("extra", None)
        made = self._struct(kind, known, "")
        if extra is None:
            return made
        if (text := "must be an object" if not isinstance(extra, Mapping) else wrong_json(extra)) is not None:
            self._note("extra", text)
            return None
        return None if made is None else msgspec.structs.replace(made, extra=dict(extra))

    def _note(self, path: str, text: str) -> None:
        self._problems[Problem(path, text)] = None

    def _struct(self, kind: type[S], data: object, prefix: str) -> S | None:
        if isinstance(data, kind):
            return data
        if not isinstance(data, Mapping):
            self._note(prefix.removesuffix("."), f"must be an object, not {_json_name(data)}")
            return None
        known = {field.name: field for field in fields(kind)}
        for name in data:
            if name not in known:
                self._note(_place(prefix, name), f"no such field{self._hint(str(name), list(known))}")
        values = {}
        for name, field in known.items():
            if name in data:
                values[name] = self._field(f"{prefix}{name}", field, data[name])
            elif field.required:
                self._note(f"{prefix}{name}", "is required")
                values[name] = _UNREADABLE
        return None if _has_unreadable(values.values()) else kind(**values)

    def _field(self, path: str, field: Field, value: object) -> Any:
        made = self._value(path, field.type, value)
        if made is _UNREADABLE:
            if isinstance(value, list | tuple) and isinstance(field.type, mi.VarTupleType):
                # the entries were judged one by one; what is left to judge is their number
                length = mi.VarTupleType(mi.AnyType(), field.type.min_length, field.type.max_length)
                self._judge(path, field._replace(type=length, extra={}), (None,) * len(value))
        else:
            self._judge(path, field, made)
        return made

    def _hint(self, name: str, known: list[str]) -> str:
        """Return the field that is meant, for the first names: a hint takes long, and a body holds many."""
        self._hints += 1
        return hint(name, known) if self._hints <= _HINTS_MAX and len(name) <= _SHOWN else ""

    def _judge(self, path: str, field: Field, value: object) -> None:
        for problem in self._check(path, field, value):
            self._problems[problem] = None

    def _value(self, path: str, node: mi.Type, value: object) -> Any:  # noqa: PLR0911 - one line a type
        match node:
            case _ if value is None:
                return None
            case mi.Metadata():
                return self._value(path, node.type, value)
            case mi.StructType() if node.cls is Media:
                return self._media(path, value)
            case mi.StructType():
                made = self._struct(node.cls, value, f"{path}.")
                return _UNREADABLE if made is None else made
            case mi.VarTupleType():
                return self._entries(path, node.item_type, value)
            case mi.DictType():
                return value
            case mi.IntType() if isinstance(value, float) and value.is_integer():
                return int(value)  # JSON has one kind of number: some encoders write each as 5.0
            case _ if isinstance(value, list | tuple | Mapping):
                # not constructed: lists nested a thousand deep would exhaust the stack
                self._judge(path, Field("", "", node, optional=True, required=False, extra={}), value)
                return _UNREADABLE
            case _:
                return plain(value)

    def _entries(self, path: str, node: mi.Type, value: object) -> Any:
        if not isinstance(value, list | tuple):
            self._note(path, f"must be a list, not {_json_name(value)}")
            return _UNREADABLE
        entries: list[Any] = []
        for at, item in enumerate(value):
            made = self._value(f"{path}[{at}]", node, item)
            if isinstance(node, mi.StructType) and made in (None, ""):
                self._note(f"{path}[{at}]", "must not be empty")
                made = _UNREADABLE
            entries.append(made)
        return _UNREADABLE if _has_unreadable(entries) else tuple(entries)

    def _media(self, path: str, value: object) -> Any:
        """Return the media of one value; a blank text is none."""
        if isinstance(value, str) and not value.strip():
            return ""
        try:
            return self._media_of(plain(value)) if isinstance(value, str) else media(cast("Any", value))
        except (ValueError, TypeError) as error:
            self._note(path, str(error))
            return _UNREADABLE

    def _media_of(self, text: str) -> Media:
        """Return the media that a text is or names.

        Raises:
            ValueError: The text is no https address, no Base64, and names no file that may be read.
        """
        if _is_insecure(text):
            raise ValueError("must be an https address, or Base64")
        # no Base64 has a dot, so a text is never taken for both
        addressed = text.lstrip()[:8].lower().startswith(("http://", "https://", "data:"))
        if self._files is not None and "." in text and not addressed:
            return media(_below(self._files, text))
        try:
            return media(text)
        except ValueError:
            instead = "" if self._from_http else "; a file is a pathlib.Path, or its path below files="
            raise ValueError(f"is neither an https address nor Base64{instead}") from None


def _has_unreadable(values: Iterable[object]) -> bool:
    return any(value is _UNREADABLE for value in values)


def _is_insecure(text: str) -> bool:
    """Tell whether a text is an http address, unless of this machine, where an emulator may serve files."""
    address = text.strip()
    if address[:7].lower() != "http://":
        return False
    try:
        return not is_local(address)
    except ValueError:  # a malformed host
        return True


def _below(folder: Path, text: str) -> Path:
    """Return the path of a file below a folder, links followed.

    Raises:
        ValueError: The text leads elsewhere.
    """
    path = PurePath(text)
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            (folder / path).stat()  # from Python 3.13 on, `resolve` says nothing of a circle of links
        inside = (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links, a name too long, a NUL
        inside = False
    if not inside or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be the path of a file below the folder of files=")
    return folder / path


def _place(prefix: str, name: object) -> str:
    """Return the path of a field that is not known."""
    text = str(name)
    return f"{prefix}{text}" if text.isidentifier() else f"{prefix.removesuffix('.')}[{_short(text)}]"


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _json_name(value: object) -> str:
    for kinds, name in _JSON_NAMES:
        if isinstance(value, kinds):
            return name
    return type(value).__name__


_JSON_NAMES: Final = (
    (Mapping, "an object"),
    ((list, tuple), "a list"),
    (str, "text"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (type(None), "null"),
)


# --- writing -----------------------------------------------------------------------------------


def written(request: msgspec.Struct, *, signed: bool, files: str | Path | None) -> dict[str, Any]:
    """Return the fields of a request that are set, in the form that `Reader` reads.

    Args:
        request: The request.
        signed: Whether addresses keep their queries.
        files: Folder below which the files lie that are written by their paths; None: none are.

    Raises:
        RequestInvalid: A value has no such form; each is named.
    """
    problems: list[Problem] = []

    def as_text(path: str, item: Media) -> Any:
        try:
            return _media_text(item, signed=signed, files=None if files is None else Path(files))
        except ValueError as error:
            problems.append(Problem(path, str(error)))

    def as_json(path: str, item: object) -> Any:
        if (type(item) not in EXACT or isinstance(item, float)) and (text := wrong_json(item)) is not None:
            problems.append(Problem(path, text))
            return None
        return json_types(item, signed)

    body = object_of(request, as_text, as_json)
    if problems:
        raise RequestInvalid(type(request).__name__, problems)
    return body


def _media_text(item: Media, *, signed: bool, files: Path | None) -> str:
    """Return the text of a media that `Reader` reads.

    Raises:
        ValueError: There is none.
    """
    if item.data is not None:
        return base64.b64encode(item.data).decode()
    if item.url is not None:
        if _is_insecure(item.url):
            raise ValueError("goes into JSON as an https address only")
        return cast("str", json_types(item.url, signed))
    if files is None:
        raise ValueError("is a file of this machine: give files=, a folder above it, or pass its bytes")
    path = Path(item.path or "")
    try:
        text = path.relative_to(files).as_posix()
    except ValueError:
        text = ".."
    if ".." in text.split("/"):
        raise ValueError("is not below the folder of files=")
    return text if "." in text else f"./{text}"  # the dot tells a path from Base64


def object_of(
    value: msgspec.Struct, as_text: Callable[[str, Media], Any], as_json: Callable[[str, object], Any]
) -> dict[str, Any]:
    """Return the fields of a request or part that are set, parts as objects.

    Args:
        value: The request or part.
        as_text: Returns the text of a media, by its path.
        as_json: Returns any other value in JSON types, by its path.
    """

    def shown(path: str, item: object) -> Any:
        match item:
            case Media():
                return as_text(path, item)
            case msgspec.Struct():
                return inside(item, f"{path}.")
            case tuple():
                return [shown(f"{path}[{at}]", entry) for at, entry in enumerate(item)]
            case _:
                return as_json(path, item)

    def inside(struct: msgspec.Struct, prefix: str) -> dict[str, Any]:
        named = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
        return {
            name: shown(f"{prefix}{name}", item)
            for name, item in named
            if item is not None and not (name == "extra" and item == {})
        }

    return inside(value, "")


@json_types.register
def _(item: Media, signed: bool) -> str:
    """Show a media beside other values: no content, which may be large."""
    if item.url is not None:
        return cast("str", json_types(item.url, signed))
    return item.path if item.path is not None else f"<{len(item.data or b'')} bytes>"
