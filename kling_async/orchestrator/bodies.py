"""Bodies of requests and the files in them: checked before anything is queued, encoded off the loop."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

import msgspec

from kling_async.errors import Problem, RequestInvalid
from kling_async.redaction import redact
from kling_async.runtime.input_files import open_regular, why_unreadable
from kling_async.wire.checks import Doubt, has_files, media_fields, to_wire, warn_once
from kling_async.wire.media import Media
from kling_async.wire.media_formats import Verdict, judge, judge_reach, judge_size
from kling_async.wire.placement import merged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.media_formats import Limits
    from kling_async.wire.requests import Request

__all__ = ["check_media", "check_media_here", "embed_files", "encode", "file_content"]


async def check_media(request: Request, scope: LoopScope, *, local: bool = False) -> None:
    """Check the media of a request before anything is queued or paid; files and bytes off the loop.

    Args:
        request: What to make.
        scope: The loop to keep free.
        local: The API itself is on this machine, so that it can fetch from private addresses.

    Raises:
        RequestInvalid: A file is missing, of another form, too small or too large, or the vendor cannot
            reach its address.
    """
    found, files = _addresses_and_files(request, local=local)
    if files:
        found += await scope.enter().run_in_executor(None, _judge_all, files)
    _report(request, found)


def check_media_here(request: Request, *, local: bool = False) -> None:
    """Check the media of a request as `check_media` does, reading the first bytes of files in this thread."""
    found, files = _addresses_and_files(request, local=local)
    _report(request, found + _judge_all(files))


AnyRequest = TypeVar("AnyRequest", bound="Request")
_Item: TypeAlias = "tuple[str, Media, Limits]"


def _addresses_and_files(request: Request, *, local: bool) -> tuple[list[Problem | Doubt], list[_Item]]:
    """Return what is wrong with the addresses of a request, and its files and bytes."""
    items = list(media_fields(request))
    found = [] if local else list(_judge_addresses(items))
    return found, [item for item in items if item[1].url is None]


def _report(request: Request, found: list[Problem | Doubt]) -> None:
    name = type(request).__name__
    for doubt in found:
        if isinstance(doubt, Doubt):
            warn_once(f"{name}.{doubt.field}: {doubt.text}")
    if problems := [problem for problem in found if isinstance(problem, Problem)]:
        raise RequestInvalid(name, problems)


def _judge_addresses(items: list[_Item]) -> Iterator[Problem | Doubt]:
    for path, media, limits in items:
        if media.url is not None:
            yield from _told(path, judge_reach(media.url, limits))


def _judge_all(items: list[_Item]) -> list[Problem | Doubt]:
    return [told for path, media, limits in items for told in _told(path, _judge(media, limits))]


def _told(path: str, verdict: Verdict) -> Iterator[Problem | Doubt]:
    if verdict.text is not None:
        yield Problem(path, verdict.text) if verdict.sure else Doubt(path, verdict.text)


def _judge(media: Media, limits: Limits) -> Verdict:
    if media.path is None:
        data = media.data or b""
        return judge(io.BytesIO(data), len(data), limits)
    try:
        with open_regular(media.path) as file:
            return judge(file, _size(file), limits)
    except (OSError, ValueError) as error:
        return Verdict(f"cannot read {media.path!r}: {why_unreadable(error)}")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


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
        RequestInvalid: A file cannot be read any more, or has changed, or a value cannot be sent as JSON.
    """
    if not has_files(request):
        return _encode(request, extra, {})
    return await scope.enter().run_in_executor(None, _encode, request, extra, digests or {})


def _encode(request: Request, extra: Mapping[str, Any], digests: Mapping[Media, str]) -> bytes:
    """Encode a body; whatever fails is a fault of this request alone, and nothing of it was sent."""
    try:
        return msgspec.json.encode(merged(_fields(request, digests), extra))
    except RequestInvalid:
        raise
    except Exception as error:  # noqa: BLE001 - objects of the caller's raise anything
        reason = f"{type(error).__name__}: {redact(str(error))[:200]}"
    raise RequestInvalid(type(request).__name__, [Problem("body", f"cannot be sent as JSON: {reason}")])


def _fields(request: Request, digests: Mapping[Media, str]) -> dict[str, Any]:
    def wire_text(media: Media) -> str:
        if media.url is not None:
            return media.url
        field, limits = next((path, most) for path, other, most in media_fields(request) if other is media)
        content = file_content(media, limits, digests.get(media))
        if isinstance(content, bytes):
            return base64.b64encode(content).decode()
        raise RequestInvalid(type(request).__name__, [Problem(field, content)])

    body = getattr(request, "body", None)  # a RawTask carries its own
    return {**body, **request.extra} if isinstance(body, dict) else to_wire(request, wire_text)


def file_content(media: Media, limits: Limits, digest: str | None) -> bytes | str:
    """Return the bytes of a file, or in words why they cannot be sent; its digest must be as given."""
    if media.path is None:
        return media.data or b""
    try:
        with open_regular(media.path) as file:
            if text := judge_size(size := _size(file), limits):  # it may have grown since it was checked
                return text
            data = file.read(size)
    except OSError as error:
        return f"cannot read {media.path!r}: {why_unreadable(error)}"
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        return f"{media.path!r} has changed since it was read; as it is now it is another request"
    return data


def embed_files(request: AnyRequest, digests: Mapping[Media, str] | None = None) -> AnyRequest:
    """Return a request in which the contents of files stand in place of their paths; reads them.

    Args:
        request: It may then run on another machine.
        digests: SHA-256 of its files, as far as they must have the content that they had.

    Raises:
        RequestInvalid: A file cannot be read, or its field does not take it.
    """
    contents: dict[Media, bytes] = {}
    for field, media, limits in media_fields(request):
        if media.path is not None and media not in contents:
            content = file_content(media, limits, (digests or {}).get(media))
            if isinstance(content, str):
                raise RequestInvalid(type(request).__name__, [Problem(field, content)])
            contents[media] = content
    found: AnyRequest = _with_contents(request, contents) if contents else request
    return found


def _with_contents(value: Any, contents: Mapping[Media, bytes]) -> Any:
    """Return a request, or a part of it, with bytes in place of the paths of files."""
    if isinstance(value, Media):
        return Media(data=contents[value]) if value in contents else value
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **{n: _with_contents(v, contents) for n, v in fields.items()})
    if isinstance(value, tuple):
        return tuple(_with_contents(item, contents) for item in value)
    return value
