"""Files in and out: input images checked and encoded off the loop, results streamed to disk."""

from __future__ import annotations

import asyncio
import base64
import contextlib
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
from kling_async.core.verdict import Broken
from kling_async.errors import DownloadError, Problem, RequestInvalid
from kling_async.headers import judge
from kling_async.sessions import is_public
from kling_async.transport import broken_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.headers import Limits
    from kling_async.inputs import Media
    from kling_async.loops import Home
    from kling_async.options import Timeouts
    from kling_async.sessions import Sessions
    from kling_async.wire import Request

__all__ = ["check_media", "download", "encode"]

_REDIRECTS_MAX: Final = 3
_FILE_MAX: Final = 4 * 1024**3
_CHUNK: Final = 256 * 1024
_UMASK: Final = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)


async def check_media(request: Request, home: Home) -> None:
    """Look at the files and bytes of a request, off the loop, before anything is queued or paid.

    Raises:
        RequestInvalid: A file is missing, of another form, too small or too large.
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
        return judge(io.BytesIO(data), len(data), limits)
    try:
        with Path(media.path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return judge(file, size, limits)
    except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
        return f"cannot read {media.path!r}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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

    def text(media: Media) -> str:
        try:
            return _text(media)
        except OSError as error:
            name = next(path for path, other, _ in media_fields(request) if other is media)
            wrong = Problem(name, f"cannot read {media.path!r}: {_reason(error)}")
        raise RequestInvalid(type(request).__name__, [wrong])

    fields = {**body, **request.extra} if isinstance(body, dict) else to_wire(request, text)
    return msgspec.json.encode({**fields, **more})


def _text(media: Media) -> str:
    if media.url is not None:
        return media.url
    data = (media.data or b"") if media.path is None else Path(media.path).read_bytes()
    return base64.b64encode(data).decode()


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
        file = await _opened(part, loop)
        try:
            size = await _stream(sessions, url, file, timeouts, task_id)
            await loop.run_in_executor(None, _finish, file)
        finally:
            file.close()
        await loop.run_in_executor(None, _publish, part, target)
    except OSError as error:
        failure = f"cannot write {str(target)!r}: {_reason(error)}"
    else:
        return size
    finally:
        _discard(part)
    raise DownloadError(failure, task_id=task_id)


async def _opened(part: Path, loop: asyncio.AbstractEventLoop) -> io.BufferedWriter:
    """Open a private file in a thread; cancelled meanwhile, see that the thread leaves none behind."""
    opening = loop.run_in_executor(None, _open_private, part)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: _close(done, part))
        raise


def _close(opened: asyncio.Future[io.BufferedWriter], part: Path) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
    _discard(part)


def _discard(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)


def _open_private(path: Path) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"))


def _publish(part: Path, target: Path) -> None:
    """Give the whole file its name, and the rights of any new file of this user's."""
    part.chmod(0o666 & ~_UMASK)
    part.replace(target)


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
                url,
                timeout=limits,
                allow_redirects=False,
                raise_for_status=False,
                **sessions.per_request(url),
            ) as response:
                where = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and where:
                    url = _joined(url, where)
                    continue
                _check_answer(response, task_id)
                async for chunk in response.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > _FILE_MAX:
                        raise DownloadError("the file is larger than 4 GiB", task_id=task_id)
                    await loop.run_in_executor(None, file.write, chunk)
        except (TimeoutError, aiohttp.ClientError) as error:
            broken = broken_by(error)
        except RuntimeError:  # aiohttp's word for a connection that closes between two chunks
            broken = Broken(True, "the connection was cut before the whole answer came")
        else:
            if size == 0:
                raise DownloadError("the file is empty", task_id=task_id, http_status=200)
            return size
        raise DownloadError(f"the download broke off: {broken.reason}", task_id=task_id)
    raise DownloadError(f"more than {_REDIRECTS_MAX} redirects", task_id=task_id)


def _joined(url: str, where: str) -> str:
    try:
        return urljoin(url, where)
    except ValueError:
        return ""  # which the check of addresses refuses


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
