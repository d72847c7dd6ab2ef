"""Judging of requests of the second generation, as leniently as production does.

Measured in September 2026: unknown fields are ignored, content types are judged by one list for all paths,
lengths are not bounded, and ``480p`` passes the create. Messages are the vendor's where one was seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.judging.media import is_url, judge_media
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.second import GLOBAL_TYPES

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import Param
    from kling_async.emulator.judging.second import SecondEndpoint

__all__ = ["Entry", "contents_of", "judge_contents", "judge_settings"]

Entry = dict[str, Any]

_NUMBER: Final = re.compile(r"\d+(\.\d+)?")
_LAX: Final = {"resolution": ("480p",)}
"""Values that pass the create, and let the task fail."""
_VIDEOS: Final = ("feature_video", "base_video")


def contents_of(body: dict[str, Any]) -> list[Entry]:
    """Return the entries of ``contents``.

    Raises:
        Refusal: It is no array of objects, or empty.
    """
    contents = body.get("contents")
    if contents is None or contents == []:
        raise Refusal(1201, "contents cannot be empty")
    if not isinstance(contents, list):
        raise Refusal(1201, "contents value type is invalid, expected array")
    for place, entry in enumerate(contents):
        if not isinstance(entry, dict):
            raise Refusal(1201, f"contents[{place}] value type is invalid, expected object")
    return contents


def judge_contents(second: SecondEndpoint, entries: list[Entry]) -> list[str]:
    """Judge the entries of ``contents``; return the names of what the endpoint does not read.

    Raises:
        Refusal: An entry is wrong, one is missing, or one too many (1201).
    """
    known = frozenset(second.contents) if second.solution else GLOBAL_TYPES
    unread: list[str] = []
    counts: dict[str, int] = {}
    for place, entry in enumerate(entries):
        kind = entry.get("type")
        if kind not in known:
            raise Refusal(1201, f"contents[{place}].type value '{str(kind)[:64]}' is invalid")
        counts[kind] = counts.get(kind, 0) + 1
        read = second.contents.get(kind)
        if read is None:
            unread.append(f"contents[{place}].type={kind}")
            continue
        fields = read.get("items", {})
        unread += [f"contents[{place}].{name}" for name in entry if name != "type" and name not in fields]
        _judge_entry(kind, fields, entry, f"contents[{place}]")
    if counts.get("last_frame") and not counts.get("first_frame"):
        raise Refusal(1201, "last_frame requires first_frame")
    for kind, content in second.contents.items():
        if content.get("required") and not counts.get(kind):
            raise Refusal(1201, f"{kind} is required")
        most = content.get("max_items")
        if most is not None and counts.get(kind, 0) > most:
            raise Refusal(1201, f"contents of type '{kind}' cannot exceed {most}")
    return unread


def _judge_entry(kind: str, fields: dict[str, Param], entry: Entry, at: str) -> None:
    for name, param in fields.items():
        value = entry.get(name)
        if name == "element_id" and (value is None or not str(value).strip()):
            raise Refusal(1201, "Invalid element id: ")
        if not isinstance(value, str) or not value.strip():
            if param.get("required") and not (name == "element_id" and isinstance(value, int)):
                raise Refusal(1201, f"content item of type '{kind}' must have {_must(name)}")
            continue
        if len(value) > param.get("max_chars", len(value)):
            raise Refusal(1201, f"{at}.{name} size must be between 0 and {param.get('max_chars')}")
        if "media" in param:
            if param["media"].get("kind") == "video" and not is_url(value):
                raise Refusal(1201, "Video URL is invalid")
            judge_media(param["media"], value, f"{at}.{name}")
        elif "enum" in param and not param.get("open") and value not in param["enum"]:
            raise Refusal(1201, f"{at}.{name} value '{value[:64]}' is invalid")


def _must(name: str) -> str:
    return f"non-blank {name}" if name == "text" else f"a non-blank {name}"


def judge_settings(second: SecondEndpoint, body: dict[str, Any], kinds: frozenset[str]) -> list[str]:
    """Judge ``settings`` and ``options``; return the names of fields that the endpoint does not read.

    Raises:
        Refusal: A value is wrong, or one is missing (1201).
    """
    unread = [name for name in body if name != "contents" and name not in second.endpoint.params]
    for group in ("settings", "options"):
        value = body.get(group)
        if value is None:
            value = {}
        elif not isinstance(value, dict):
            raise Refusal(1201, f"{group} value type is invalid, expected object")
        params = second.endpoint.params.get(group, {}).get("items", {})
        unread += [f"{group}.{name}" for name in value if name not in params and name != "seed"]
        for name, param in params.items():
            _judge_setting(param, value.get(name), f"{group}.{name}")
        if group == "settings":
            _judge_seed(value.get("seed"))
            _judge_together(second, value, kinds)
    return unread


def _judge_setting(param: Param, value: Any, at: str) -> None:
    name = at.rpartition(".")[2]
    if value is None or value == "":
        if param.get("required"):
            raise Refusal(1201, f"{name} is required")
        return
    kind = param.get("type")
    wrong = Refusal(1201, f"{at} value '{str(value)[:64]}' is invalid")
    if kind in ("int", "long"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
            raise wrong
    elif kind == "boolean":
        if not isinstance(value, bool):
            raise wrong
    elif kind == "string":
        if not isinstance(value, str):
            raise wrong
        allowed = (*param.get("enum", ()), *_LAX.get(name, ()))
        if "enum" in param and not param.get("open") and value not in allowed and name != "audio":
            raise wrong


def _judge_seed(value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise Refusal(1201, f"settings.seed value '{str(value)[:64]}' is invalid")


def _judge_together(second: SecondEndpoint, settings: dict[str, Any], kinds: frozenset[str]) -> None:
    """Judge what depends on other fields: the sound of a reference video, and the shape of an omni video."""
    audio = settings.get("audio")
    modes = second.endpoint.params.get("settings", {}).get("items", {}).get("audio", {}).get("enum")
    if audio and modes is not None:
        films = (*_VIDEOS, "video")
        if audio not in modes or (audio == "original" and not kinds & frozenset(films)):
            raise Refusal(1201, f"audio mode '{audio}' is not supported by the current model")
    shaped = settings.get("aspect_ratio") or kinds & {"first_frame", "base_video"}
    if second.endpoint.family == "omni-video" and not shaped:
        raise Refusal(1201, "aspect_ratio is required")
