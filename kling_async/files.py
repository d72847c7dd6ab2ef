"""Files in and out: input images checked and encoded off the loop, results streamed to disk."""

from __future__ import annotations

import base64
import io
import os
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec

from kling_async.auth import is_loopback
from kling_async.checks import media_fields, to_wire
from kling_async.errors import DownloadError, Problem, RequestInvalid
from kling_async.inputs import Limits, Media, judge_image, read_header
from kling_async.sessions import is_public
from kling_async.transport import broken_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.loops import Home
    from kling_async.options import Timeouts
    from kling_async.sessions import Sessions
    from kling_async.wire import Request

__all__ = ["check_media", "download", "encode"]

_REDIRECTS_MAX: Final = 3
_FILE_MAX: Final = 4 * 1024**3
_CHUNK: Final = 256 * 1024


async def check_media(request: Request, home: Home) -> None:
    """Look at the files and bytes of a request, off the loop, before anything is queued or paid.

    Raises:
        RequestInvalid: A file is missing, not an image, too small or too large.
    """
    items = [(path, media, limits) for path, media, limits in media_fields(request) if media.url is None]
    if not items:
        return
    problems = await home.enter().run_in_executor(None, _judge_all, items)
    if problems:
        raise RequestInvalid(type(request).__name__, problems)


def _judge_all(items: list[tuple[str, Media, Limits]]) -> list[Problem]:
    found = ((path, _judge(media, limits)) for path, media, limits in items)
    return [Problem(path, text) for path, text in found if text is not None]


def _judge(media: Media, limits: Limits) -> str | None:
    if media.path is None:
        data = media.data or b""
        return judge_image(read_header(io.BytesIO(data)), len(data), limits)
    try:
        with Path(media.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return judge_image(read_header(file), size, limits)
    except OSError as error:
        return f"cannot read {media.path!r}: {error.strerror or type(error).__name__}"


async def encode(request: Request, more: Mapping[str, Any], home: Home) -> bytes:
    """Return the body of a create: the request, its files in Base64, and what the call adds.

    Raises:
        RequestInvalid: A file cannot be read any more.
    """
    if all(media.url is not None for _, media, _ in media_fields(request)):
        return _encode(request, more)
    return await home.enter().run_in_executor(None, _encode, request, more)


def _encode(request: Request, more: Mapping[str, Any]) -> bytes:
    body = getattr(request, "body", None)  # a RawTask carries its own
    fields = {**body, **request.extra} if isinstance(body, dict) else to_wire(request, _text)
    return msgspec.json.encode({**fields, **more})


def _text(media: Media) -> str:
    if media.url is not None:
        return media.url
    if media.path is None:
        return base64.b64encode(media.data or b"").decode()
    try:
        return base64.b64encode(Path(media.path).read_bytes()).decode()
    except OSError as error:
        text = f"cannot read {media.path!r}: {error.strerror or type(error).__name__}"
    raise RequestInvalid("request", [Problem("file", text)])


async def download(sessions: Sessions, url: str, target: Path, *, timeouts: Timeouts, task_id: str) -> int:
    """Stream one result file to ``target``, whole or not at all; return its size.

    The bytes go to a temporary name beside it, which only this user can read, until all have come.

    Raises:
        DownloadError: The address is not acceptable, the server refused, or the file could not be written.
    """
    loop = sessions.home.enter()
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        await loop.run_in_executor(None, partial(target.parent.mkdir, parents=True, exist_ok=True))
        file = await loop.run_in_executor(None, _open_private, part)
        try:
            size = await _stream(sessions, url, file, timeouts, task_id)
            await loop.run_in_executor(None, _finish, file)
        finally:
            file.close()
        await loop.run_in_executor(None, part.replace, target)
    except OSError as error:
        failure = f"cannot write {str(target)!r}: {error.strerror or type(error).__name__}"
    else:
        return size
    finally:
        part.unlink(missing_ok=True)
    raise DownloadError(failure, task_id=task_id)


def _open_private(path: Path) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"))


def _finish(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


async def _stream(
    sessions: Sessions, url: str, file: io.BufferedWriter, timeouts: Timeouts, task_id: str
) -> int:
    session = await sessions.get("files")
    loop = sessions.home.enter()
    limits = aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_read=timeouts.read)
    for _ in range(_REDIRECTS_MAX + 1):
        _check_address(url, local=sessions.local_files, task_id=task_id)
        size = 0
        try:
            async with session.get(
                url, timeout=limits, allow_redirects=False, **sessions.per_request(url)
            ) as response:
                where = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and where:
                    url = urljoin(url, where)
                    continue
                _check_answer(response, task_id)
                async for chunk in response.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > _FILE_MAX:
                        raise DownloadError("the file is larger than 4 GiB", task_id=task_id)
                    await loop.run_in_executor(None, file.write, chunk)
                return size
        except (TimeoutError, aiohttp.ClientError) as error:
            broken = broken_by(error)
        raise DownloadError(f"the download broke off: {broken.reason}", task_id=task_id)
    raise DownloadError(f"more than {_REDIRECTS_MAX} redirects", task_id=task_id)


def _check_answer(response: aiohttp.ClientResponse, task_id: str) -> None:
    if response.status != 200:
        raise DownloadError(
            f"the file's server answered HTTP {response.status}",
            task_id=task_id,
            http_status=response.status,
        )
    if response.content_type in ("text/html", "application/json", "application/xml", "text/xml"):
        raise DownloadError(
            f"the file's server sent {response.content_type}, not a file", task_id=task_id, http_status=200
        )


def _check_address(url: str, *, local: bool, task_id: str) -> None:
    """Accept https to public addresses; this machine's only where the API itself is here."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host, parts = "", urlsplit("")
    if local and parts.scheme in ("http", "https") and is_loopback(host):
        return
    if parts.scheme == "https" and host and is_public(host):
        return
    raise DownloadError(
        f"the result's address ({parts.scheme or 'no scheme'}://{host}) is not public https", task_id=task_id
    )
