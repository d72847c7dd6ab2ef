"""Rules that several endpoints share, and makers of rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from kling_async.emulator.judging.refusals import Refusal

__all__ = [
    "Body",
    "Rule",
    "check_exactly_one",
    "check_prompt_names",
    "check_prompt_or_shots",
    "check_shots",
    "has_custom_shots",
    "prompts_of",
]

Body = dict[str, Any]
Rule = Callable[[Body], None]

_NAME: Final = re.compile(r"<<<([a-z]+)_(\d+)>>>")


def check_exactly_one(*names: str, within: str = "") -> Rule:
    """Return the rule that exactly one of the named fields is set; ``within`` names an enclosing object."""

    def check(body: Body) -> None:
        fields = body[within] if within else body
        if sum(name in fields for name in names) != 1:
            raise Refusal(1201, f"exactly one of {' and '.join(names)} is required")

    return check


def has_custom_shots(body: Body) -> bool:
    """Tell whether the request describes its shots one by one, in multi_prompt."""
    return bool(body.get("multi_shot")) and body.get("shot_type") == "customize"


def prompts_of(body: Body) -> list[str]:
    """Return the prompts in effect: those of custom shots, else the single prompt if there is one."""
    if has_custom_shots(body):
        return [shot["prompt"] for shot in body.get("multi_prompt", [])]
    return [body["prompt"]] if "prompt" in body else []


def check_prompt_or_shots(body: Body) -> None:
    """Require a prompt unless the shots are described one by one."""
    if not has_custom_shots(body) and not body.get("prompt"):
        raise Refusal(1201, "prompt is required")


def check_shots(body: Body) -> None:
    """Require a type of several shots; custom shots count from 1 and add up to the task's duration."""
    if body.get("multi_shot") and "shot_type" not in body:
        raise Refusal(1201, "shot_type is required when multi_shot is true")
    if not has_custom_shots(body):
        return
    shots: list[Body] = body.get("multi_prompt", [])
    if not shots:
        raise Refusal(1201, "multi_prompt is required when shot_type is customize")
    if [shot["index"] for shot in shots] != list(range(1, len(shots) + 1)):
        raise Refusal(1201, "multi_prompt index must count from 1 without gaps")
    if sum(float(shot["duration"]) for shot in shots) != float(body.get("duration", "5")):
        raise Refusal(1201, "multi_prompt: the sum of duration must equal the duration of the task")


def check_prompt_names(**lists: str) -> Rule:
    """Return the rule that a name such as ``<<<image_2>>>`` in a prompt has an entry in the list it means.

    Args:
        **lists: The list field that each word stands for. Names with other words are not checked.
    """

    def check(body: Body) -> None:
        for text in prompts_of(body):
            for word, number in _NAME.findall(text):
                if word in lists and not 1 <= int(number) <= len(body.get(lists[word], ())):
                    raise Refusal(1201, f"prompt: <<<{word}_{number}>>> is not in {lists[word]}")

    return check
