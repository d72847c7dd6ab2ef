"""Lists of the second generation: all tasks of the account, page after page, by a cursor."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.unified import as_unified
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.second import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.tasks import Task

__all__ = ["is_solution", "list_history"]

_LIMITS: Final = {False: 100, True: 500}
"""Default sizes of a page: of ``/tasks``, and of ``/solutions``."""
_MOST: Final = 500
_WINDOW_MS: Final = 30 * 86400 * 1000
_FILTERS: Final[dict[str, dict[str, str]]] = {
    "status": {
        "submitted": "submitted",
        "processing": "processing",
        "succeeded": "succeed",
        "failed": "failed",
    },
    "product_type": {"video": "video", "image": "image", "try_on": "virtual_try_on"},
}
"""Values of the filters, and the emulator's words for them."""


def is_solution(task: Task) -> bool:
    """Tell whether a task was made by a solution: these have a query of their own."""
    return task.endpoint in SECOND and SECOND[task.endpoint].solution


def list_history(
    tasks: Mapping[str, Task], body: dict[str, Any] | None, links: Links, now_ms: int, *, solutions: bool
) -> dict[str, Any]:
    """Return one page, newest first; a cursor overrides the times.

    Args:
        tasks: All tasks of the account.
        body: The JSON body; None if there was none.
        links: Gives the addresses of files.
        now_ms: The wall time, milliseconds.
        solutions: Whether to list the solutions' tasks, or all others.

    Raises:
        Refusal: A field is wrong (1201).
    """
    asked = body or {}
    limit = _limit(asked, solutions=solutions)
    if not 1 <= limit <= _MOST:
        raise Refusal(1201, f"limit must be between 1 and {_MOST}")
    start, end, after = _span(asked, now_ms, solutions=solutions)
    fits = _filter(asked, solutions=solutions)
    found = [
        task
        for task in sorted(tasks.values(), key=lambda task: int(task.task_id), reverse=True)
        if start <= task.times.created_ms <= end and int(task.task_id) < after and fits(task)
    ]
    page, more = found[:limit], len(found) > limit
    data: dict[str, Any] = {"count": len(page), "has_more": more}
    if page:  # observed: an empty page has no result
        data["result"] = [as_unified(task, links) for task in page]
    if more:
        cursor = json.dumps({"start": start, "end": end, "after": int(page[-1].task_id)})
        data["next_cursor"] = base64.urlsafe_b64encode(cursor.encode()).decode()
    return data


def _span(asked: dict[str, Any], now_ms: int, *, solutions: bool) -> tuple[int, int, float]:
    """Return the first and last millisecond, and the id below which the page begins.

    The end is a part of the span, but not in the lists of solutions.
    """
    cursor = asked.get("cursor")
    if cursor:
        try:
            found = json.loads(base64.urlsafe_b64decode(str(cursor)))
            return found["start"], found["end"], found["after"]
        except (KeyError, TypeError, ValueError):
            raise Refusal(1201, "cursor is invalid") from None
    end = _number(asked, "end_time", now_ms)
    start = _number(asked, "start_time", max(0, end - _WINDOW_MS))
    if start >= end:
        raise Refusal(1201, "start_time must be earlier than end_time")
    return start, end - 1 if solutions and asked.get("end_time") else end, float("inf")


def _filter(asked: dict[str, Any], *, solutions: bool) -> Callable[[Task], bool]:
    """Return the test that the filters of a list make: ``[{"key": "status", "values": ["failed"]}]``."""
    filters = asked.get("filters") or []
    if not isinstance(filters, list) or not all(isinstance(one, dict) for one in filters):
        raise Refusal(1201, "filters value type is invalid, expected array")
    wanted: dict[str, set[str]] = {}
    for one in filters:
        key, values = str(one.get("key")), one.get("values") or []
        known = _FILTERS.get(key, {})
        if solutions and key == "status":
            known = {**known, "succeed": "succeed"}  # as the page of try-on has it
        for value in values:
            if value not in known:
                raise Refusal(1201, f"filters {key[:64]} value '{str(value)[:64]}' is invalid")
        wanted[key] = {known[value] for value in values}

    def fits(task: Task) -> bool:
        return (
            is_solution(task) is solutions
            and task.status in wanted.get("status", {task.status})
            and task.pool in wanted.get("product_type", {task.pool})
        )

    return fits


def _limit(asked: dict[str, Any], *, solutions: bool) -> int:
    """Return the size of a page; documented for solutions alone: 0 or less counts as 1."""
    value = asked.get("limit")
    if solutions and isinstance(value, int) and value < 1:
        return 1
    return _number(asked, "limit", _LIMITS[solutions])


def _number(asked: dict[str, Any], name: str, default: int) -> int:
    """Return a number, which may come as text: both were seen to work."""
    value = asked.get(name)
    if value in (None, ""):
        return default
    if isinstance(value, bool) or not str(value).isdecimal():
        raise Refusal(1201, f"{name} value '{str(value)[:64]}' is invalid")
    return int(value)
