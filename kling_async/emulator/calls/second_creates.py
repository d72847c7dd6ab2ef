"""Creates of the second generation: a judged request takes slots and units and becomes a task.

A task keeps its request under the first generation's names as well, by which the emulator paces it, prices it
and draws its film.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.creates import admit
from kling_async.emulator.footage.shapes import WIDE
from kling_async.emulator.judging.addresses import is_unreachable
from kling_async.emulator.judging.contents import contents_of, judge_contents, judge_settings
from kling_async.emulator.judging.media import decoded, is_url
from kling_async.emulator.judging.pixels import image_size
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import TaskSource
from kling_async.emulator.state.payloads import OF_CONTENTS, without_payloads
from kling_async.emulator.state.prompt_words import asks_to_refuse

if TYPE_CHECKING:
    from kling_async.emulator.judging.contents import Entry
    from kling_async.emulator.judging.second import SecondEndpoint
    from kling_async.emulator.state.account import EmulatedAccount
    from kling_async.emulator.state.ledger import Row
    from kling_async.emulator.state.library import Library
    from kling_async.emulator.state.tasks import Task

__all__ = ["create_second", "external_id_of"]

_MODES: Final = {"720p": "std", "1080p": "pro", "4k": "4k"}
_SECONDS: Final = (3.0, 15.0)
"""Lengths that the models make; a length beyond is accepted, and brought between these."""
_SOLUTION_SECONDS: Final = (3.0, 60.0)


def external_id_of(body: dict[str, Any]) -> str | None:
    """Return the caller's id in a body; an empty text counts as unset."""
    options = body.get("options")
    value = options.get("external_task_id") if isinstance(options, dict) else None
    return value if isinstance(value, str) and value else None


def create_second(
    account: EmulatedAccount, second: SecondEndpoint, body: dict[str, Any] | None, row: Row
) -> Task:
    """Make a task and let it run.

    Args:
        account: The account that pays.
        second: The path of the create.
        body: The JSON body, None if the request had no JSON object.
        row: The ledger's row of the request; gets the id of the task, and the fields that nobody reads.

    Raises:
        Refusal: Nothing was made, and nothing taken.
    """
    if body is None:
        raise Refusal(1200, "Request body is not a JSON object")
    entries = _entries(second, body)
    row.unknown_fields = judge_contents(second, entries) if second.contents else []
    kinds = frozenset(str(entry["type"]) for entry in entries if "type" in entry)
    row.unknown_fields += judge_settings(second, body, kinds)
    read = [entry for entry in entries if not second.contents or entry["type"] in second.contents]
    _check_library(read, account.library)
    full = _as_first(second, body, read)
    if asks_to_refuse(full):
        raise Refusal(1301, "Failure to pass the risk control system")
    external = full["external_task_id"]
    if external and account.tasks.knows_external(external):
        raise Refusal(1201, f"External_task_id {external} already exists")
    source = TaskSource(seconds=full.pop("seconds"), unreachable=_unreachable(read))
    task = admit(account, second.endpoint, full, source, _aspect(body, read))
    if (body.get("settings") or {}).get("resolution") == "480p" and task.ending == "succeed":
        task.ending = "failed"
    account.tasks.add(task)
    row.task_id = task.task_id
    return task


def _entries(second: SecondEndpoint, body: dict[str, Any]) -> list[Entry]:
    """Return the entries of ``contents``; of a path that has none, its prompt as an entry."""
    if second.contents:
        return contents_of(body)
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Refusal(1201, "prompt is required")
    most = second.endpoint.params.get("prompt", {}).get("max_chars", len(prompt))
    if len(prompt) > most:
        raise Refusal(1201, f"prompt size must be between 0 and {most}")
    return [{"type": "prompt", "text": prompt}]


def _check_library(entries: list[Entry], library: Library) -> None:
    """Refuse elements and voices that the account does not have."""
    for entry in entries:
        if entry.get("type") == "element":
            name = str(entry["element_id"])
            if not name.isdecimal() or int(name) not in library.elements:
                raise Refusal(1201, f"Element id not found: {name[:64]}")
        elif entry.get("type") == "voice" and str(entry.get("voice_id")) not in library.voices:
            raise Refusal(1201, "Voice id not found")


def _as_first(second: SecondEndpoint, body: dict[str, Any], read: list[Entry]) -> dict[str, Any]:
    """Return the request under the first generation's names, with a fingerprint in place of each file."""
    settings, options = body.get("settings") or {}, body.get("options") or {}
    texts = [str(entry["text"]) for entry in read if "text" in entry]
    resolution = settings.get("resolution", "720p")
    # the watermark switch of one solution has another name
    watermark = options.get("watermark") or (options.get("watermark_info") or {}).get("enabled")
    fields: dict[str, Any] = {
        "model_name": second.model,
        "prompt": texts[0] if texts else "",
        "mode": _MODES.get(resolution, "std"),
        "sound": "on" if _sounds(second, settings) else "off",
        "external_task_id": external_id_of(body),
        "callback_url": options.get("callback_url"),
        "watermark_info": {"enabled": bool(watermark)},
        "video_list": [entry for entry in read if entry.get("type") in ("feature_video", "base_video")],
        **without_payloads({"contents": read}, OF_CONTENTS),
        "settings": settings,
        "seconds": _seconds(second, settings),
    }
    if any(entry.get("type") == "voice" for entry in read):
        fields |= {"voice_list": True, "prompt": f"{fields['prompt']} <<<voice_1>>>"}
    return fields


def _sounds(second: SecondEndpoint, settings: dict[str, Any]) -> bool:
    """Tell whether the film has sound; 3.0 Turbo and the solutions have no such field, and always do."""
    audio = second.endpoint.params.get("settings", {}).get("items", {}).get("audio")
    if audio is None:
        return second.model in (None, "kling-3.0-turbo")
    return bool(settings.get("audio", audio.get("default", "off")) != "off")


def _seconds(second: SecondEndpoint, settings: dict[str, Any]) -> float:
    least, most = _SOLUTION_SECONDS if second.solution else _SECONDS
    return min(max(float(settings.get("duration") or 5), least), most)


def _unreachable(entries: list[Entry]) -> str | None:
    urls = (entry.get("url") for entry in entries)
    return next((url for url in urls if isinstance(url, str) and is_url(url) and is_unreachable(url)), None)


def _aspect(body: dict[str, Any], entries: list[Entry]) -> str:
    """Return the aspect ratio of the result: the one asked for, else that of the first picture sent."""
    asked = (body.get("settings") or {}).get("aspect_ratio")
    if asked:
        return str(asked)
    for entry in entries:
        url = entry.get("url")
        if isinstance(url, str) and not is_url(url) and (size := image_size(decoded(url) or b"")):
            return f"{size[0]}:{size[1]}"
    return WIDE
