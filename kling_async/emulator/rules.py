"""What no single field can break: rules between fields, and what a model can do.

Each rule gets the fields that are set, already judged one by one, and raises `Refusal`. The rules that only
some endpoints have are named in `RULES`; what a model can do is the same check everywhere, by the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.answers import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.reference import Capability, Endpoint

__all__ = ["check_rules", "resolved"]

Body = dict[str, Any]


def check_rules(endpoint: Endpoint, body: Body) -> None:
    """Refuse a body whose fields contradict each other or the model."""
    for rule in RULES.get(endpoint.name, ()):
        rule(body)
    check_capabilities(endpoint, resolved(endpoint, body))


def resolved(endpoint: Endpoint, body: Body) -> Body:
    """Return the body with the API's defaults filled in."""
    defaults = {name: param["default"] for name, param in endpoint.params.items() if "default" in param}
    return defaults | body


def prompt_or_shots(body: Body) -> None:
    """A text is needed unless the shots are given one by one."""
    if not _customized(body) and not body.get("prompt"):
        raise Refusal(1201, "prompt is required")


def shots_add_up(body: Body) -> None:
    """Several shots need a type; given one by one they count from 1 and last as long as the whole."""
    if body.get("multi_shot") and "shot_type" not in body:
        raise Refusal(1201, "shot_type is required when multi_shot is true")
    if not _customized(body):
        return
    shots: list[Body] = body.get("multi_prompt", [])
    if not shots:
        raise Refusal(1201, "multi_prompt is required when shot_type is customize")
    if [shot["index"] for shot in shots] != list(range(1, len(shots) + 1)):
        raise Refusal(1201, "multi_prompt index must count from 1 without gaps")
    if sum(float(shot["duration"]) for shot in shots) != float(body.get("duration", "5")):
        raise Refusal(1201, "multi_prompt: the sum of duration must equal the duration of the task")


def _customized(body: Body) -> bool:
    return bool(body.get("multi_shot")) and body.get("shot_type") == "customize"


def one_camera_movement(body: Body) -> None:
    """A simple movement is exactly one; the composed ones take no config."""
    camera: Body | None = body.get("camera_control")
    if camera is None:
        return
    if camera["type"] == "simple":
        if sum(value != 0 for value in camera.get("config", {}).values()) != 1:
            raise Refusal(1201, "camera_control.config: exactly one value must be non-zero")
    elif "config" in camera:
        raise Refusal(1201, f"camera_control.config must be empty when type is {camera['type']}")


def picture_fields_agree(body: Body) -> None:
    """A way to use the picture needs one; with one there is no negative prompt."""
    if "image_reference" in body and "image" not in body:
        raise Refusal(1201, "image is required when image_reference is set")
    if "image" in body and "negative_prompt" in body:
        raise Refusal(1201, "negative_prompt is not supported together with image")


def ten_references(body: Body) -> None:
    """Elements and pictures together are at most 10."""
    if len(body.get("element_list", ())) + ("image" in body) > 10:
        raise Refusal(1201, "element_list and image together must not exceed 10")


RULES: Final[dict[str, tuple[Callable[[Body], None], ...]]] = {
    "text_to_video": (shots_add_up, prompt_or_shots, one_camera_movement),
    "image_generation": (picture_fields_agree, ten_references),
}
"""The rules of each endpoint, in the order in which they are judged."""


def check_capabilities(endpoint: Endpoint, body: Body) -> None:
    """Refuse what the model does not do in this mode, at this length, with this sound."""
    model = body.get("model_name")
    rows = [row for row in endpoint.capabilities if row["model"] == model]
    if not rows:
        return
    for name in sorted(body, key=_coarse_first):
        rows = [row for row in rows if _grants(row, name, body[name])]
        if not rows:
            raise Refusal(1201, f"{name} '{_shown(body[name])}' is not supported by {_combination(body)}")


def _coarse_first(name: str) -> int:
    """Judge what selects a row of the map before what the row grants."""
    order = ("mode", "duration", "resolution")
    return order.index(name) if name in order else len(order)


def _grants(row: Capability, name: str, value: object) -> bool:
    if name in row["without"] and value:
        return False
    return name not in row["allows"] or value in row["allows"][name]


def _shown(value: object) -> str:
    return "..." if isinstance(value, dict | list) else str(value)[:64]


def _combination(body: Body) -> str:
    words = (f"{name} {body[name]}" for name in ("mode", "duration", "resolution") if name in body)
    return " ".join([str(body["model_name"]), *words])
