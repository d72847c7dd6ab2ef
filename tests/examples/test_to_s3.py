"""Run examples/to_s3.py against moto's server of S3, with the emulator as source."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import DownloadError, Retry, Task, v1
from kling_async.testing import Emulator, emulator
from tests.support import client_of, clip, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytest.importorskip("aiobotocore", reason="aiobotocore is not installed")
server = pytest.importorskip("moto.server", reason="moto and flask are not installed")

from aiobotocore.session import get_session  # noqa: E402 - only where it is installed

from examples import to_s3  # noqa: E402 - as above

pytestmark = [pytest.mark.anyio, pytest.mark.real]

BUCKET: Final = "films"
PART: Final = 6 * 1024**2
SIZE: Final = 3 * PART + 1
"""Bytes of the film: three parts, and a byte more."""


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The address of a server of S3, in a thread of its own."""
    moto = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
async def s3(storage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Any]:
    """A client of that server, which the environment names, with an empty bucket."""
    environment = {
        "AWS_ENDPOINT_URL": storage,
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(to_s3, "PART", PART)
    session: Any = get_session()  # its clients make their methods at run time
    async with session.create_client("s3") as client:
        await client.create_bucket(Bucket=BUCKET)
        yield client
        for key in await keys(client):
            await client.delete_object(Bucket=BUCKET, Key=key)
        await client.delete_bucket(Bucket=BUCKET)


async def keys(s3: Any) -> list[str]:
    found = await s3.list_objects_v2(Bucket=BUCKET)
    return [item["Key"] for item in found.get("Contents", [])]


async def uploads(s3: Any) -> list[str]:
    """Name the uploads that are neither completed nor aborted."""
    found = await s3.list_multipart_uploads(Bucket=BUCKET)
    return [item["Key"] for item in found.get("Uploads", [])]


async def content(s3: Any, key: str) -> tuple[str, bytes]:
    found = await s3.get_object(Bucket=BUCKET, Key=key)
    async with found["Body"] as body:
        return found["ContentType"], await body.read()


class Source:
    """A film of four parts at the emulator."""

    def __init__(self, emu: Emulator, task: Task[v1.Videos], film: bytes) -> None:
        self.emu = emu
        self.task = task
        self.film = film

    async def copy(self, s3: Any) -> None:
        async with self.task.stream() as file:
            await to_s3.copy(file, s3, BUCKET, "a.mp4")


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """A task that has ended, and the bytes of its film."""
    async with emulator(speed=1000) as emu:
        emu.pad_files(SIZE)
        async with client_of(emu, retry=Retry(base=0, max_tries=3)) as client:
            task = await client.submit(clip())
            emu.finish(task.id)
            await task.refresh()  # the real clock runs, and a wait would take its time
            film = b"".join([chunk async for chunk in task.stream()])
            assert len(film) == SIZE
            emu.ledger.rows.clear()
            yield Source(emu, task, film)


async def test_the_example(s3: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """The video is in the bucket under the task's id, with its type; the example says so."""
    async with emulator(speed=1000) as emu:
        for name, value in emu.env().items():
            monkeypatch.setenv(name, value)
        await to_s3.main(BUCKET)
        (task_id,) = emu.tasks
    kind, film = await content(s3, f"{task_id}.mp4")
    assert kind == "video/mp4" and film[4:8] == b"ftyp"
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"accepted: {task_id}",
        f"copying: {len(film)} bytes of video/mp4",
        f"stored: s3://{BUCKET}/{task_id}.mp4",
    ]
    assert await uploads(s3) == []


async def test_a_film_of_several_parts(s3: Any, source: Source) -> None:
    """Parts of any number join to the film, byte by byte."""
    await source.copy(s3)
    assert await content(s3, "a.mp4") == ("video/mp4", source.film)


@pytest.mark.parametrize("cut", [1000, PART, PART + 1, SIZE - 1])
async def test_a_cut_that_is_resumed_leaves_no_trace(cut: int, s3: Any, source: Source) -> None:
    """The object is the film, wherever the connection broke."""
    source.emu.fault("media", kind="half_body", value=cut)
    await source.copy(s3)
    assert await content(s3, "a.mp4") == ("video/mp4", source.film)
    assert len(source.emu.ledger.media) == 2 and await uploads(s3) == []


@pytest.mark.parametrize("cut", [1000, PART, SIZE - 1])
async def test_a_cut_that_cannot_be_resumed_leaves_no_object(cut: int, s3: Any, source: Source) -> None:
    """Neither a part of the film nor an upload that goes on costing."""
    source.emu.fault("media", kind="half_body", value=cut)
    source.emu.fault("media", kind="lost_before", times=None)
    with pytest.raises(DownloadError, match="broke off"):
        await source.copy(s3)
    assert await keys(s3) == [] and await uploads(s3) == []


async def test_an_older_object_outlives_a_broken_copy(s3: Any, source: Source) -> None:
    """What is stored under that key stays until the whole film replaces it."""
    await s3.put_object(Bucket=BUCKET, Key="a.mp4", Body=b"older")
    source.emu.fault("media", kind="half_body")
    source.emu.fault("media", kind="no_range")
    with pytest.raises(DownloadError, match="does not send the rest of the same file"):
        await source.copy(s3)
    assert (await content(s3, "a.mp4"))[1] == b"older" and await uploads(s3) == []


async def test_a_copy_that_is_cancelled_leaves_no_object(s3: Any, source: Source) -> None:
    """The upload is aborted also when the caller gives up."""
    source.emu.fault("media", kind="half_body")
    source.emu.fault("media", kind="hang", times=None)
    copying = asyncio.create_task(source.copy(s3))
    await until(lambda: len(source.emu.ledger.media) == 2, 30, step=0.01)
    assert await uploads(s3) == ["a.mp4"]
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert await keys(s3) == [] and await uploads(s3) == []
