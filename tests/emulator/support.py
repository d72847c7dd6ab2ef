"""Plain HTTP requests to an emulator, and small files to send along."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from kling_async.emulator.footage import tones
from kling_async.testing import Emulator, emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

VIDEO = "/v1/videos/text2video"
IMAGE = "/v1/images/generations"
COSTS = "/account/costs"
ALL_TIME = {"start_time": "0", "end_time": "99999999999999"}


class Reply(NamedTuple):
    """One HTTP answer, read completely."""

    status: int
    json: Any
    headers: Any
    raw: bytes

    @property
    def code(self) -> int:
        """The API's code in the envelope."""
        return int(self.json["code"])

    @property
    def data(self) -> Any:
        """The ``data`` of the envelope."""
        return self.json["data"]

    @property
    def refusal(self) -> tuple[int, int, str]:
        """HTTP status, code and message of a refusal, which has no data."""
        assert "data" not in self.json
        return self.status, self.code, self.json["message"]


class Caller:
    """Client that sends requests with the API key, or with other headers."""

    def __init__(self, emu: Emulator, session: aiohttp.ClientSession) -> None:
        self.emu, self.session = emu, session

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        auth: str | None = "Bearer emulator-key",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Reply:
        """Send a request to a path below the base URL, or to a complete URL."""
        url = path if path.startswith("http") else self.emu.url + path
        sent = {**({} if auth is None else {"Authorization": auth}), **(headers or {})}
        async with self.session.request(method, url, headers=sent, **options) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            try:
                value = json.loads(raw) if is_json else None
            except ValueError:
                value = None
            return Reply(response.status, value, response.headers, raw)

    async def video(self, **body: Any) -> Reply:
        """Create a video."""
        return await self._create(VIDEO, body)

    async def image(self, **body: Any) -> Reply:
        """Create images."""
        return await self._create(IMAGE, body)

    async def _create(self, path: str, body: dict[str, Any]) -> Reply:
        full = {"model_name": "kling-v3", "prompt": "A paper boat", **body}
        return await self("POST", path, data=io.BytesIO(json.dumps(full).encode()))

    async def status(self, task_id: str, path: str = VIDEO) -> str:
        """Query a task; return its status."""
        return str((await self("GET", f"{path}/{task_id}")).data["task_status"])


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[tuple[Emulator, Caller]]:
    """Start an emulator, and yield it with a caller."""
    async with emulator(**options) as emu, aiohttp.ClientSession() as session:
        yield emu, Caller(emu, session)


def png(width: int, height: int, extra: int = 0) -> str:
    """Return a PNG header in Base64, followed by ``extra`` bytes."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * extra).decode()


def jpeg(width: int, height: int) -> str:
    """Return a JPEG up to its frame header in Base64, with every kind of segment to skip before it."""
    start = b"\xff\xd8" + b"\xff\xe0\x00\x04JF" + b"\xff\x01" + b"\xff\xff"
    frame = b"\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\0" * 9
    return base64.b64encode(start + frame).decode()


def sound(kind: str, seconds: float, extra: int = 0) -> str:
    """Return a sound in Base64, followed by ``extra`` bytes; of M4A and AAC only the first bytes."""
    made: dict[str, Callable[[], bytes]] = {
        "mp3": lambda: b"ID3\x04\x00\x00\x00\x00\x00\x05extra" + tones.mp3("test", seconds),
        "wav": lambda: tones.wav("test", seconds),
        "m4a": lambda: b"\0\0\0\x1cftypM4A ",
        "aac": lambda: b"\xff\xf1\x50\x80\x00\x1f\xfc",
    }
    data = made[kind]()
    return base64.b64encode(data + b"\0" * extra).decode()
