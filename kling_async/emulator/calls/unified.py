"""Tasks as ``/tasks`` and ``/solutions`` show them, and the answers to creates of the second generation.

Tasks made under ``/v1`` are shown, too. The names come from the vendor's table of output types. They differ
from those of ``task_result``, and hold less: images have no index, videos no editing session, and no answer
shows the source video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.calls.fields import number_text
from kling_async.emulator.calls.results import RESULTS
from kling_async.emulator.calls.second_outputs import second_outputs
from kling_async.emulator.judging.second import SECOND
from kling_async.emulator.state.items import Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.calls.fields import Links
    from kling_async.emulator.state.tasks import Task

__all__ = ["as_just_made", "as_unified"]

Fields: TypeAlias = "dict[str, Any]"

ELEMENT_TYPES: Final = {"video_refer": "video_character_elements", "image_refer": "multi_image_elements"}
"""Types of elements, by their ``reference_type`` under ``/v1``."""
PACKAGES: Final = {"video": "video", "image": "image", "virtual_try_on": "image"}
"""Package types in bills, by pool. Observed: voices and elements show ``video``."""


def as_unified(task: Task, links: Links) -> Fields:
    """Return a task as ``/tasks`` shows it: with other names, no task_info, and all results in one array."""
    data: Fields = {
        "id": task.task_id,
        "status": _status(task.status),
        "message": task.message,
        "create_time": task.times.created_ms,
        "update_time": task.times.updated_ms,
    }
    if task.external_task_id:
        data["external_id"] = task.external_task_id
    if task.status == "succeed":
        data["outputs"] = _outputs(task, links)
        package = PACKAGES.get(task.pool, "video")
        data["billing"] = [
            {"charge_type": "unit", "amount": number_text(task.units), "package_type": package}
        ]
    elif task.status == "failed":
        data["billing"] = [{"amount": "0"}]  # observed: an entry without charge_type
    return data


def as_just_made(task: Task) -> Fields:
    """Return a task as the answer to its create shows it; one solution has the first generation's names."""
    times = {"create_time": task.times.created_ms, "update_time": task.times.updated_ms}
    external = {"external_id": task.external_task_id} if task.external_task_id else {}
    if task.endpoint == "solution_virtual_try_on":  # as its page shows it, unlike those beside it
        return {"task_id": task.task_id, "status": task.status, **external, **times}
    return {"id": task.task_id, "status": task.status, "message": "", **external, **times}


def _outputs(task: Task, links: Links) -> list[Fields]:
    """Return all results in one array; images of a series share a group_id, deleted voices say so."""
    if task.endpoint in SECOND:
        return second_outputs(task, links)
    result = RESULTS[task.endpoint](task, links)
    more: Fields = {"group_id": task.output.id} if result.get("series_images") else {}
    if any(isinstance(item, Voice) and item.deleted for item in task.output.items):
        more = {"status": "deleted"}
    return [
        output | more
        for name, outputs in OUTPUTS.items()
        for item in result.get(name, ())
        for output in outputs(item)
    ]


def _status(status: str) -> str:
    """Return the second generation's word for a status of ``/v1``."""
    return "succeeded" if status == "succeed" else status


# --- outputs, from the entries of a task_result ------------------------------------------------


def _video(clip: Fields) -> list[Fields]:
    kept = ("id", "url", "watermark_url", "duration")
    return [{"type": "video", **{name: clip[name] for name in kept if name in clip}}]


def _image(image: Fields) -> list[Fields]:
    """Return an image without its index; each view of a set of views is an image of its own."""
    if "url" not in image:
        return [{"type": "image", "url": url} for name, url in image.items() if name != "index"]
    return [{"type": "image", **{name: value for name, value in image.items() if name != "index"}}]


def _audio(sound: Fields) -> list[Fields]:
    names = {
        "id": "id",
        "url_mp3": "mp3_url",
        "url_wav": "wav_url",
        "duration_mp3": "mp3_duration",
        "duration_wav": "wav_duration",
    }
    return [{"type": "audio", **{name: sound[old] for old, name in names.items()}}]


def _voice(voice: Fields) -> list[Fields]:
    names = {"voice_id": "id", "voice_name": "name", "trial_url": "url", "owned_by": "owned_by"}
    return [{"type": "voice", **{name: voice[old] for old, name in names.items()}, "status": "succeeded"}]


def _element(element: Fields) -> list[Fields]:
    return [
        {
            "type": "element",
            "id": str(element["element_id"]),
            "name": element["element_name"],
            "description": element["element_description"],
            "element_type": ELEMENT_TYPES[element["reference_type"]],
            "references": _references(element),
            "owned_by": element["owned_by"],
            "status": _status(element["status"]),
            "tags": [{**tag, "id": int(tag["id"].rpartition("_")[2])} for tag in element["tag_list"]],
        }
    ]


def _references(element: Fields) -> list[Fields]:
    """Return the material of an element in one array: its images, its video and its voice."""
    images, videos = element["element_image_list"], element["element_video_list"].get("refer_videos", ())
    found = [{"type": "image", "role": "frontal", "url": images["frontal_image"]}] if images else []
    found += [
        {"type": "image", "role": "refer", "url": one["image_url"]} for one in images.get("refer_images", ())
    ]
    found += [{"type": "video", "role": "refer", "url": one["video_url"]} for one in videos]
    if element["element_voice_info"]:
        (voice,) = _voice(element["element_voice_info"])
        del voice["status"]
        found.append({**voice, "role": "refer"})
    return found


OUTPUTS: Final[dict[str, Callable[[Fields], list[Fields]]]] = {
    "videos": _video,
    "images": _image,
    "series_images": _image,
    "audios": _audio,
    "voices": _voice,
    "elements": _element,
}
"""For each array of a ``task_result``: the function that returns the outputs of one entry."""
