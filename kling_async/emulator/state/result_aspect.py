"""The aspect ratio of a result: the requested one, else that of the first picture in the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.emulator.footage.shapes import WIDE
from kling_async.emulator.judging.media import decoded, is_url
from kling_async.emulator.judging.pixels import image_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.emulator.judging.reference import Param, ReferenceEndpoint

__all__ = ["result_aspect"]


def result_aspect(endpoint: ReferenceEndpoint, body: dict[str, Any]) -> str:
    """Return the aspect ratio of the results of a request, such as ``16:9`` or ``1024:683``.

    Args:
        endpoint: The endpoint that makes the task.
        body: The fields that are set, with the files still in them.
    """
    asked = body.get("aspect_ratio", endpoint.params.get("aspect_ratio", {}).get("default", "auto"))
    if asked != "auto":
        return str(asked)
    size = next(_picture_sizes(endpoint.params, body), None)
    if size is None:
        return WIDE
    width, height = size
    if endpoint.name == "image_expand":
        width = round(width * (1 + body["left_expansion_ratio"] + body["right_expansion_ratio"]))
        height = round(height * (1 + body["up_expansion_ratio"] + body["down_expansion_ratio"]))
    return f"{width}:{height}"


def _picture_sizes(params: dict[str, Param], body: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of the pictures sent as files, in the order of the parameters."""
    for name, param in params.items():
        values: list[Any] = body[name] if isinstance(body.get(name), list) else [body.get(name)]
        for value in values:
            if isinstance(value, dict):
                yield from _picture_sizes(param.get("items", {}), value)
            elif (
                isinstance(value, str) and param.get("media", {}).get("kind") == "image" and not is_url(value)
            ):
                size = image_size(decoded(value) or b"")
                if size is not None:
                    yield size
