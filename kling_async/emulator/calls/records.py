"""Tasks as the answers under ``/v1`` show them: after a create, and to a query."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kling_async.emulator.calls.fields import deductions, number_text
from kling_async.emulator.calls.results import RESULTS, has_watermark
from kling_async.emulator.judging.reference import REFERENCE

if TYPE_CHECKING:
    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.tasks import Task

__all__ = ["as_created", "as_queried", "source_video"]


def as_created(task: Task) -> dict[str, Any]:
    """Return the ``data`` of the answer to a create."""
    return _record(task, REFERENCE.endpoints[task.endpoint].answers.task_info_at_once)


def as_queried(task: Task, links: Links) -> dict[str, Any]:
    """Return the ``data`` of the answer to a query; a failed task has price 0."""
    answers = REFERENCE.endpoints[task.endpoint].answers
    data: dict[str, Any] = _record(task, answers.external_task_id)
    data["task_status_msg"] = task.message
    source = source_video(task, links)
    if source:
        data["task_info"] = {**data.get("task_info", {}), **source}
    if answers.watermark_info:
        data["watermark_info"] = {"enabled": has_watermark(task)}
    if task.done:
        data |= deductions(task.units if task.status == "succeed" else Decimal(0))
    if task.status == "succeed":
        data["task_result"] = RESULTS[task.endpoint](task, links)
    return data


def source_video(task: Task, links: Links) -> dict[str, Any]:
    """Return the field of ``task_info`` that shows the video a task works on; nothing where there is none."""
    clip = task.source.clip
    if clip is None or not REFERENCE.endpoints[task.endpoint].answers.parent_video:
        return {}
    url = clip.url or links(clip.id)("0.mp4")
    return {"parent_video": {"id": clip.id, "url": url, "duration": number_text(clip.seconds)}}


def _record(task: Task, with_info: bool) -> dict[str, Any]:
    info = {"external_task_id": task.external_task_id} if task.external_task_id else {}
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        **({"task_info": info} if with_info else {}),
        "created_at": task.times.created_ms,
        "updated_at": task.times.updated_ms,
    }
