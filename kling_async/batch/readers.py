"""Read the requests of a batch from a file or a stream: JSON lines, or CSV with field names as headers.

Lines are read as the batch takes them, in memory that does not grow with the file. A wrong line is told with
its number, each wrong field, and what would be right.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kling_async.batch.counter import SpillMap
from kling_async.batch.csv_objects import csv_objects
from kling_async.batch.json_objects import json_objects
from kling_async.batch.lines import WHOLE_LINE
from kling_async.batch.source import wrong_key
from kling_async.catalog import request_from_dict
from kling_async.errors import LineInvalid, Problem, RequestInvalid
from kling_async.wire.checks import check as check_fields
from kling_async.wire.requests import CallRequest, TaskRequest

if TYPE_CHECKING:
    from kling_async.batch.lines import LineObject, LineSource

__all__ = ["JobLine", "JobReader", "read_csv", "read_jsonl"]

Source: TypeAlias = "str | Path | LineSource"
Check: TypeAlias = Callable[[TaskRequest[Any]], object]
OnBad: TypeAlias = Callable[[LineInvalid], object]
_Objects: TypeAlias = "Callable[[LineSource, str | None], Iterator[LineObject]]"


class JobLine(NamedTuple):
    """One good line."""

    number: int
    key: str | None
    request: TaskRequest[Any]


class JobReader:
    """The requests of a file or stream, as pairs of key (None where a line has none) and request.

    Iterating over a file begins at its first line each time; a stream can be read once. A batch reads in a
    thread of its own, in which ``check`` and ``on_bad`` are called then.

    Raises:
        LineInvalid: While iterating: a line is wrong, and there is no ``on_bad``.
        OSError: While iterating: the file cannot be read.
    """

    def __init__(
        self,
        objects: _Objects,
        source: Source,
        *,
        files: str | Path | None,
        endpoint: str | None,
        check: Check,
        on_bad: OnBad | None,
    ) -> None:
        self._objects = objects
        self._source = source
        self._files = files
        self._endpoint = endpoint
        self._check = check
        self._on_bad = on_bad
        self.name = str(source) if isinstance(source, str | Path) else "-"
        """The file's name in errors; ``-`` for a stream."""

    @property
    def can_be_rehearsed(self) -> bool:
        """Whether it can be read twice with nobody noticing: no stream, and nobody is told of bad lines."""
        return self.name != "-" and self._on_bad is None

    def __iter__(self) -> Iterator[tuple[str | None, TaskRequest[Any]]]:
        for line in self.lines():
            yield line.key, line.request

    def lines(self) -> Iterator[JobLine]:
        """Yield the good lines with their numbers."""
        keys = _FirstLines()
        with contextlib.closing(keys), contextlib.ExitStack() as stack:
            source = self._source
            if isinstance(source, str | Path):
                source = stack.enter_context(Path(source).open("rb"))
            for found in self._objects(source, self._endpoint):
                made = self._made(found, keys)
                if isinstance(made, JobLine):
                    yield made
                elif self._on_bad is None:
                    raise made
                else:
                    self._on_bad(made)
                if found.last:
                    return

    def _made(self, line: LineObject, keys: _FirstLines) -> JobLine | LineInvalid:
        """Return the job of a line, or its error."""
        key, request, problems = None, None, list(line.problems)
        if isinstance(line.data, dict):
            fields = dict(line.data)
            key = fields.pop("key", None)
            if self._endpoint is not None:
                fields.setdefault("endpoint", self._endpoint)
            problems += self._key_problems(key, line.number, keys)
            # a cell that cannot be read leaves its field unset, which may be a problem of its own
            told = {problem.field for problem in problems}
            try:
                request = self._request(fields, check=not problems)
            except RequestInvalid as error:
                found = [Problem(line.headers.get(p.field, p.field), p.text) for p in error.problems]
                problems += [problem for problem in found if problem.field not in told]
        elif not problems:
            problems = [
                Problem(WHOLE_LINE, 'must be an object: {"endpoint": "text_to_video", "prompt": "..."}')
            ]
        if request is not None and not problems:
            return JobLine(line.number, key, request)
        return LineInvalid(self.name, line.number, problems, key=key if isinstance(key, str) else None)

    def _request(self, fields: dict[str, Any], *, check: bool) -> TaskRequest[Any]:
        """Return the request of a line's fields.

        Raises:
            RequestInvalid: It is wrong, or makes no task.
        """
        request = request_from_dict(fields, files=self._files)
        if isinstance(request, CallRequest):
            text = f"{request.endpoint_name!r} is answered at once and makes no task; a batch makes tasks"
            raise RequestInvalid("request", [Problem("endpoint", text)])
        if check:
            self._check(request)
        return request

    def _key_problems(self, key: object, number: int, keys: _FirstLines) -> list[Problem]:
        if key is None:
            return []
        if not isinstance(key, str):
            return [Problem("key", f"must be text, in quotation marks, not {key!r:.40}")]
        if text := wrong_key(key):
            return [Problem("key", text)]
        first = keys.of(key, number)
        if first == number:
            return []
        return [Problem("key", f"{key!r:.60} is the key of line {first}, too; keys must differ")]


class _FirstLines:
    """Knows the line of each key, in bounded memory."""

    def __init__(self) -> None:
        self._lines = SpillMap()

    def of(self, key: str, number: int) -> int:
        """Return the line in which a key came first; that is this one if it did not come before."""
        # digests have one length, so that memory is bounded whatever the length of keys
        mark = hashlib.blake2b(key.encode(), digest_size=16).digest()
        self._lines.load([mark])
        first = self._lines.get(mark)
        if first is not None:
            return first
        self._lines.put(mark, number)
        if self._lines.full:
            self._lines.spill()
        return number

    def close(self) -> None:
        self._lines.close()


def read_jsonl(
    source: Source,
    *,
    files: str | Path | None = None,
    endpoint: str | None = None,
    check: Check = check_fields,
    on_bad: OnBad | None = None,
) -> JobReader:
    """Return the requests of JSON lines, for ``client.batch()``; read as they are taken.

    A line is an object: ``{"endpoint": "text_to_video", "key": "shot-1", "prompt": "..."}``. Empty lines are
    passed over. A key may come once.

    Args:
        source: A path, or a stream of text or bytes (UTF-8): an open file, ``sys.stdin.buffer``.
        files: A folder: a line may name a file below it by its path. Default: media are https addresses or
            Base64.
        endpoint: Name of the endpoint of lines that name none.
        check: Called with each request; raises `RequestInvalid`. ``client.check`` looks at files, too.
        on_bad: Called with the `LineInvalid` of each wrong line, which is left out. Default: the first one is
            raised.
    """
    return JobReader(json_objects, source, files=files, endpoint=endpoint, check=check, on_bad=on_bad)


def read_csv(
    source: Source,
    *,
    files: str | Path | None = None,
    endpoint: str | None = None,
    check: Check = check_fields,
    on_bad: OnBad | None = None,
) -> JobReader:
    """Return the requests of a CSV file, for ``client.batch()``; read as they are taken.

    Headers are names of fields, beside ``endpoint`` and ``key``; dots lead into objects and lists
    (``camera_control.config.zoom``, ``image_list.0.image``), or a cell holds a whole one as JSON. An empty
    cell sets nothing. Commas, semicolons, tabs and bars separate cells; spreadsheets' files are read as they
    are: with a byte order mark, CRLF, a line ``sep=;``, empty columns and rows.

    Args:
        source: A path, or a stream of text or bytes (UTF-8).
        files: A folder: a cell may name a file below it by its path. Default: media are https addresses or
            Base64.
        endpoint: Name of the endpoint of rows that name none.
        check: Called with each request; raises `RequestInvalid`. ``client.check`` looks at files, too.
        on_bad: Called with the `LineInvalid` of each wrong row, which is left out. Default: the first one is
            raised.
    """
    return JobReader(csv_objects, source, files=files, endpoint=endpoint, check=check, on_bad=on_bad)
