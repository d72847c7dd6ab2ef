"""The ``outputs`` of tasks of the second generation, by endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.calls.fields import number_text
from kling_async.emulator.calls.results import has_watermark
from kling_async.emulator.judging.second import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.tasks import Task

__all__ = ["second_outputs"]

Fields: TypeAlias = "dict[str, Any]"
Outputs: TypeAlias = "Callable[[Task, Links], list[Fields]]"


def second_outputs(task: Task, links: Links) -> list[Fields]:
    """Return the outputs of a task that has succeeded."""
    return _OUTPUTS.get(task.endpoint, _video)(task, links)


def _file(task: Task, links: Links, kind: str, name: str) -> Fields:
    stem, _, suffix = name.rpartition(".")
    url_of = links(task.task_id)
    files = {"type": kind, "url": url_of(name)}
    return files | {"watermark_url": url_of(f"{stem}-watermark.{suffix}")} if has_watermark(task) else files


def _video(task: Task, links: Links) -> list[Fields]:
    film = _file(task, links, "video", "0.mp4") | {"duration": number_text(task.output.seconds)}
    if SECOND[task.endpoint].solution:
        return [film]
    return [{"type": "video", "id": task.output.id, **film}]


def _image(task: Task, links: Links) -> list[Fields]:
    return [_file(task, links, "image", "0.png")]


def _clothing(task: Task, links: Links) -> list[Fields]:
    return [
        _file(task, links, "product_image", "0.png"),
        _file(task, links, "model_images", "1.png"),
        _file(task, links, "product_video", "0.mp4"),
    ]


def _subtitled(task: Task, links: Links) -> list[Fields]:
    url_of = links(task.task_id)
    film = {"type": "subbed_video", "url": url_of("0.mp4"), "duration": number_text(task.output.seconds)}
    return [film, {"type": "srt", "url": url_of("0.srt")}, {"type": "ass", "url": url_of("0.ass")}]


_OUTPUTS: Final[dict[str, Outputs]] = {
    "solution_clothing_dupe": _clothing,
    "solution_virtual_try_on": _image,
    "solution_drama_subtitle": _subtitled,
}
"""Endpoints that make other things than one video."""
