"""The shape of what is made, as width to height: as asked for, else that of a picture sent along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.judging.media import decoded, is_url
from kling_async.emulator.judging.pixels import image_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.emulator.judging.reference import Endpoint, Param

__all__ = ["WIDE", "nearest", "ratio", "shape_of"]

WIDE: Final = "16:9"


def ratio(shape: str) -> float:
    """Return width by height of a shape such as ``16:9``."""
    across, down = (float(part) for part in shape.split(":"))
    return across / down


def nearest(shape: str, known: dict[str, str]) -> str:
    """Return the known shape that is most alike."""
    return min(known, key=lambda one: abs(ratio(one) - ratio(shape)))


def shape_of(endpoint: Endpoint, body: dict[str, Any]) -> str:
    """Return the shape for a request whose files are still in it."""
    asked = body.get("aspect_ratio", endpoint.params.get("aspect_ratio", {}).get("default", "auto"))
    if asked != "auto":
        return str(asked)
    size = next(_sizes(endpoint.params, body), None)
    if size is None:
        return WIDE
    width, height = size
    if endpoint.name == "image_expand":
        width = round(width * (1 + body["left_expansion_ratio"] + body["right_expansion_ratio"]))
        height = round(height * (1 + body["up_expansion_ratio"] + body["down_expansion_ratio"]))
    return f"{width}:{height}"


def _sizes(params: dict[str, Param], body: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of the pictures sent as files, in the order of the fields."""
    for name, param in params.items():
        values: list[Any] = body[name] if isinstance(body.get(name), list) else [body.get(name)]
        for value in values:
            if isinstance(value, dict):
                yield from _sizes(param.get("items", {}), value)
            elif (
                isinstance(value, str) and param.get("media", {}).get("kind") == "image" and not is_url(value)
            ):
                size = image_size(decoded(value) or b"")
                if size is not None:
                    yield size
