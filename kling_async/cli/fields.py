"""Options for the fields of a request, made from its JSON schema: names, bounds, words, defaults, docs.

Fields of objects are nested by dots: ``--camera-control.config.zoom 5``. Lists are JSON. Media are ``@FILE``
or an https address, also within JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.catalog import json_schema, request_from_dict
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterator

    from kling_async.wire.requests import CallRequest, TaskRequest
    from kling_async.wire.schema import Schema

__all__ = ["add_field_arguments", "option_of", "request_of"]

_PREFIX: Final = "field:"
"""Begins the names under which the options of fields stand in a namespace."""
_WORDS_MAX: Final = 60
"""Characters up to which the words of a field stand in its option; longer lists are in its description."""


class _Option(NamedTuple):
    """The option of one field."""

    path: str
    """Path of the field, with dots."""
    schema: Schema
    required: bool


def option_of(path: str) -> str:
    """Return the option of a field: ``--camera-control.type`` of ``camera_control.type``."""
    return f"--{path.replace('_', '-')}"


def add_field_arguments(parser: ArgumentParser, endpoint: str) -> None:
    """Add an option for each field of an endpoint's requests."""
    schema = json_schema(endpoint)
    fields = parser.add_argument_group("fields of the request")
    for option in _options(schema, schema.get("$defs", {}), ""):
        _add_option(fields, option)
    fields.add_argument(
        "--extra",
        dest=f"{_PREFIX}extra",
        type=_json,
        default=argparse.SUPPRESS,
        metavar="JSON",
        help="fields of the API that this version does not know, as a JSON object",
    )


def _options(schema: Schema, parts: Schema, prefix: str) -> Iterator[_Option]:
    """Iterate over the fields of an object; objects among them are followed by their fields."""
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        path = f"{prefix}{name}"
        if path == "endpoint":
            continue
        part = parts.get(field.get("$ref", "").rpartition("/")[2])
        if part is not None and "properties" in part:
            yield from _options(part, parts, f"{path}.")
        else:
            # a field of an object that may be left out is required only together with the object
            yield _Option(path, {**field, "$defs": parts}, name in required and not prefix)


def _add_option(fields: Any, option: _Option) -> None:
    schema, name = option.schema, option_of(option.path)
    keywords: dict[str, Any] = {
        "dest": f"{_PREFIX}{option.path}",
        "default": argparse.SUPPRESS,
        "help": _help(option).replace("%", "%%"),
    }
    if schema.get("type") == "boolean":
        fields.add_argument(name, action=_OnOff, **keywords)
        return
    read, metavar = _reader(schema)
    fields.add_argument(name, type=read, metavar=metavar, **keywords)


class _OnOff(argparse.BooleanOptionalAction):
    """``--sound`` and ``--no-sound``, without a default in the help: the description has it."""


def _help(option: _Option) -> str:
    schema = option.schema
    text = str(schema.get("description", "")).replace("``", "")
    bounds = [schema.get(name) for name in ("minimum", "maximum")]
    if all(bound is not None for bound in bounds) and not all(str(bound) in text for bound in bounds):
        text += f" {bounds[0]} to {bounds[1]}."
    words = ", ".join(map(str, schema.get("enum", ())))
    if len(words) > _WORDS_MAX and "enum" in schema:
        text += f" One of {words}."
    if schema.get("type") == "array":
        text += " JSON, or @FILE with it."
    return f"(required) {text}" if option.required else text.strip()


def _reader(schema: Schema) -> tuple[Callable[[str], Any], str]:
    """Return the function that reads the text of an option, and what stands for the text in the help."""
    if _is_media(schema):
        return _media, "@FILE|URL"
    words = "|".join(map(str, schema.get("enum", ())))
    if len(words) > _WORDS_MAX:
        words = "WORD"
    match schema.get("type"):
        case "integer":
            return _whole, words or "N"
        case "number":
            return _number, words or "X"
        case "array":
            return lambda text: _with_files(_json(text), schema, schema["$defs"]), "JSON"
        case "object":
            return _json, "JSON"
        case _:
            return str, words or "TEXT"


def _is_media(schema: Schema) -> bool:
    """Tell whether a field takes an input file."""
    return any("contentEncoding" in form for form in (schema, *schema.get("anyOf", ())))


# --- texts into values


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _media(text: str) -> Path | str:
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        if not path.is_file():
            raise argparse.ArgumentTypeError(f"{text}: no such file")
        return path
    if text.lower().startswith(("https://", "http://")):  # http is judged with the request
        return text
    hint = f"write @{text}" if Path(text).is_file() else "write @FILE for a file"
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is no https address; {hint}")


def _json(text: str) -> Any:
    if text.startswith("@"):
        try:
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text in UTF-8"
            raise argparse.ArgumentTypeError(f"{text}: {reason}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}; quote it for the shell in '...'") from None


def _with_files(value: Any, schema: Schema, parts: Schema) -> Any:
    """Return a JSON value in which ``@FILE`` texts are paths, where its schema has media."""
    if _is_media(schema):
        return _media(value) if isinstance(value, str) else value
    part = parts.get(schema.get("$ref", "").rpartition("/")[2], schema)
    match value:
        case list():
            return [_with_files(item, part.get("items", {}), parts) for item in value]
        case dict():
            fields = part.get("properties", {})
            return {name: _with_files(item, fields.get(name, {}), parts) for name, item in value.items()}
        case _:
            return value


# --- values into a request


def request_of(options: argparse.Namespace, endpoint: str) -> TaskRequest[Any] | CallRequest[Any]:
    """Return the request that the options of its fields describe.

    Raises:
        RequestInvalid: Fields are missing or wrong; each is named by its option.
    """
    data: dict[str, Any] = {"endpoint": endpoint}
    for name, value in vars(options).items():
        if name.startswith(_PREFIX):
            _put(data, name.removeprefix(_PREFIX).split("."), value)
    try:
        return request_from_dict(data)
    except RequestInvalid as error:
        raise by_option(error) from None


def by_option(error: RequestInvalid) -> RequestInvalid:
    """Return an error about fields that names their options."""
    problems = [
        Problem(option_of(problem.field), problem.text) if problem.field != "request" else problem
        for problem in error.problems
    ]
    return RequestInvalid(str(error).partition(":")[0], problems)


def _put(data: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        data = data.setdefault(name, {})
    data[path[-1]] = value
