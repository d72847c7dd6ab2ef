"""The forms in which gateways answer: OpenAI's video, a row of a table of tasks, a flat task, and errors."""

from __future__ import annotations

from typing import Any, Final

from kling_async.emulator.http.answers import HttpAnswer

__all__ = ["GATEWAY_ERRORS", "flat_answer", "openai_error", "row_answer", "video_answer", "word_error"]

_ROW_STATUS: Final = {
    "submitted": "SUBMITTED",
    "processing": "IN_PROGRESS",
    "succeed": "SUCCESS",
    "failed": "FAILURE",
}
_FLAT_STATUS: Final = {
    "submitted": "queued",
    "processing": "processing",
    "succeed": "succeeded",
    "failed": "failed",
}
_PROGRESS: Final = {"submitted": "10%", "processing": "30%", "succeed": "100%", "failed": "100%"}
GATEWAY_ERRORS: Final = {429: "The upstream load of this group is saturated, please try again later"}
"""Messages that stand in the place of the vendor's."""


def word_error(status: int, word: str, message: str) -> HttpAnswer:
    """Return an error of the new-api family's task routes."""
    return HttpAnswer(status, {"code": word, "message": message, "data": None})


def openai_error(status: int, message: str, *, kind: str) -> HttpAnswer:
    """Return an error in OpenAI's form, as for keys and routes."""
    error = {"message": message, "type": kind, "param": "", "code": ""}
    return HttpAnswer(status, {"error": error})


def video_answer(public: str, data: dict[str, Any], *, model: str) -> HttpAnswer:
    """Return the answer to a create as OpenAI's object of a video; it has no status yet."""
    video = {
        "id": public,
        "task_id": public,
        "object": "video",
        "model": model,
        "status": "",
        "progress": 0,
        "created_at": data["created_at"] // 1000,
    }
    return HttpAnswer(payload=video)


def flat_answer(public: str, data: dict[str, Any]) -> HttpAnswer:
    """Return a flat task."""
    status = data["task_status"]
    failed = {"code": "task_failed", "message": data.get("task_status_msg", "")}
    task = {
        "task_id": public,
        "status": _FLAT_STATUS[status],
        "url": _address(data),
        "format": "mp4",
        "error": failed if status == "failed" else None,
        "metadata": None,
    }
    return HttpAnswer(payload={"code": "success", "message": "", "data": task})


def row_answer(public: str, vendors: dict[str, Any], *, older: bool) -> HttpAnswer:
    """Return a row of a table of tasks, with the vendor's answer in it.

    Args:
        public: The gateway's id.
        vendors: The vendor's whole answer.
        older: As `Gateway.older`.
    """
    data = vendors["data"]
    status, address = data["task_status"], _address(data)
    created, updated = data["created_at"] // 1000, data["updated_at"] // 1000
    reason = data.get("task_status_msg", "") if status == "failed" else ""
    row: dict[str, Any] = {
        "id": 4711,
        "created_at": created,
        "updated_at": updated,
        "task_id": public,
        "platform": "50",
        "user_id": 1,
        "group": "default",
        "channel_id": 3,
        "quota": 500000,
        "action": "textGenerate",
        "status": _ROW_STATUS[status],
        "fail_reason": address if older and address else reason,
        "submit_time": created,
        "start_time": 0 if status == "submitted" else created,
        "finish_time": updated if status in ("succeed", "failed") else 0,
        "progress": _PROGRESS[status],
        "properties": {"input": ""},
        "data": None if older else vendors,
    }
    if address and not older:
        row["result_url"] = address
    return HttpAnswer(payload={"code": "success", "message": "", "data": row})


def _address(data: dict[str, Any]) -> str:
    videos = (data.get("task_result") or {}).get("videos") or [{}]
    return str(videos[0].get("url") or "")
