"""Read the task objects of gateways: each becomes a task under the names of ``/v1``."""

from __future__ import annotations

from typing import Any, Final

from kling_async.decoding.lenient import milliseconds_of, text_of, words_of

__all__ = ["flat_task", "is_flat", "job_task", "video_task"]

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


def is_flat(task: Fields) -> bool:
    """Tell whether a task object is flat, and no row of a gateway's table."""
    return any(name in task for name in _FLAT) and not any(name in task for name in _ROW)


def video_task(video: Fields) -> Fields | None:
    """Read OpenAI's form of a video, the answer to a create and of some queries; None: it shows no id."""
    task_id = text_of(video.get("task_id")) or text_of(video.get("id"))
    if task_id is None:
        return None
    metadata = _fields(video.get("metadata"))
    status = _status(video.get("status"))
    return {
        **video,
        "task_id": task_id,
        "task_status": status,
        "task_status_msg": _reason(video.get("error")),
        "task_result": _video_result(
            status, metadata.get("url"), video.get("url"), metadata.get("result_url")
        ),
        "created_at": milliseconds_of(video.get("created_at")),
        "updated_at": milliseconds_of(video.get("completed_at")),
    }


def job_task(row: Fields) -> Fields | None:
    """Read a row of a gateway's table of tasks, with the vendor's own answer in its ``data``; None: no id.

    The address stands in ``result_url``, in older gateways in ``fail_reason``, also of tasks that succeeded.
    The vendor's own answer has all addresses with their ids and lengths, and goes first.
    """
    task_id = text_of(row.get("task_id"))
    if task_id is None:
        return None
    vendors = _fields(_fields(row.get("data")).get("data"))
    status, reason = _status(row.get("status")), words_of(row.get("fail_reason"))
    result = vendors.get("task_result")
    if status == "succeed" and not _has_address(result):
        result = _video_result(status, row.get("result_url"), reason)
    known = {name: value for name, value in row.items() if name not in ("data", "id")}
    return {
        **known,
        **vendors,
        "task_id": task_id,
        "task_status": status,
        "task_status_msg": "" if _is_address(reason) else reason or words_of(vendors.get("task_status_msg")),
        "task_result": result,
        "created_at": _time(row.get("submit_time"), row.get("created_at"), vendors.get("created_at")),
        "updated_at": _time(row.get("finish_time"), row.get("updated_at"), vendors.get("updated_at")),
    }


def flat_task(task: Fields) -> Fields | None:
    """Read a flat task; None: it shows no id."""
    task_id = text_of(task.get("task_id")) or text_of(task.get("id"))
    if task_id is None:
        return None
    status = _status(task.get("status"))
    return {
        **task,
        "task_id": task_id,
        "task_status": status,
        "task_status_msg": _reason(task.get("error")),
        "task_result": _video_result(status, task.get("url")),
    }


def _status(word: Any) -> str:
    """Return the vendor's word for a status; a task that was just made may have none."""
    if not isinstance(word, str) or not word.strip():
        return "submitted"
    return _STATUS.get(word.strip().lower(), word)


def _video_result(status: str, *addresses: Any) -> Fields | None:
    found = next((text for text in addresses if _is_address(text)), None)
    return {"videos": [{"url": found}]} if found is not None and status == "succeed" else None


def _has_address(result: Any) -> bool:
    """Tell whether a ``task_result`` of the vendor's names a file."""
    lists = result.values() if isinstance(result, dict) else ()
    return any(_fields(file).get("url") for files in lists if isinstance(files, list) for file in files)


def _is_address(text: Any) -> bool:
    return isinstance(text, str) and text.startswith(("https://", "http://"))


def _reason(error: Any) -> str:
    return words_of(_fields(error).get("message") or error)


def _time(*times: Any) -> int:
    return next(filter(None, map(milliseconds_of, times)), 0)


def _fields(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}
