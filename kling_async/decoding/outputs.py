"""Outputs: the results of tasks in the form of ``/tasks``, translated into the ``task_result`` of ``/v1``.

The second generation has names of its own for the same things. The documented names are translated here, and
those of ``/v1`` pass unchanged: no source shows which ones a task made under ``/v1`` gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["in_v1_names", "task_result"]

Fields: TypeAlias = "dict[str, Any]"

NAMES: Final[dict[str, dict[str, str]]] = {
    "audio": {
        "mp3_url": "url_mp3",
        "wav_url": "url_wav",
        "mp3_duration": "duration_mp3",
        "wav_duration": "duration_wav",
    },
    "voice": {"id": "voice_id", "name": "voice_name", "url": "trial_url"},
    "element": {
        "id": "element_id",
        "name": "element_name",
        "description": "element_description",
        "element_type": "reference_type",
        "tags": "tag_list",
    },
}
"""Names under ``/v1`` by those of ``/tasks``, for each type of output that has others."""

WORDS: Final[dict[str, dict[Any, str]]] = {
    "reference_type": {"video_character_elements": "video_refer", "multi_image_elements": "image_refer"},
    "status": {"succeeded": "succeed"},
}
"""Words under ``/v1`` by those of ``/tasks``, for each field that has others."""

_ARRAYS: Final = {"model_images": "model_images", "srt": "srt_files", "ass": "ass_files"}
"""Arrays of outputs whose type has no simple plural."""
_MATERIAL: Final = ("references", "materials")
"""Names of an element's images, videos and voice in one array; callbacks have the second one."""


def task_result(outputs: Iterable[Any]) -> dict[str, list[Fields]]:
    """Return the ``task_result`` that outputs make: an array for each type, with numbered entries.

    Outputs that are not objects are left out.
    """
    result: dict[str, list[Fields]] = {}
    for output in outputs:
        if not isinstance(output, dict):
            continue
        kind = output.get("type")
        same = result.setdefault(_ARRAYS.get(str(kind), f"{kind or ''}s"), [])
        same.append({"index": len(same), **_translated(str(kind), output)})
    return result


def in_v1_names(result: Fields) -> Fields:
    """Return a ``task_result`` in which entries under the names of ``/tasks`` have those of ``/v1``."""
    translated = dict(result)
    for kind in NAMES:
        entries = result.get(f"{kind}s")
        if isinstance(entries, list):
            translated[f"{kind}s"] = [_translated(kind, e) if isinstance(e, dict) else e for e in entries]
    return translated


def _translated(kind: str, output: Fields) -> Fields:
    names = NAMES.get(kind, {})
    fields: Fields = {}
    for name, value in output.items():
        here = names.get(name, name)
        words = WORDS.get(here, {})
        fields.setdefault(here, words.get(value, value) if isinstance(value, str) else value)
    material = next((output[name] for name in _MATERIAL if isinstance(output.get(name), list)), None)
    return fields if material is None or kind != "element" else {**_sorted(material), **fields}


def _sorted(material: list[Any]) -> Fields:
    """Return the fields of an element for its images, videos and voice."""
    frontal: Fields = {}
    images: list[Fields] = []
    videos: list[Fields] = []
    voice: Fields = {}
    for one in material:
        match one:
            case {"type": "image", "role": "frontal", "url": url}:
                frontal = {"frontal_image": url}
            case {"type": "image", "url": url}:
                images.append({"image_url": url})
            case {"type": "video", "url": url}:
                videos.append({"video_url": url})
            case {"type": "voice"}:
                voice = _translated("voice", one)
            case _:
                pass
    return {
        "element_image_list": {**frontal, "refer_images": images} if frontal or images else {},
        "element_video_list": {"refer_videos": videos} if videos else {},
        "element_voice_info": voice,
    }
