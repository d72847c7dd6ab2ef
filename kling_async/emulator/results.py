"""What the API says about a task, and where its files are."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.clips import mp4
from kling_async.emulator.pictures import png

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.tasks import Task

__all__ = ["LOOKS", "UrlOf", "as_created", "as_path_style", "as_queried", "file_of"]

Look: TypeAlias = "Callable[[Task, UrlOf], dict[str, Any]]"
UrlOf: TypeAlias = "Callable[[str], str]"
"""Gives the address of a task's file by its name."""


def as_created(task: Task) -> dict[str, Any]:
    """Return the ``data`` of a create's answer."""
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        "task_info": {"external_task_id": task.external_task_id} if task.external_task_id else {},
        "created_at": task.created_ms,
        "updated_at": task.updated_ms,
    }


def as_queried(task: Task, url_of: UrlOf) -> dict[str, Any]:
    """Return the ``data`` of a query's answer; a failed task is not billed."""
    data = as_created(task) | {
        "task_status_msg": task.message,
        "watermark_info": {"enabled": _marked(task)},
    }
    if task.done:
        units = task.units if task.status == "succeed" else Decimal(0)
        data["final_unit_deduction"] = _plain(units)
        data["final_balance_deduction"] = {"quota": "0", "list_price": "0"}
    if task.status == "succeed":
        data["task_result"] = LOOKS[task.endpoint](task, url_of)
    return data


def as_path_style(task: Task, url_of: UrlOf) -> dict[str, Any]:
    """Return a task as the second generation shows it: other words, no task_info, results in one array."""
    data: dict[str, Any] = {
        "id": task.task_id,
        "status": "succeeded" if task.status == "succeed" else task.status,
        "message": task.message,
        "create_time": task.created_ms,
        "update_time": task.updated_ms,
    }
    if task.external_task_id:
        data["external_id"] = task.external_task_id
    if task.status == "succeed":
        result = LOOKS[task.endpoint](task, url_of)
        data["outputs"] = [
            {"type": kind.removesuffix("s")} | {k: v for k, v in item.items() if k != "index"}
            for kind, items in result.items()
            for item in items
        ]
        amount = _plain(task.units)
        data["billing"] = [{"charge_type": "unit", "amount": amount, "package_type": task.pool}]
    return data


def _plain(units: Decimal) -> str:
    text = f"{units:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _marked(task: Task) -> bool:
    return bool(task.body.get("watermark_info", {}).get("enabled"))


def _links(task: Task, url_of: UrlOf, name: str, suffix: str) -> dict[str, str]:
    links = {"url": url_of(f"{name}{suffix}")}
    return links | {"watermark_url": url_of(f"{name}-watermark{suffix}")} if _marked(task) else links


def videos(task: Task, url_of: UrlOf) -> dict[str, Any]:
    """One clip; its id is not the task's."""
    clip = {"id": str(int(task.task_id) + 1), **_links(task, url_of, "0", ".mp4")}
    return {"videos": [clip | {"duration": str(task.body["duration"])}]}


def images(task: Task, url_of: UrlOf) -> dict[str, Any]:
    """As many images as were asked for."""
    count = range(int(task.body["n"]))
    return {"images": [{"index": i, **_links(task, url_of, str(i), ".png")} for i in count]}


LOOKS: Final[dict[str, Look]] = {
    "text_to_video": videos,
    "image_generation": images,
}
"""How the ``task_result`` of each endpoint looks."""


def file_of(task: Task, name: str) -> tuple[bytes, str]:
    """Return a file and its type; its name is one that `LOOKS` gave."""
    aspect = task.body.get("aspect_ratio", "16:9")
    stem, _, suffix = name.rpartition(".")
    if suffix == "mp4":
        return mp4(aspect, float(task.body["duration"])), "video/mp4"
    index, _, mark = stem.partition("-")
    seed = f"{task.body.get('prompt')} {task.task_id} {index}"
    return png(seed, aspect, marked=bool(mark)), "image/png"
