"""Files that go to the API: checked before anything is queued, read and encoded off the loop."""

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
    """Look at the files and bytes of a request, off the loop, before anything is queued or paid.

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
    found = ((path, _judge(media, limits)) for path, media, limits in items)
    return [Problem(path, text) for path, text in found if text is not None]


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
    request: Request, more: Mapping[str, Any], scope: LoopScope, digests: Mapping[Media, str] | None = None
) -> bytes:
    """Return the body of a create: the request, its files in Base64, and what the call adds.

    Args:
        request: What to make.
        more: What the call adds.
        scope: Whose loop to keep free.
        digests: SHA-256 in hexadecimal of files that must still be what they were.

    Raises:
        RequestInvalid: A file cannot be read any more, or has changed.
    """
    if not has_files(request):
        return _encode(request, more, {})
    return await scope.enter().run_in_executor(None, _encode, request, more, digests or {})


def _encode(request: Request, more: Mapping[str, Any], digests: Mapping[Media, str]) -> bytes:
    body = getattr(request, "body", None)  # a RawTask carries its own

    def text(media: Media) -> str:
        if media.url is not None:
            return media.url
        try:
            data = (media.data or b"") if media.path is None else Path(media.path).read_bytes()
        except OSError as error:
            wrong = f"cannot read {media.path!r}: {_reason(error)}"
        else:
            if media not in digests or hashlib.sha256(data).hexdigest() == digests[media]:
                return base64.b64encode(data).decode()
            wrong = f"{media.path!r} has changed since it was read; as it is now it is another request"
        name = next(path for path, other, _ in media_fields(request) if other is media)
        raise RequestInvalid(type(request).__name__, [Problem(name, wrong)])

    fields = {**body, **request.extra} if isinstance(body, dict) else to_wire(request, text)
    return msgspec.json.encode({**fields, **more})
