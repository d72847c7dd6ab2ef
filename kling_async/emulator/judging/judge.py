"""Judging of each field of a request alone, at every depth, by the reference.

Null and the empty string count as unset. Ids that are whole numbers may come as text, as in a sample of the
vendor's: JavaScript cannot hold numbers of 64 bits. Unknown fields are ignored, as the vendor's servers do,
and their names are returned. The first wrong field is refused, with a message that names it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.judging.media import judge_media
from kling_async.emulator.judging.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.emulator.judging.reference import Param, ReferenceEndpoint

__all__ = ["judge_body", "judge_query"]

UNSET: Final = (None, "")

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
_LONG: Final = re.compile(r"\d{1,19}", re.ASCII)


def _whole(bits: int) -> Callable[[object], bool]:
    limit = 2 ** (bits - 1)
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


_TYPE_CHECKS: Final[dict[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "int": _whole(32),
    "long": _whole(64),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def judge_body(endpoint: ReferenceEndpoint, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a JSON body that are set, and the names of the unknown ones.

    Raises:
        Refusal: A field is missing (1200) or wrong (1201), or the model does not exist (1203).
    """
    unknown: list[str] = []
    kept = _fields(endpoint.params, body, "", unknown)
    if "model_name" in endpoint.params:
        _check_model(endpoint.params["model_name"], kept.get("model_name"))
    return kept, unknown


def judge_query(params: dict[str, Param], query: dict[str, str]) -> dict[str, Any]:
    """Return the values of a query string, with numbers parsed and defaults filled in.

    Raises:
        Refusal: A parameter is missing (1200) or wrong (1201).
    """
    values: dict[str, Any] = {}
    for name, param in params.items():
        text = query.get(name, "")
        if param.get("type") in {"int", "long"} and re.fullmatch(r"-?\d{1,20}", text):
            values[name] = int(text)
        elif text:
            values[name] = text
    kept = _fields(params, values, "", [])
    return {name: param.get("default") for name, param in params.items()} | kept


def _check_model(param: Param, model: str | None) -> None:
    """Refuse a discontinued or unknown model with 1203, as a resource that does not exist."""
    name = param.get("default") if model is None else model
    if name in param.get("retired", ()):
        raise Refusal(1203, f"The model '{name}' has been discontinued and is no longer available.")
    if name not in param.get("enum", ()):
        raise Refusal(1203, f"model_name: the model '{_short(name)}' does not exist")


def _fields(params: dict[str, Param], body: dict[str, Any], at: str, unknown: list[str]) -> dict[str, Any]:
    unknown += [at + name for name in body if name not in params]
    kept: dict[str, Any] = {}
    for name, param in params.items():
        value = body.get(name)
        if value in UNSET:
            if param.get("required"):
                raise Refusal(1200, f"Missing Request Parameter: {at}{name}")
        elif not param.get("deprecated"):
            kept[name] = _value(param, value, at + name, unknown)
    return kept


def _value(param: Param, value: Any, at: str, unknown: list[str]) -> Any:
    kinds = [kind for key in ("type", "also_type") if (kind := str(param.get(key, "")))]
    if kinds == ["long"] and at.endswith("_id") and isinstance(value, str) and _LONG.fullmatch(value):
        value = int(value)
    if not any(_TYPE_CHECKS[kind](value) for kind in kinds):
        raise Refusal(1201, f"{at} must be of type {' or '.join(kinds)}")
    if isinstance(value, list):
        items: list[Any] = value
        return _array(param, items, at, unknown)
    if isinstance(value, dict):
        fields: dict[str, Any] = value
        return _fields(param.get("items", {}), fields, at + ".", unknown)
    _check_number(param, value, at)
    longest = param.get("max_chars")
    if longest is not None and len(value) > longest:
        raise Refusal(1201, f"{at} size must be between 0 and {longest}")
    if "enum" in param and value not in param["enum"] and not param.get("open"):
        raise Refusal(1201, f"{at} value '{_short(value)}' is invalid")
    if "media" in param:
        judge_media(param["media"], value, at)
    return value


def _short(value: object) -> str:
    """Return a value as text for a message, cut short: it may be a whole file in Base64."""
    text = str(value)
    return text if len(text) <= 64 else text[:61] + "..."


def _check_number(param: Param, value: Any, at: str) -> None:
    number = value
    if param.get("number_as_text"):
        if not _NUMBER.fullmatch(value):
            raise Refusal(1201, f"{at} value '{_short(value)}' is not a number")
        number = float(value)
    elif isinstance(value, str | bool):
        return
    low, high = param.get("min", number), param.get("max", number)
    if not low <= number <= high:
        bounds = f"at least {low:g}" if "max" not in param else f"between {low:g} and {high:g}"
        raise Refusal(1201, f"{at} must be {bounds}")


def _array(param: Param, value: list[Any], at: str, unknown: list[str]) -> list[Any]:
    low, high = param.get("min_items", 0), param.get("max_items", len(value))
    if not low <= len(value) <= high:
        raise Refusal(1201, f"{at} size must be between {low} and {high}")
    entry: Param = {"type": param.get("item_type", "string")}
    if "items" in param:
        entry = {"type": "object", "items": param["items"]}
    elif "media" in param:
        entry["media"] = param["media"]
    return [_value(entry, item, f"{at}[{i}]", unknown) for i, item in enumerate(value)]
