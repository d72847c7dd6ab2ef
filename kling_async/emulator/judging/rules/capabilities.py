"""Capabilities of models by the vendor's capability maps: per mode, duration and resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.emulator.judging.refusals import Refusal

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import CapabilityRow, ReferenceEndpoint

__all__ = ["check_capabilities"]

Body = dict[str, Any]


def check_capabilities(endpoint: ReferenceEndpoint, body: Body) -> None:
    """Refuse a value that no row of the map grants the model; ``body`` has its defaults filled in."""
    model = body.get("model_name")
    rows = [row for row in endpoint.capabilities if row["model"] == model]
    if not rows:
        return
    for name in sorted(body, key=_selecting_fields_first):
        rows = [row for row in rows if _grants(row, name, body[name])]
        if not rows:
            raise Refusal(1201, f"{name} '{_shown(body[name])}' is not supported by {_combination(body)}")


def _selecting_fields_first(name: str) -> int:
    """Return a sort key: the fields that select a row of the map come before those that the row grants."""
    order = ("mode", "duration", "resolution")
    return order.index(name) if name in order else len(order)


def _grants(row: CapabilityRow, name: str, value: object) -> bool:
    if name in row["without"] and value:
        return False
    return name not in row["allows"] or value in row["allows"][name]


def _shown(value: object) -> str:
    return "..." if isinstance(value, dict | list) else str(value)[:64]


def _combination(body: Body) -> str:
    words = (f"{name} {body[name]}" for name in ("mode", "duration", "resolution") if name in body)
    return " ".join([str(body["model_name"]), *words])
