"""Read the task objects of gateways: each becomes a task under the names of ``/v1``."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urljoin

import msgspec

from kling_async.decoding.lenient import milliseconds_of, text_of, words_of

__all__ = ["as_fields", "is_flat", "task_fields"]

Fields = dict[str, Any]

_STATUS: Final = {
    # rows of a gateway's own table
    "not_start": "submitted",
    "submitted": "submitted",
    "queued": "submitted",
    "in_progress": "processing",
    "success": "succeed",
    "failure": "failed",
    # OpenAI's videos, and flat answers
    "processing": "processing",
    "completed": "succeed",
    "succeeded": "succeed",
    "succeed": "succeed",
    "failed": "failed",
}
"""Words of gateways and the vendor's words for them; another word stays as it is and counts as running."""
_FLAT: Final = ("url", "format")
"""Fields that only flat tasks have."""
_ROW: Final = ("submit_time", "fail_reason", "platform")
"""Fields that only rows of a gateway's table have."""
_ADDRESSES: Final = ("result_url", "url", "video_url")
_OWN: Final = ("data", "id")
"""Fields of a gateway's task that mean something else in a task of the vendor's."""


def is_flat(task: Fields) -> bool:
    """Tell whether a task object is flat, and no row of a gateway's table."""
    return any(name in task for name in _FLAT) and not any(name in task for name in _ROW)


def task_fields(task: Fields, base_url: str) -> Fields | None:
    """Read a gateway's task: OpenAI's video, a row of its table, or flat; None: it shows no id.

    Forms are mixed in practice, so each fact is taken from wherever it stands. The address of the result
    stands in ``url`` or ``result_url``, in older gateways in ``fail_reason``, also of tasks that succeeded.
    The vendor's own answer within it has all addresses with their ids and lengths, and goes first; its status
    may be older than the gateway's, and counts only where the gateway has no word for it.

    Args:
        task: The object.
        base_url: Address of the API, for result addresses without a host.
    """
    task_id = text_of(task.get("task_id")) or text_of(task.get("id"))
    if task_id is None:
        return None
    vendors = _vendors_task(task.get("data"))
    status = _status(task, vendors)
    return {
        **{name: value for name, value in task.items() if name not in _OWN},
        **vendors,
        "task_id": task_id,
        "task_status": status,
        "task_status_msg": _reason(task, vendors),
        "task_result": _result(task, vendors, status, base_url),
        "created_at": _time(task.get("submit_time"), task.get("created_at"), vendors.get("created_at")),
        "updated_at": _time(
            task.get("finish_time"),
            task.get("completed_at"),
            task.get("updated_at"),
            vendors.get("updated_at"),
        ),
    }


def as_fields(value: Any) -> Fields:
    """Return an object, also one that is encoded twice or the only entry of an array; else an empty one."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else {}


def _vendors_task(answer: Any) -> Fields:
    """Return the vendor's task out of its own answer, with its envelope or without."""
    fields = as_fields(answer)
    if any(name in fields for name in ("task_status", "task_result")):
        return fields
    return as_fields(fields.get("data"))


def _status(task: Fields, vendors: Fields) -> str:
    """Return the vendor's word for a status; a task that was just made may have none."""
    candidates = (task.get("status"), task.get("task_status"), vendors.get("task_status"))
    words = [word.strip() for word in candidates if isinstance(word, str) and word.strip()]
    known = (_STATUS.get(word.lower()) for word in words)
    return next(filter(None, known), words[0] if words else "submitted")


def _reason(task: Fields, vendors: Fields) -> str:
    """Return why a task failed."""
    error = task.get("error")
    reasons = (
        task.get("fail_reason"),
        as_fields(error).get("message") or error,
        task.get("task_status_msg"),
        vendors.get("task_status_msg"),
    )
    return next((words for reason in reasons if (words := words_of(reason)) and not _is_address(words)), "")


def _result(task: Fields, vendors: Fields, status: str, base_url: str) -> Any:
    for result in (vendors.get("task_result"), task.get("task_result")):
        if _has_address(result):
            return result
    if status != "succeed":
        return None
    metadata = as_fields(task.get("metadata"))
    shown = (holder.get(name) for holder in (task, metadata) for name in _ADDRESSES)
    reason = task.get("fail_reason")
    addresses = (*map(_reference, shown), reason if _is_address(reason) else None)
    found = next(filter(None, addresses), None)
    return None if found is None else {"videos": [{"url": urljoin(f"{base_url}/", found)}]}


def _has_address(result: Any) -> bool:
    """Tell whether a ``task_result`` of the vendor's names a file."""
    lists = result.values() if isinstance(result, dict) else ()
    return any(as_fields(file).get("url") for files in lists if isinstance(files, list) for file in files)


def _is_address(text: Any) -> bool:
    return isinstance(text, str) and text.strip().startswith(("https://", "http://"))


def _reference(value: Any) -> str | None:
    """Return the address of a file, with its host or below that of the API."""
    text = value.strip() if isinstance(value, str) else ""
    return text if _is_address(text) or text.startswith("/") else None


def _time(*times: Any) -> int:
    return next(filter(None, map(milliseconds_of, times)), 0)
