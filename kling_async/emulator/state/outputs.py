"""Library items that a succeeded task leaves for later calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.state.items import Audio, Clip, Element, Voice

if TYPE_CHECKING:
    from kling_async.emulator.state.items import LibraryItem
    from kling_async.emulator.state.tasks import Task

__all__ = ["has_sound", "library_items", "sound_id"]

HEARD_ENDPOINTS: Final = ("avatar", "lip_sync", "advanced_lip_sync", "video_to_audio")
"""Endpoints whose videos always have sound."""


def library_items(task: Task) -> list[LibraryItem]:
    """Return the video, sound, voice or element that a task made; images cannot be named later."""
    if task.endpoint == "custom_elements":
        return [_element(task)]
    if task.endpoint == "custom_voices":
        return [_voice(task)]
    if task.endpoint == "text_to_audio":
        return [_audio(task)]
    if task.endpoint == "video_to_audio":
        return [_clip(task), _audio(task)]
    return [_clip(task)] if task.pool == "video" else []


def sound_id(task: Task) -> str:
    """Return the id of the sound that a task makes, which differs from that of a video made with it."""
    return str(int(task.output.id) + 1)


def has_sound(task: Task) -> bool:
    """Tell whether the video of a task has sound: by request, by its kind, or as the video it extends."""
    source = task.source.clip
    kept = task.endpoint == "video_extend" and source is not None and source.sound
    return kept or task.endpoint in HEARD_ENDPOINTS or task.body.get("sound") == "on"


def _clip(task: Task) -> Clip:
    """Return the video; without a model of its own it has the model and mode of its source."""
    source = task.source.clip
    return Clip(
        id=task.output.id,
        seconds=task.output.seconds,
        endpoint=task.endpoint,
        model=task.body.get("model_name") or (source.model if source else ""),
        mode=task.body.get("mode") or (source.mode if source else "std"),
        sound=has_sound(task),
        aspect=task.output.aspect if source is None else source.aspect,
        made=task.ends,
    )


def _audio(task: Task) -> Audio:
    return Audio(id=sound_id(task), seconds=task.output.seconds, made=task.ends)


def _voice(task: Task) -> Voice:
    return Voice(
        id=task.output.id,
        name=task.body["voice_name"],
        task_id=task.task_id,
        made_ms=task.times.updated_ms,
    )


def _element(task: Task) -> Element:
    body = task.body
    pictures = body.get("element_image_list", {}).get("refer_images", [{}])
    return Element(
        id=int(task.output.id),
        name=body["element_name"],
        description=body["element_description"],
        kind=body["reference_type"],
        pictures=len(pictures),
        voice=task.source.voice,
        tags=[tag["tag_id"] for tag in body.get("tag_list", ())],
        task_id=task.task_id,
        made_ms=task.times.updated_ms,
    )
