"""Rules that several endpoints share. A rule gets the fields that are set and raises `Refusal`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from kling_async.emulator.http.answers import Refusal

__all__ = [
    "Body",
    "Rule",
    "customized",
    "exactly_one",
    "names_point_somewhere",
    "prompt_or_shots",
    "prompts",
    "shots_add_up",
]

Body = dict[str, Any]
Rule = Callable[[Body], None]

_NAME: Final = re.compile(r"<<<([a-z]+)_(\d+)>>>")


def exactly_one(*names: str, within: str = "") -> Rule:
    """Return the rule that one of these fields is set, and only one; they may be ``within`` an object."""

    def one_of_them(body: Body) -> None:
        fields = body[within] if within else body
        if sum(name in fields for name in names) != 1:
            raise Refusal(1201, f"exactly one of {' and '.join(names)} is required")

    return one_of_them


def customized(body: Body) -> bool:
    """Whether the shots are given one by one."""
    return bool(body.get("multi_shot")) and body.get("shot_type") == "customize"


def prompts(body: Body) -> list[str]:
    """Return the texts that count: those of the shots, or the one prompt."""
    if customized(body):
        return [shot["prompt"] for shot in body.get("multi_prompt", [])]
    return [body["prompt"]] if "prompt" in body else []


def prompt_or_shots(body: Body) -> None:
    """A text is needed unless the shots are given one by one."""
    if not customized(body) and not body.get("prompt"):
        raise Refusal(1201, "prompt is required")


def shots_add_up(body: Body) -> None:
    """Several shots need a type; given one by one they count from 1 and last as long as the whole.

    An edited video keeps its own length, which is not known here.
    """
    if body.get("multi_shot") and "shot_type" not in body:
        raise Refusal(1201, "shot_type is required when multi_shot is true")
    if not customized(body):
        return
    shots: list[Body] = body.get("multi_prompt", [])
    if not shots:
        raise Refusal(1201, "multi_prompt is required when shot_type is customize")
    if [shot["index"] for shot in shots] != list(range(1, len(shots) + 1)):
        raise Refusal(1201, "multi_prompt index must count from 1 without gaps")
    edited = any(video.get("refer_type", "base") == "base" for video in body.get("video_list", ()))
    if not edited and sum(float(shot["duration"]) for shot in shots) != float(body.get("duration", "5")):
        raise Refusal(1201, "multi_prompt: the sum of duration must equal the duration of the task")


def names_point_somewhere(**lists: str) -> Rule:
    """Return the rule that ``<<<image_2>>>`` in a prompt names the second entry of a list that has one.

    Args:
        **lists: By the word of the name, the field that is counted. Other words pass.
    """

    def pointed_at(body: Body) -> None:
        for text in prompts(body):
            for word, number in _NAME.findall(text):
                if word in lists and not 1 <= int(number) <= len(body.get(lists[word], ())):
                    raise Refusal(1201, f"prompt: <<<{word}_{number}>>> is not in {lists[word]}")

    return pointed_at
