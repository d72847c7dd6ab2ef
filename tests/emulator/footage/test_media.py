"""Result files: real media of the requested shape and length, behind URLs that expire."""

from __future__ import annotations

import asyncio
import struct
import zlib
from itertools import pairwise

import pytest

from kling_async.emulator.footage.clips import Film, mp4
from kling_async.emulator.footage.pictures import png, size_for
from tests.emulator.support import IMAGE, VIDEO, Caller, calling

pytestmark = pytest.mark.anyio

RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


async def finished(call: Caller, path: str, task_id: str) -> list[dict[str, str]]:
    """End a task and return the entries of its result."""
    call.emu.finish(task_id)
    (entries,) = (await call("GET", f"{path}/{task_id}")).data["task_result"].values()
    return list(entries)


def boxes(data: bytes, at: int, end: int) -> dict[bytes, bytes]:
    """Return the boxes of an MP4 by type."""
    found: dict[bytes, bytes] = {}
    while at < end:
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found[kind] = data[at + 8 : at + size]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"):
            found |= boxes(data, at + 8, at + size)
        at += size
    assert at == end
    return found


def u32(data: bytes, at: int) -> int:
    """Return the number in four bytes of a box."""
    return int.from_bytes(data[at : at + 4], "big")


@pytest.mark.parametrize("aspect", ["16:9", "9:16", "1:1"])
@pytest.mark.parametrize("seconds", range(3, 16))
def test_clips_last_as_long_as_asked_for(aspect: str, seconds: int) -> None:
    """Every table of an MP4 that tells a time agrees; the pictures are H.264 in the aspect ratio."""
    data = mp4(Film(aspect, seconds))
    found = boxes(data, 0, len(data))
    scale, media_scale = u32(found[b"mvhd"], 12), u32(found[b"mdhd"], 12)
    assert u32(found[b"mvhd"], 16) == u32(found[b"tkhd"], 20) == u32(found[b"elst"], 8) == seconds * scale
    assert u32(found[b"mdhd"], 16) == seconds * media_scale
    assert u32(found[b"stts"], 4) == 1
    assert u32(found[b"stts"], 8) * u32(found[b"stts"], 12) == seconds * media_scale
    assert b"avc1" in found[b"stsd"] and len(data) < 20_000 * seconds
    width, height = u32(found[b"tkhd"], 76) >> 16, u32(found[b"tkhd"], 80) >> 16
    across, down = (int(part) for part in aspect.split(":"))
    assert width * down == height * across


@pytest.mark.parametrize("aspect", RATIOS)
def test_pictures_are_whole_pngs_of_the_ratio(aspect: str) -> None:
    """A PNG has valid chunks and checksums, all pixels, and more than one colour."""
    data = png("seed", aspect)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, dict[bytes, bytes]()
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks[kind] = data[at + 8 : at + 8 + size]
        assert u32(data, at + 8 + size) == zlib.crc32(kind + chunks[kind])
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"] and len(chunks[b"PLTE"]) == 768
    width, height = size_for(aspect)
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (width, height) and max(width, height) == 512
    across, down = (int(part) for part in aspect.split(":"))
    assert width / height == pytest.approx(across / down, rel=0.01)
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert len(pixels) == (width + 1) * height and len(set(pixels)) > 100


def test_pictures_differ_and_repeat_with_their_seed() -> None:
    """Equal seeds give equal bytes, different seeds different ones; a watermark is visible."""
    pictures = [png(f"seed {i}", "1:1") for i in range(5)]
    assert len(set(pictures)) == 5 and pictures[0] == png("seed 0", "1:1")
    assert png("seed 0", "1:1", marked=True) != pictures[0]


async def test_files_are_served_without_a_key() -> None:
    """Files have type and length, the request's ratio and duration, and differ from each other."""
    async with calling() as (_, call):
        made = await call.image(n=2, aspect_ratio="3:4", watermark_info={"enabled": True})
        entries = await finished(call, IMAGE, made.data["task_id"])
        files = [await call("GET", e[key], auth=None) for e in entries for key in ("url", "watermark_url")]
        assert [file.headers["Content-Type"] for file in files] == ["image/png"] * 4
        assert len({file.raw for file in files}) == 4
        assert struct.unpack(">II", files[0].raw[16:24]) == (384, 512)
        video = (await finished(call, VIDEO, (await call.video(duration="7")).data["task_id"]))[0]
        file = await call("GET", video["url"], auth=None)
        assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
        assert int(file.headers["Content-Length"]) == len(file.raw)


async def test_addresses_cannot_be_guessed_and_run_out() -> None:
    """A wrong signature, another name, no task, 30 days, or `expire_links` answer 403 as a CDN does."""
    async with calling() as (emu, call):
        task_id = (await call.video()).data["task_id"]
        url = (await finished(call, VIDEO, task_id))[0]["url"]
        for wrong in (
            url[:-1] + "x",
            url.partition("?")[0],
            url.replace("0.mp4", "1.mp4"),
            url.replace(task_id, "1"),
        ):
            reply = await call("GET", wrong, auth=None)
            assert (reply.status, reply.raw) == (403, b"AccessDenied")
        assert (await call("POST", url)).refusal[:2] == (404, 1202)
        emu.expire_links()
        assert (await call("GET", url, auth=None)).status == 403
        url = (await call("GET", f"{VIDEO}/{task_id}")).data["task_result"]["videos"][0]["url"]
        assert (await call("GET", url, auth=None)).status == 200
        await asyncio.sleep(30 * 86400 - 1)
        assert (await call("GET", url, auth=None)).status == 200
        await asyncio.sleep(2)
        assert (await call("GET", url, auth=None)).status == 403


async def test_a_download_can_be_resumed() -> None:
    """Open and closed ranges work; a stale If-Range gives the whole file; beyond the end is 416."""
    async with calling() as (_, call):
        url = (await finished(call, VIDEO, (await call.video()).data["task_id"]))[0]["url"]
        whole = await call("GET", url, auth=None)
        size, etag = len(whole.raw), whole.headers["ETag"]

        async def part(wanted: str, if_range: str = etag) -> tuple[int, str | None, bytes]:
            headers = {"Range": wanted, "If-Range": if_range}
            reply = await call("GET", url, auth=None, headers=headers)
            return reply.status, reply.headers.get("Content-Range"), reply.raw

        cuts = [0, 1, 5000, size]
        parts = [await part(f"bytes={a}-{b - 1}") for a, b in pairwise(cuts)]
        assert b"".join(raw for _, _, raw in parts) == whole.raw
        assert parts[1][:2] == (206, f"bytes 1-4999/{size}")
        assert await part("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", whole.raw[100:])
        assert await part(f"bytes=100-{size * 2}") == await part("bytes=100-")
        assert await part("bytes=100-", '"stale"') == (200, None, whole.raw)
        assert await part("bytes=1-2,4-5") == (200, None, whole.raw)
        assert await part(f"bytes={size}-") == (416, f"bytes */{size}", b"")
