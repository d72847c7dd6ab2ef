"""What the API says about a task, and where its files are."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.state.library import Element, Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.state.tasks import Task

__all__ = [
    "LOOKS",
    "Links",
    "UrlOf",
    "as_created",
    "as_path_style",
    "as_queried",
    "deductions",
    "element_look",
    "plain",
    "voice_look",
]

UrlOf: TypeAlias = "Callable[[str], str]"
"""Gives the address of a file by its name."""
Links: TypeAlias = "Callable[[str], UrlOf]"
"""Gives the addresses of the files of a task, a session or whatever has some, by its id."""
Look: TypeAlias = "Callable[[Task, Links], dict[str, Any]]"

TAGS: Final = {
    "o_101": "hottest",
    "o_102": "character",
    "o_103": "animal",
    "o_104": "item",
    "o_105": "costume",
    "o_106": "scene",
    "o_107": "effect",
    "o_108": "others",
}


def as_created(task: Task) -> dict[str, Any]:
    """Return the ``data`` of a create's answer."""
    return _record(task, REFERENCE.endpoints[task.endpoint].answers.task_info_at_once)


def _record(task: Task, names_external: bool) -> dict[str, Any]:
    info = {"external_task_id": task.external_task_id} if task.external_task_id else {}
    return {
        "task_id": task.task_id,
        "task_status": task.status,
        **({"task_info": info} if names_external else {}),
        "created_at": task.created_ms,
        "updated_at": task.updated_ms,
    }


def as_queried(task: Task, links: Links) -> dict[str, Any]:
    """Return the ``data`` of a query's answer; a failed task is not billed."""
    answers = REFERENCE.endpoints[task.endpoint].answers
    data: dict[str, Any] = _record(task, answers.external_task_id)
    data["task_status_msg"] = task.message
    clip = task.source.clip
    if answers.parent_video and clip is not None:
        parent = {"id": clip.id, "url": clip.url or links(clip.id)("0.mp4"), "duration": plain(clip.seconds)}
        data["task_info"] = {**data.get("task_info", {}), "parent_video": parent}
    if answers.watermark_info:
        data["watermark_info"] = {"enabled": _marked(task)}
    if task.done:
        data |= deductions(task.units if task.status == "succeed" else Decimal(0))
    if task.status == "succeed":
        data["task_result"] = LOOKS[task.endpoint](task, links)
    return data


def deductions(units: Decimal) -> dict[str, Any]:
    """Return the two fields that say what was paid."""
    return {
        "final_unit_deduction": plain(units),
        "final_balance_deduction": {"quota": "0", "list_price": "0"},
    }


def as_path_style(task: Task, links: Links) -> dict[str, Any]:
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
        result = LOOKS[task.endpoint](task, links)
        data["outputs"] = [
            {"type": _kind(name)} | {k: v for k, v in item.items() if k != "index"}
            for name, items in result.items()
            if isinstance(items, list)
            for item in items
        ]
        amount = plain(task.units)
        data["billing"] = [{"charge_type": "unit", "amount": amount, "package_type": task.pool}]
    return data


def _kind(name: str) -> str:
    return name.rpartition("_")[2].removesuffix("s")


def plain(number: Decimal | float) -> str:
    """Return a number as the text of an answer, without needless zeros."""
    text = f"{Decimal(str(number)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _marked(task: Task) -> bool:
    return bool(task.body.get("watermark_info", {}).get("enabled"))


def _files(task: Task, url_of: UrlOf, name: str, suffix: str) -> dict[str, str]:
    files = {"url": url_of(f"{name}{suffix}")}
    return files | {"watermark_url": url_of(f"{name}-watermark{suffix}")} if _marked(task) else files


# --- how the results look ----------------------------------------------------------------------


def videos(task: Task, links: Links) -> dict[str, Any]:
    """One clip; its id is not the task's."""
    clip = {"id": task.result_id, **_files(task, links(task.task_id), "0", ".mp4")}
    return {"videos": [clip | {"duration": plain(task.seconds)}]}


def effect_videos(task: Task, links: Links) -> dict[str, Any]:
    """One clip, whose length the pages do not show."""
    (clip,) = videos(task, links)["videos"]
    return {"videos": [{key: value for key, value in clip.items() if key != "duration"}]}


def edited_videos(task: Task, links: Links) -> dict[str, Any]:
    """One clip, and the session it was marked in."""
    (clip,) = videos(task, links)["videos"]
    return {"videos": [clip | {"session_id": task.body["session_id"]}]}


def audios(task: Task, links: Links) -> dict[str, Any]:
    """One sound, as two files."""
    url_of, seconds = links(task.task_id), f"{task.seconds:.1f}"
    files = {"url_mp3": url_of("0.mp3"), "url_wav": url_of("0.wav")}
    lengths = {"duration_mp3": seconds, "duration_wav": seconds}
    return {"audios": [{"id": str(int(task.result_id) + 1), **files, **lengths}]}


def sounded_videos(task: Task, links: Links) -> dict[str, Any]:
    """The clip with its new sound, and the sound alone."""
    return videos(task, links) | audios(task, links)


def images(task: Task, links: Links) -> dict[str, Any]:
    """As many images as were asked for."""
    url_of = links(task.task_id)
    return {"images": [{"index": i, **_files(task, url_of, str(i), ".png")} for i in range(task.count)]}


def omni_images(task: Task, links: Links) -> dict[str, Any]:
    """Images that stand alone or belong together; the other array is empty."""
    made, kind = images(task, links)["images"], task.body["result_type"]
    series = kind == "series"
    return {"result_type": kind, "images": [] if series else made, "series_images": made if series else []}


def views(task: Task, links: Links) -> dict[str, Any]:
    """Three sets of three other views of a subject."""
    url_of = links(task.task_id)
    sets = [{f"url_{view}": url_of(f"{index}{view}.png") for view in (1, 2, 3)} for index in range(3)]
    return {"images": [{"index": index, **views} for index, views in enumerate(sets)]}


def elements(task: Task, links: Links) -> dict[str, Any]:
    """The element that was made, as it is now."""
    return {"elements": [element_look(made, links) for made in task.made if isinstance(made, Element)]}


def voices(task: Task, links: Links) -> dict[str, Any]:
    """The voice that was made."""
    return {"voices": [voice_look(made, links) for made in task.made if isinstance(made, Voice)]}


def voice_look(voice: Voice, links: Links) -> dict[str, Any]:
    """Return a voice as all answers show it."""
    return {
        "voice_id": voice.id,
        "voice_name": voice.name,
        "trial_url": links(voice.id)("trial.mp3"),
        "owned_by": voice.owned_by,
    }


def element_look(element: Element, links: Links) -> dict[str, Any]:
    """Return an element as all answers show it."""
    url_of, filmed = links(str(element.id)), element.kind == "video_refer"
    pictures = {
        "frontal_image": url_of("front.png"),
        "refer_images": [{"image_url": url_of(f"refer{i}.png")} for i in range(element.pictures)],
    }
    return {
        "element_id": element.id,
        "element_name": element.name,
        "element_description": element.description,
        "reference_type": element.kind,
        "element_image_list": {} if filmed else pictures,
        "element_video_list": {"refer_videos": [{"video_url": url_of("0.mp4")}]} if filmed else {},
        "element_voice_info": {} if element.voice is None else voice_look(element.voice, links),
        "tag_list": [tag_look(tag) for tag in element.tags],
        "owned_by": element.owned_by,
        "status": "deleted" if element.deleted else "succeed",
    }


def tag_look(tag: str) -> dict[str, str]:
    """Return a tag as answers show it."""
    name = TAGS.get(tag, "others")
    return {"id": tag, "name": name, "description": f"Things tagged {name}"}


LOOKS: Final[dict[str, Look]] = {
    "text_to_video": videos,
    "image_to_video": videos,
    "multi_image_to_video": videos,
    "omni_video": videos,
    "motion_control": videos,
    "multi_elements": edited_videos,
    "video_extend": videos,
    "advanced_lip_sync": videos,
    "lip_sync": videos,
    "avatar": videos,
    "video_effects": effect_videos,
    "image_generation": images,
    "omni_image": omni_images,
    "multi_image_to_image": images,
    "image_expand": images,
    "virtual_try_on": images,
    "ai_multi_shot": views,
    "custom_elements": elements,
    "custom_voices": voices,
    "text_to_audio": audios,
    "video_to_audio": sounded_videos,
}
"""How the ``task_result`` of each endpoint looks."""
