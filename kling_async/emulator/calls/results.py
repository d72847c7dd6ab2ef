"""The ``task_result`` of each endpoint, as the answers to queries show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.calls.fields import element_fields, number_text, voice_fields
from kling_async.emulator.state.items import Element, Voice
from kling_async.emulator.state.outputs import sound_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.calls.fields import Links, UrlOf
    from kling_async.emulator.state.tasks import Task

__all__ = ["RESULTS", "has_watermark"]

ResultBuilder: TypeAlias = "Callable[[Task, Links], dict[str, Any]]"


def has_watermark(task: Task) -> bool:
    """Tell whether the request asks for copies with a watermark."""
    return bool(task.body.get("watermark_info", {}).get("enabled"))


def _files(task: Task, url_of: UrlOf, name: str, suffix: str) -> dict[str, str]:
    files = {"url": url_of(f"{name}{suffix}")}
    return files | {"watermark_url": url_of(f"{name}-watermark{suffix}")} if has_watermark(task) else files


def video_result(task: Task, links: Links) -> dict[str, Any]:
    """Return one video, whose id differs from the task's."""
    clip = {"id": task.output.id, **_files(task, links(task.task_id), "0", ".mp4")}
    return {"videos": [clip | {"duration": number_text(task.output.seconds)}]}


def effect_result(task: Task, links: Links) -> dict[str, Any]:
    """Return one video without its length, as in the vendor's documentation of effects."""
    (clip,) = video_result(task, links)["videos"]
    return {"videos": [{key: value for key, value in clip.items() if key != "duration"}]}


def edit_result(task: Task, links: Links) -> dict[str, Any]:
    """Return one video with the id of its editing session."""
    (clip,) = video_result(task, links)["videos"]
    return {"videos": [clip | {"session_id": task.body["session_id"]}]}


def audio_result(task: Task, links: Links) -> dict[str, Any]:
    """Return one sound as two files, MP3 and WAV."""
    url_of, seconds = links(task.task_id), f"{task.output.seconds:.1f}"
    files = {"url_mp3": url_of("0.mp3"), "url_wav": url_of("0.wav")}
    lengths = {"duration_mp3": seconds, "duration_wav": seconds}
    return {"audios": [{"id": sound_id(task), **files, **lengths}]}


def sound_track_result(task: Task, links: Links) -> dict[str, Any]:
    """Return the video with its new sound, and the sound alone."""
    return video_result(task, links) | audio_result(task, links)


def image_result(task: Task, links: Links) -> dict[str, Any]:
    """Return as many images as the task makes."""
    url_of = links(task.task_id)
    return {
        "images": [{"index": i, **_files(task, url_of, str(i), ".png")} for i in range(task.output.count)]
    }


def omni_image_result(task: Task, links: Links) -> dict[str, Any]:
    """Return single images or a series, each in an array of its own; the other array is empty."""
    made, kind = image_result(task, links)["images"], task.body["result_type"]
    series = kind == "series"
    return {"result_type": kind, "images": [] if series else made, "series_images": made if series else []}


def view_result(task: Task, links: Links) -> dict[str, Any]:
    """Return three sets of three views of the subject."""
    url_of = links(task.task_id)
    sets = [{f"url_{view}": url_of(f"{index}{view}.png") for view in (1, 2, 3)} for index in range(3)]
    return {"images": [{"index": index, **views} for index, views in enumerate(sets)]}


def element_result(task: Task, links: Links) -> dict[str, Any]:
    """Return the element in its present state: it may be deleted by now."""
    return {
        "elements": [element_fields(item, links) for item in task.output.items if isinstance(item, Element)]
    }


def voice_result(task: Task, links: Links) -> dict[str, Any]:
    """Return the voice."""
    return {"voices": [voice_fields(item, links) for item in task.output.items if isinstance(item, Voice)]}


RESULTS: Final[dict[str, ResultBuilder]] = {
    "text_to_video": video_result,
    "image_to_video": video_result,
    "multi_image_to_video": video_result,
    "omni_video": video_result,
    "motion_control": video_result,
    "multi_elements": edit_result,
    "video_extend": video_result,
    "advanced_lip_sync": video_result,
    "lip_sync": video_result,
    "avatar": video_result,
    "video_effects": effect_result,
    "image_generation": image_result,
    "omni_image": omni_image_result,
    "multi_image_to_image": image_result,
    "image_expand": image_result,
    "virtual_try_on": image_result,
    "ai_multi_shot": view_result,
    "custom_elements": element_result,
    "custom_voices": voice_result,
    "text_to_audio": audio_result,
    "video_to_audio": sound_track_result,
}
"""Builders of the ``task_result``, by endpoint."""
