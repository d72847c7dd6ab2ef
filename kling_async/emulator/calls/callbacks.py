"""Tasks as callbacks show them: the bare task object that is posted on each change of its status.

The form of ``/v1`` follows a callback captured in production: all three arrays of results stand there, empty
ones included, ``task_info`` is empty without an external_task_id, and no field tells the price.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.records import source_video
from kling_async.emulator.calls.results import RESULTS
from kling_async.emulator.calls.unified import as_unified
from kling_async.emulator.judging.second import SECOND

if TYPE_CHECKING:
    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.tasks import Task

__all__ = ["TEST_CALLBACK", "callback_body", "encode_callback"]

ARRAYS: Final = ("images", "videos", "audios")
"""Arrays that every ``task_result`` of a callback has."""

TEST_CALLBACK: Final = {
    "id": "913827032734642185",
    "status": "submitted",
    "outputs": [],
    "message": "",
    "create_time": 1785901861504,
    "update_time": 1785901861504,
}
"""Body of the test callback that the vendor's console sends, in the form of the second generation."""


def callback_body(task: Task, links: Links) -> dict[str, Any]:
    """Return the body of the callback about the present state of a task, in the form of its generation."""
    if task.endpoint in SECOND:
        return {"outputs": [], **as_unified(task, links)}
    external = {"external_task_id": task.external_task_id} if task.external_task_id else {}
    result: dict[str, Any] = {name: [] for name in ARRAYS}
    if task.status == "succeed":
        result |= RESULTS[task.endpoint](task, links)
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        "task_info": external | source_video(task, links),
        "task_result": result,
        "task_status_msg": task.message,
        "created_at": task.times.created_ms,
        "updated_at": task.times.updated_ms,
    }


def encode_callback(body: dict[str, Any]) -> bytes:
    """Encode a body as the vendor does: compact, and not escaped to ASCII."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
