"""Bodies of requests and the files in them: checked before anything is queued, encoded off the loop."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.checks import has_files, media_fields, to_wire
from kling_async.wire.media_formats import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.media import Media
    from kling_async.wire.media_formats import Limits
    from kling_async.wire.requests import Request

__all__ = ["check_media", "encode"]


async def check_media(request: Request, scope: LoopScope) -> None:
    """Check the files and bytes of a request, off the loop, before anything is queued or paid.

    Raises:
        RequestInvalid: A file is missing, of another form, too small or too large.
    """
    items = [(path, media, limits) for path, media, limits in media_fields(request) if media.url is None]
    if not items:
        return
    problems = await scope.enter().run_in_executor(None, _judge_all, items)
    if problems:
        raise RequestInvalid(type(request).__name__, problems)


def _judge_all(items: list[tuple[str, Media, Limits]]) -> list[Problem]:
    judged = ((path, _judge(media, limits)) for path, media, limits in items)
    return [Problem(path, wrong) for path, wrong in judged if wrong is not None]


def _judge(media: Media, limits: Limits) -> str | None:
    if media.path is None:
        data = media.data or b""
        return judge(io.BytesIO(data), len(data), limits)
    try:
        with Path(media.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return judge(file, size, limits)
    except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
        return f"cannot read {media.path!r}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


async def encode(
    request: Request, extra: Mapping[str, Any], scope: LoopScope, digests: Mapping[Media, str] | None = None
) -> bytes:
    """Return the body of a create: the request, its files in Base64, and what the call adds.

    Args:
        request: What to make.
        extra: Fields that the call adds to the request's own.
        scope: The loop to keep free.
        digests: SHA-256, in hexadecimal, of files that must still have the same content.

    Raises:
        RequestInvalid: A file cannot be read any more, or has changed.
    """
    if not has_files(request):
        return _encode(request, extra, {})
    return await scope.enter().run_in_executor(None, _encode, request, extra, digests or {})


def _encode(request: Request, extra: Mapping[str, Any], digests: Mapping[Media, str]) -> bytes:
    def wire_text(media: Media) -> str:
        if media.url is not None:
            return media.url
        content = _content(media, digests.get(media))
        if isinstance(content, bytes):
            return base64.b64encode(content).decode()
        field = next(path for path, other, _ in media_fields(request) if other is media)
        raise RequestInvalid(type(request).__name__, [Problem(field, content)])

    body = getattr(request, "body", None)  # a RawTask carries its own
    fields = {**body, **request.extra} if isinstance(body, dict) else to_wire(request, wire_text)
    return msgspec.json.encode({**fields, **extra})


def _content(media: Media, digest: str | None) -> bytes | str:
    """Return the bytes of a file, or in words why they cannot be sent."""
    if media.path is None:
        return media.data or b""
    try:
        data = Path(media.path).read_bytes()
    except OSError as error:
        return f"cannot read {media.path!r}: {_reason(error)}"
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        return f"{media.path!r} has changed since it was read; as it is now it is another request"
    return data
