"""Check a request before anything is paid, and encode it as the JSON object of the API.

Bounds, words and wire forms stand once, in the ``Meta`` of a request's fields; this module reads them.
``Meta(extra=...)`` may hold ``wire`` (``"text"``: a number sent as text; ``"on_off"``, ``"yes_no"``: a bool
sent as a word), ``place`` (where in the body it stands, see `placement`) and ``media`` (the `Limits` of a
file); ``default``, ``unit`` and ``models`` are the vendor's, held by tests against reference and docstrings.
msgspec checks nothing when a struct is constructed, and its ``convert`` stops at the first error, so this
walk is our own and reports every error at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import inspect as mi

from kling_async.errors import KlingWarning, Problem, RequestInvalid
from kling_async.wire.caller import warn_user
from kling_async.wire.fields import Field, entries, fields
from kling_async.wire.media import Media
from kling_async.wire.media_formats import Limits, judge_source
from kling_async.wire.placement import merged, put
from kling_async.wire.plain import wrong_json

__all__ = [
    "Doubt",
    "Rule",
    "check",
    "check_field",
    "check_free",
    "has_files",
    "media_fields",
    "problems_of",
    "to_wire",
    "warn_once",
    "wrong_with",
]


class Doubt(NamedTuple):
    """A value that looks wrong but that only the vendor can judge: it warns once per text."""

    field: str
    text: str


Rule: TypeAlias = Callable[[Any], Iterable[Problem | Doubt]]
"""A check over several fields; it runs only on a request whose types are right."""


def check(request: Any) -> None:
    """Check all fields and rules of a request.

    Raises:
        RequestInvalid: One field or more is wrong; every one is named. Nothing was sent.
    """
    if found := problems_of(request, warn_once):
        raise RequestInvalid(type(request).__name__, found)


def problems_of(request: Any, on_doubt: Callable[[str], object]) -> list[Problem]:
    """Return the problems of all fields and rules of a request or part.

    Args:
        request: The request or part.
        on_doubt: Called with the words of each `Doubt`.
    """
    problems = list(_walk(request, ""))
    well_typed = not any(isinstance(p, _WrongType) for p in problems)
    found: list[Problem] = [Problem(*p) for p in problems]
    found += check_free("extra", getattr(request, "extra", {}))  # a part has none
    wrong = {problem.field for problem in found}
    for rule in type(request).rules if well_typed else ():
        for result in rule(request):
            if isinstance(result, Doubt):
                on_doubt(f"{type(request).__name__}.{result.field}: {result.text}")
            elif result.field not in wrong:
                found.append(result)
    return found


def check_field(path: str, field: Field, value: object) -> Iterator[Problem]:
    """Yield the problems of the value of one field, nested ones included; rules between fields do not run."""
    return (Problem(*found) for found in _check_field(path, field, value))


def wrong_with(request: Any) -> RequestInvalid | None:
    """Return the error that `check` raises; None if the request is right."""
    try:
        check(request)
    except RequestInvalid as error:
        return error
    return None


def check_free(field: str, value: Any) -> Iterator[Problem]:
    """Yield the problems of an object of fields that this package does not know."""
    if not isinstance(value, dict):
        yield Problem(field, "must be a dict")
        return
    options = value.get("options")
    for name in ("external_task_id", "callback_url"):
        if name in value or (isinstance(options, dict) and name in options):
            at = f"{field}[{name!r}]" if name in value else f"{field}['options'][{name!r}]"
            yield Problem(at, f"belongs to the call: submit(..., {name}=...)")
    if (text := wrong_json(value)) is not None:
        yield Problem(field, text)


_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Give a `KlingWarning` at the user's line, the first time in this process that this text comes up."""
    if text not in _warned:
        _warned.add(text)
        warn_user(text, KlingWarning)


class _WrongType(NamedTuple):
    """A `Problem` of a type. The rules do not run when there is one, for they trust the types."""

    field: str
    text: str


_Found: TypeAlias = Problem | _WrongType


def _walk(value: msgspec.Struct, prefix: str) -> Iterator[_Found]:
    for field in fields(type(value)):
        item = getattr(value, field.name)
        if item is not None or field.required or not field.optional:
            yield from _check_field(f"{prefix}{field.name}", field, item)


def _check_field(path: str, field: Field, value: object) -> Iterator[_Found]:
    if value is None or (isinstance(value, str) and not value.strip()):
        if field.required:
            readable = isinstance(value, str) and isinstance(field.type, mi.StrType)
            yield (Problem if readable else _WrongType)(path, "must not be empty")
        elif value is None and not field.optional:
            yield _WrongType(path, "must not be None")
        return
    yield from _check_value(path, field.type, value)
    for at, item in entries(path, value) if "media" in field.extra else ():
        if isinstance(item, Media) and (text := judge_source(item, field.extra["media"])):
            yield Problem(at, text)


def _check_value(path: str, node: mi.Type, value: object) -> Iterator[_Found]:  # noqa: C901 - one case a type
    match node:
        case mi.StrType():
            yield from _check_text(path, node, value)
        case mi.IntType() | mi.FloatType():
            yield from _check_number(path, node, value)
        case mi.BoolType():
            if not isinstance(value, bool):
                yield _WrongType(path, f"must be True or False, not {_name(value)}")
        case mi.LiteralType():
            yield from _check_word(path, node, value)
        case mi.VarTupleType():
            yield from _check_items(path, node, value)
        case mi.Metadata():
            yield from _check_value(path, node.type, value)
        case mi.StructType():
            yield from _check_struct(path, node.cls, value)
        case mi.UnionType():
            yield from _check_union(path, node, value)
        case _:  # an object without bounds
            if (text := wrong_json(value)) is not None:
                yield _WrongType(path, text)


def _check_struct(path: str, kind: type, value: object) -> Iterator[_Found]:
    if isinstance(value, kind):
        if isinstance(value, msgspec.Struct) and not isinstance(value, Media):
            yield from _walk(value, f"{path}.")
    elif kind is not Media:
        yield _WrongType(path, f"must be of type {kind.__name__}, not {_name(value)}")
    elif isinstance(value, tuple):
        yield _WrongType(path, "must be one file, not a list of files")
    else:
        yield _WrongType(path, f"must be an address, bytes or a Path, not {_name(value)}")


def _check_union(path: str, node: mi.UnionType, value: object) -> Iterator[_Found]:
    """Check a value that may have one of several types: by the first that fits, else all are named."""
    found = [list(_check_value(path, kind, value)) for kind in node.types]
    fitting = [problems for problems in found if not any(isinstance(p, _WrongType) for p in problems)]
    if fitting:
        yield from min(fitting, key=len)
    else:
        kinds = {_SCALARS[type(kind)] for kind in node.types if type(kind) in _SCALARS}
        yield _WrongType(path, f"must be {_either(kinds)}, not {_name(value)}")


_SCALARS: Final[dict[type[mi.Type], type]] = {mi.IntType: int, mi.FloatType: float, mi.StrType: str}


def _check_word(path: str, node: mi.LiteralType, value: object) -> Iterator[_Found]:
    kinds = {type(word) for word in node.values}
    if type(value) not in kinds:
        yield _WrongType(path, f"must be {_either(kinds)}, not {_name(value)}")
    elif value not in node.values:
        known = ", ".join(repr(v) for v in sorted(node.values, key=_numbers_last))
        yield Problem(path, f"{_short(value)} is not one of {known}")


def _either(kinds: set[type]) -> str:
    names = ((float, "a number"), (int, "a whole number"), (str, "text"))
    return " or ".join(name for kind, name in names if kind in kinds)


# -- exact types: `coerce` made them, and the encoder takes no others


def _check_text(path: str, node: mi.StrType, value: object) -> Iterator[_Found]:
    if type(value) is not str:
        yield _WrongType(path, f"must be text, not {_name(value)}")
    elif not _is_unicode(value):
        yield Problem(path, "holds half a character (a lone surrogate), which JSON cannot carry")
    elif node.max_length is not None and len(value) > node.max_length:
        yield Problem(path, f"has {len(value)} characters; at most {node.max_length}")


def _check_number(path: str, node: mi.IntType | mi.FloatType, value: object) -> Iterator[_Found]:
    whole = isinstance(node, mi.IntType)
    if type(value) is not int and (whole or type(value) is not float):
        yield _WrongType(path, f"must be a {'whole ' if whole else ''}number, not {_name(value)}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(path, f"{value} is not a number the API knows")
    elif node.ge is not None and value < node.ge:
        yield Problem(path, f"{_plain(value)} is too small; at least {node.ge:g}")
    elif node.le is not None and value > node.le:
        yield Problem(path, f"{_plain(value)} is too large; at most {_plain(node.le)}")


def _check_items(path: str, node: mi.VarTupleType, value: object) -> Iterator[_Found]:
    if not isinstance(value, tuple):
        yield _WrongType(path, f"must be a list or tuple, not {_name(value)}")
        return
    if node.min_length is not None and len(value) < node.min_length:
        yield Problem(path, f"has {len(value)} entries; at least {node.min_length}")
    if node.max_length is not None and len(value) > node.max_length:
        yield Problem(path, f"has {len(value)} entries; at most {node.max_length}")
    for index, item in enumerate(value):
        yield from _check_value(f"{path}[{index}]", node.item_type, item)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str:
    kind = type(value)
    is_namesake = kind.__module__ != "builtins" and kind.__name__ in _BUILTIN  # such as numpy.bool
    return f"{kind.__module__}.{kind.__name__}" if is_namesake else kind.__name__


_BUILTIN: Final = frozenset({"bool", "int", "float", "str", "bytes", "list", "tuple", "dict"})


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _plain(number: float) -> str:
    text = str(number) if isinstance(number, int) else f"{number:g}"
    return text if len(text) <= 40 else text[:37] + "..."


def _numbers_last(word: object) -> tuple[bool, int, str]:
    return str(word)[:1].isdigit(), word if isinstance(word, int) else 0, str(word)


def media_fields(request: msgspec.Struct) -> Iterator[tuple[str, Media, Limits]]:
    """Yield every media of a request with its path and limits, nested ones included."""
    yield from _media_fields(request, "")


def has_files(request: msgspec.Struct) -> bool:
    """Tell whether any media of a request is a file or bytes."""
    for field in _nested(type(request)):
        if getattr(request, field.name) is not None:
            return any(media.url is None for _, media, _ in media_fields(request))
    return False


@functools.cache
def _nested(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """Return the fields that hold media, or structs that may hold some."""
    kinds = mi.StructType | mi.VarTupleType | mi.UnionType
    return tuple(field for field in fields(struct) if "media" in field.extra or isinstance(field.type, kinds))


def _media_fields(value: msgspec.Struct, prefix: str) -> Iterator[tuple[str, Media, Limits]]:
    for field in _nested(type(value)):
        item = getattr(value, field.name)
        if item is None:
            continue
        for at, entry in entries(f"{prefix}{field.name}", item):
            if isinstance(entry, Media):
                yield at, entry, field.extra["media"]
            elif isinstance(entry, msgspec.Struct):
                yield from _media_fields(entry, f"{at}.")


def to_wire(request: Any, load: Callable[[Media], str]) -> dict[str, Any]:
    """Return the JSON object of a request; ``load`` gives the text of a media (address or bare Base64)."""
    kind: type[msgspec.Struct] = type(request)
    body = _object(request, load)
    return merged(body, request.extra) if _has_places(kind) else {**body, **request.extra}


@functools.cache
def _has_places(struct: type[msgspec.Struct]) -> bool:
    return any("place" in field.extra for field in fields(struct))


def _object(value: msgspec.Struct, load: Callable[[Media], str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for field in fields(type(value)):
        item = getattr(value, field.name)
        if item is None or (isinstance(item, str) and not item.strip()):
            continue
        made = _wire_value(item, field.extra.get("wire"), load)
        if (place := field.extra.get("place")) is None:
            body[field.wire_name] = made
        else:
            put(body, place, made)
    return body


def _wire_value(value: Any, form: str | None, load: Callable[[Media], str]) -> Any:
    match value:
        case Media():
            return load(value)
        case msgspec.Struct():
            return _object(value, load)
        case tuple():
            return [_wire_value(item, form, load) for item in value]
        case _:
            pass
    if form == "text":
        return f"{value:g}" if isinstance(value, float) else str(value)
    words = _TRUTHS.get(form or "")
    return words[not value] if words else value


_TRUTHS: Final = {"on_off": ("on", "off"), "yes_no": ("yes", "no")}
