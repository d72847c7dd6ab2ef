"""What a task that succeeded leaves behind for later calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.emulator.state.library import Audio, Clip, Element, Voice

if TYPE_CHECKING:
    from kling_async.emulator.state.library import Thing
    from kling_async.emulator.state.tasks import Task

__all__ = ["made_by"]


def made_by(task: Task) -> list[Thing]:
    """Return the video, sound, voice or element that a task made."""
    if task.endpoint == "custom_elements":
        return [_element(task)]
    if task.endpoint == "custom_voices":
        return [_voice(task)]
    if task.endpoint == "text_to_audio":
        return [_audio(task)]
    if task.endpoint == "video_to_audio":
        return [_clip(task), _audio(task)]
    return [_clip(task)] if task.pool == "video" else []


def _clip(task: Task) -> Clip:
    """A video is of the model it was made with, or else of its source's."""
    source = task.source.clip
    return Clip(
        id=task.result_id,
        seconds=task.seconds,
        endpoint=task.endpoint,
        model=task.body.get("model_name") or (source.model if source else ""),
        mode=task.body.get("mode") or (source.mode if source else "std"),
        sound=task.body.get("sound") == "on",
        aspect=task.aspect if source is None else source.aspect,
        made=task.ends,
    )


def _audio(task: Task) -> Audio:
    return Audio(id=str(int(task.result_id) + 1), seconds=task.seconds, made=task.ends)


def _voice(task: Task) -> Voice:
    return Voice(
        id=task.result_id, name=task.body["voice_name"], task_id=task.task_id, made_ms=task.updated_ms
    )


def _element(task: Task) -> Element:
    body = task.body
    pictures = body.get("element_image_list", {}).get("refer_images", [{}])
    return Element(
        id=int(task.result_id),
        name=body["element_name"],
        description=body["element_description"],
        kind=body["reference_type"],
        pictures=len(pictures),
        voice=task.source.voice,
        tags=[tag["tag_id"] for tag in body.get("tag_list", ())],
        task_id=task.task_id,
        made_ms=task.updated_ms,
    )
