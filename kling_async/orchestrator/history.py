"""History: the tasks of an account, of both generations and all products, page after page."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from kling_async.errors import BadResponse, Problem, RequestInvalid
from kling_async.orchestrator.calls import read
from kling_async.orchestrator.cursors import Cursor
from kling_async.orchestrator.unified import check_serves
from kling_async.records import PAGE_SIZE_MAX, TaskRecord, decode, decode_unified_page
from kling_async.wire.checks import warn_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.orchestrator.engine import Engine

__all__ = ["History", "HistoryOf", "history_query"]

HistoryOf = Literal["tasks", "solutions"]

_STATUSES: Final = ("submitted", "processing", "succeeded", "failed")
_PRODUCTS: Final = ("video", "image", "try_on")


class _Page(msgspec.Struct, frozen=True):
    """One page; the last one may lack everything but ``has_more``."""

    result: msgspec.Raw = msgspec.Raw(b"[]")
    next_cursor: Any = ""
    has_more: Any = False


_pages: Final = msgspec.json.Decoder(_Page)


def history_query(
    of: HistoryOf,
    *,
    start: dt.datetime | None,
    end: dt.datetime | None,
    status: str | Sequence[str] | None,
    product_type: str | Sequence[str] | None,
) -> dict[str, Any]:
    """Return the query for the first page.

    Raises:
        RequestInvalid: Names the arguments that cannot be right.
    """
    wrong: list[Problem] = []
    body: dict[str, Any] = {"limit": PAGE_SIZE_MAX}
    if of not in ("tasks", "solutions"):
        wrong.append(Problem("of", f'must be "tasks" or "solutions", not {of!r:.40}'))
    for name, time in (("start", start), ("end", end)):
        if isinstance(time, dt.datetime) and time.tzinfo is not None:
            body[f"{name}_time"] = int(time.timestamp() * 1000)
        elif time is not None:
            wrong.append(Problem(name, "must be a datetime with a time zone, such as tzinfo=datetime.UTC"))
    if body.get("start_time", 0) >= body.get("end_time", float("inf")):
        wrong.append(Problem("end", "must be later than start"))
    if of == "solutions" and product_type is not None:
        wrong.append(Problem("product_type", "is no filter of the solutions"))
    filters = []
    for key, given, known in (("status", status, _STATUSES), ("product_type", product_type, _PRODUCTS)):
        if given is not None:
            filters.append({"key": key, "values": _words(key, given, known, wrong)})
    if wrong:
        raise RequestInvalid("history", wrong)
    return {**body, "filters": filters} if filters else body


def _words(key: str, given: str | Sequence[str], known: Sequence[str], wrong: list[Problem]) -> list[str]:
    words = [given] if isinstance(given, str) else list(given)
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        wrong.append(Problem(key, "must be a word or words, or be left out"))
        return []
    # the first generation's words mean the same
    same = {"succeed": "succeeded", "try-on": "try_on", "virtual_try_on": "try_on"}
    words = list(dict.fromkeys(same.get(word, word) for word in words))
    for word in words:
        if word not in known:
            warn_once(f"history({key}={word!r:.40}): known are {', '.join(known)}; the vendor will judge it")
    return words


class History(AsyncIterator[TaskRecord]):
    """Iterates over the tasks of an account, in the vendor's order.

    Args:
        engine: The client's engine.
        of: All tasks but those of the solutions, or only these.
        query: That for the first page; see `history_query`.

    Raises:
        ConfigurationError: A key pair, or the former host, which has no such list.
    """

    def __init__(self, engine: Engine, of: HistoryOf, query: dict[str, Any]) -> None:
        check_serves(engine.transport, "history()", f"/{of}")
        self._engine = engine
        self._path = f"/{of}"
        self._query: dict[str, Any] | None = query
        self._page: list[TaskRecord] = []
        self._cursor = Cursor()

    async def __anext__(self) -> TaskRecord:
        while not self._page:
            # raised only here, after the tasks of the last page, so that none is lost
            if self._cursor.broken:
                raise BadResponse(
                    f"the history cannot be read further: {self._cursor.broken}", http_status=200
                )
            if self._query is None:
                raise StopAsyncIteration
            await self._turn(self._query)
        return self._page.pop()

    async def _turn(self, query: dict[str, Any]) -> None:
        got = await read(self._engine, "POST", self._path, body=msgspec.json.encode(query), harmless=True)
        try:
            page = decode(_pages, bytes(got.data))
            tasks = bytes(page.result)
            records = [] if tasks == b"null" else decode_unified_page(tasks)
        except msgspec.DecodeError as error:
            answer = got.answer
            raise BadResponse(
                f"the history cannot be read: {error}",
                http_status=answer.http_status,
                request_id=answer.request_id,
            ) from None
        self._page = records[::-1]
        cursor = page.next_cursor if isinstance(page.next_cursor, str) else ""
        after = self._cursor.after(cursor, has_more=page.has_more is True)
        # a cursor overrides the times, and wants the same filters
        kept: dict[str, Any] = {name: query[name] for name in ("limit", "filters") if name in query}
        self._query = None if after is None else {**kept, "cursor": after}
