"""Downloads on bad days: bodies cut or too short, servers without ranges, and long files."""

from __future__ import annotations

import aiohttp
import pytest

from tests.emulator.support import IMAGE, VIDEO, Caller, calling

pytestmark = pytest.mark.anyio


async def url_of(call: Caller, path: str = VIDEO) -> str:
    """Return the URL of the first file of a finished task."""
    made = await (call.video() if path == VIDEO else call.image())
    call.emu.finish(made.data["task_id"])
    (files,) = (await call("GET", f"{path}/{made.data['task_id']}")).data["task_result"].values()
    return str(files[0]["url"])


async def read_into(got: bytearray, content: aiohttp.StreamReader) -> None:
    """Append a body to ``got`` until its end or an error."""
    while chunk := await content.readany():
        got += chunk


async def test_a_body_is_cut_where_told() -> None:
    """The connection is cut after the scripted number of the announced bytes."""
    async with calling() as (emu, call):
        url = await url_of(call)
        emu.fault("media", kind="half_body", value=1000)
        async with call.session.get(url) as response:
            promised = response.content_length
            got = bytearray()
            with pytest.raises(aiohttp.ClientPayloadError):
                await read_into(got, response.content)
        assert len(got) <= 1000 < (promised or 0)
        assert (await call("GET", url, auth=None)).raw.startswith(got)


async def test_a_short_body_looks_whole() -> None:
    """The Content-Length matches the short body; only the total of a Content-Range tells the difference."""
    async with calling() as (emu, call):
        url = await url_of(call)
        whole = (await call("GET", url, auth=None)).raw
        emu.fault("media", kind="short_body")
        emu.fault("media", kind="short_body", value=10)
        assert (await call("GET", url, auth=None)).raw == whole[:-1]
        part = await call("GET", url, auth=None, headers={"Range": "bytes=100-"})
        assert (part.status, part.raw) == (206, whole[100:-10])
        assert part.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
        emu.fault("list", kind="short_body")
        assert (await call("GET", VIDEO)).json is None


async def test_a_server_without_ranges() -> None:
    """The whole file comes, whatever range was requested."""
    async with calling() as (emu, call):
        url = await url_of(call)
        whole = (await call("GET", url, auth=None)).raw
        emu.fault("media", kind="no_range")
        reply = await call("GET", url, auth=None, headers={"Range": "bytes=100-"})
        assert (reply.status, reply.raw) == (200, whole)
        assert (await call("GET", url, auth=None, headers={"Range": "bytes=100-"})).status == 206


async def test_files_may_be_made_long() -> None:
    """Files are padded with bytes that players skip, and get another ETag."""
    async with calling() as (emu, call):
        video, image = await url_of(call), await url_of(call, IMAGE)
        short = [await call("GET", url, auth=None) for url in (video, image)]
        emu.pad_files(1_000_000)
        long = [await call("GET", url, auth=None) for url in (video, image)]
        assert [len(file.raw) for file in long] == [1_000_000] * 2
        assert all(new.raw.startswith(old.raw) for new, old in zip(long, short, strict=True))
        assert all(new.headers["ETag"] != old.headers["ETag"] for new, old in zip(long, short, strict=True))
        size = len(short[0].raw)
        assert long[0].raw[size : size + 8] == (1_000_000 - size).to_bytes(4) + b"free"
        emu.pad_files(size + 1)  # fewer bytes than an empty box has
        assert (await call("GET", video, auth=None)).raw == short[0].raw + b"\0\0\0\x08free"
