"""Read JSON lines: the object of each line, or what is wrong with the line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kling_async.batch.lines import WHOLE_LINE, LineObject, lines_of, unread
from kling_async.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.batch.lines import LineSource

__all__ = ["json_objects"]


def json_objects(source: LineSource, _endpoint: str | None) -> Iterator[LineObject]:
    """Yield the values of lines; empty lines are passed over."""
    decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode
    for line in lines_of(source):
        text = line.text.strip()
        if line.problem:
            yield unread(line)
        elif text:
            try:
                yield LineObject(line.number, decode(text))
            except (ValueError, RecursionError) as error:
                # a file with one array of jobs is wrong in each of its lines: one error is enough
                array = line.number == 1 and text.startswith("[")
                problem = Problem(WHOLE_LINE, _words(error, array=array))
                yield LineObject(line.number, None, (problem,), last=array)


def _words(error: Exception, *, array: bool) -> str:
    if array:
        return "must be one object a line, not one array; jq -c '.[]' FILE makes lines of it"
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} (column {error.colno})"
    return "is nested too deep" if isinstance(error, RecursionError) else f"is not JSON: {error}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, unless a name comes twice: one of both values would be lost.

    Raises:
        ValueError: A name comes twice.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r:.60} comes twice in one object")
    return made


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")
