"""Test downloads/fetch.py: one file is stored whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import DownloadError
from kling_async.downloads import remote
from kling_async.downloads.partial import Partial
from tests.films import (
    CUT_OFF,
    FILM,
    NO_ANSWER,
    SIZE,
    TAG,
    beginning,
    cut,
    fetching_from,
    film,
    mode_of,
    names,
    remainder,
)
from tests.support import pair, settle, still, until
from tests.wiretap import CUT, HANG, raw

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

# --- whole or not at all -----------------------------------------------------------------------


async def test_a_file_is_stored_whole_and_readable_as_any_other(tmp_path: Path) -> None:
    """The folder is made, the permissions are those of any new file, nothing else is left."""
    target = tmp_path / "new" / "folder" / "77.mp4"
    async with fetching_from(raw(FILM)) as get:
        assert (await get(target))[:2] == (SIZE, True)
    assert target.read_bytes() == FILM
    (tmp_path / "other").touch()
    assert mode_of(target) == mode_of(tmp_path / "other")
    assert names(target.parent) == ["77.mp4"]


async def test_a_chunked_file_is_stored(tmp_path: Path) -> None:
    """A body without a length is complete when its last chunk has come."""
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (SIZE, FILM)
    async with fetching_from(body) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
    assert (tmp_path / "77.mp4").read_bytes() == FILM


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\nConnection: close", "HTTP/1.0 200 OK"])
async def test_a_body_without_a_marked_end_never_gets_its_name(head: str, tmp_path: Path) -> None:
    """Such a body may end in the middle of the file, so it is requested again."""
    half = f"{head}\r\nContent-Type: video/mp4\r\n\r\n".encode() + FILM[: SIZE // 2]
    async with fetching_from(half) as get:
        error = await get.fails(tmp_path, tries=3)
        assert str(error) == "the file's server does not tell where the file ends"
        assert len(get.wire.requests) == 3
    async with fetching_from(half, film()) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE


async def test_a_compressed_body_is_rejected(tmp_path: Path) -> None:
    """A torn compressed body of the announced length would unpack without any error."""
    whole = gzip.compress(FILM)
    for body in (whole, whole[: len(whole) // 2]):
        async with fetching_from(raw(body, Content_Encoding="gzip", ETag=TAG)) as get:
            error = await get.fails(tmp_path, tries=2)
            assert str(error) == "the file's server sent it compressed, which was not asked for"
            assert len(get.wire.requests) == 2


async def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """While a file comes its bytes are in a private part, and an older file of that name stays."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    part = tmp_path / ".77.mp4.part"
    async with fetching_from(film()[:-1000]) as get:
        running = asyncio.create_task(get(target))
        await until(lambda: part.exists() and part.stat().st_size > 0)
        assert mode_of(part) == 0o600 and target.read_bytes() == b"older"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert names(tmp_path) == [part.name, f"{part.name}.json", "77.mp4"]
    assert target.read_bytes() == b"older" and FILM.startswith(part.read_bytes())
    assert "5ecre7" not in (tmp_path / f"{part.name}.json").read_text()


async def test_an_older_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A reader that has the older file open reads all of it, never a mixture."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    with target.open("rb") as reader:
        async with fetching_from(raw(FILM)) as get:
            await get(target)
        assert reader.read() == b"older" and target.read_bytes() == FILM


async def test_file_servers_get_no_key_and_no_headers_of_ours(tmp_path: Path) -> None:
    """The signed address alone opens a file."""
    async with pair(client={"headers": {"X-Team": "mine"}}) as (emu, client):
        task = await client.submit(still())
        await task.wait()
        await task.download(tmp_path)
        assert [row.authorized for row in emu.ledger.of("media")] == [False]
    async with fetching_from(raw(FILM)) as get:
        await get(tmp_path / "77.mp4")
    headers = get.wire.requests[0].headers
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent"}
    assert "kling" not in str(headers)


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        pytest.param(raw(b"no", 403), "the file's server answered HTTP 403", 403, id="403"),
        pytest.param(raw(b"no", 404), "the file's server answered HTTP 404", 404, id="404"),
        pytest.param(raw(b"no", 503), "the file's server answered HTTP 503", 503, id="503"),
        pytest.param(raw(b"", 302), "the file's server answered HTTP 302", 302, id="a redirect to nowhere"),
        pytest.param(
            raw(b"<html>", Content_Type="text/html; charset=utf-8"),
            "the file's server sent text/html, not a file", 200, id="HTML",
        ),
        pytest.param(
            raw({"code": 1}, Content_Type="application/json"),
            "the file's server sent application/json, not a file", 200, id="JSON",
        ),
        pytest.param(
            raw(b"<Error>", Content_Type="application/xml"),
            "the file's server sent application/xml, not a file", 200, id="XML",
        ),
        pytest.param(
            raw(b"<!DOCTYPE html>" + FILM),
            "the file's server sent an HTML page, not a .mp4 file", 200, id="HTML that does not say so",
        ),
        pytest.param(
            raw(b"\x89PNG\r\n\x1a\n"),
            "the file's server sent PNG, not a .mp4 file", 200, id="another kind of file",
        ),
        pytest.param(CUT, f"the download broke off: {CUT_OFF}", 0, id="cut before"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfa000\r\n" + FILM[:500000],
            f"the download broke off: {CUT_OFF}", 0, id="cut within",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfa000\r\nabc",
            f"the download broke off: {CUT_OFF}", 0, id="cut soon",
        ),
        pytest.param(raw(FILM)[:-1], f"the download broke off: {NO_ANSWER}", 0, id="a byte missing"),
        pytest.param(HANG, f"the download broke off: {NO_ANSWER}", 0, id="silence"),
        pytest.param(
            raw(b""), "the file is empty", 200, id="empty",
        ),
    ],
)  # fmt: skip
async def test_an_answer_without_a_usable_file_leaves_nothing(
    answer: bytes, reason: str, status: int, tmp_path: Path
) -> None:
    """The error tells the reason and the HTTP status, and nothing is left on disk."""
    async with fetching_from(answer) as get:
        error = await get.fails(tmp_path)
    assert (str(error), error.http_status) == (reason, status)


@pytest.mark.parametrize("form", ["plain", "unannounced"])
async def test_a_file_has_a_largest_size(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beyond the bound (4 GiB, here 1000 bytes) is refused, announced or not."""
    monkeypatch.setattr(remote, "_FILE_MAX", 1000)

    def answer(size: int) -> bytes:
        match form:
            case "plain":
                return raw(FILM[:size], ETag=TAG)
            case _:
                return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
                    size,
                    FILM[:size],
                )

    for size, good in ((1000, True), (1001, False)):
        async with fetching_from(answer(size)) as get:
            if good:
                assert (await get(tmp_path / "good.mp4")).size == 1000
            else:
                assert str(await get.fails(tmp_path)) == "the file is larger than 4 GiB"


async def test_a_file_announced_as_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Content-Length is enough: no byte of the body is awaited."""
    monkeypatch.setattr(remote, "_FILE_MAX", SIZE - 1)
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(cut(film(), 0)) as get:
        assert str(await get.fails(tmp_path, tries=3)) == "the file is larger than 4 GiB"
        assert len(get.wire.requests) == 1
    assert loop.time() - start < 1


# --- already there -----------------------------------------------------------------------------


async def test_a_whole_file_is_not_fetched_again(tmp_path: Path) -> None:
    """Its length, its last 4 KiB and its first 64 KiB are compared with the server's file."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    made = target.stat().st_mtime_ns
    async with fetching_from(remainder(SIZE - 4096), beginning()) as get:
        assert (await get(target))[:2] == (SIZE, False)
        assert get.ranges == [(f"bytes={SIZE - 4096}-{SIZE - 1}", None), ("bytes=0-65535", None)]
    assert target.stat().st_mtime_ns == made and names(tmp_path) == ["77.mp4"]


@pytest.mark.parametrize("size", [100, 4096, 65536])
async def test_a_small_file_is_compared_as_a_whole(size: int, tmp_path: Path) -> None:
    """One request compares a file of up to 64 KiB; any byte that differs is noticed."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM[:size])
    async with fetching_from(remainder(0, body=FILM[:size], total=size)) as get:
        assert (await get(target))[:2] == (size, False)
        assert get.ranges == [(f"bytes=0-{size - 1}", None)]
    other = FILM[: size // 2] + b"?" + FILM[size // 2 + 1 : size]
    async with fetching_from(remainder(0, body=other, total=size), raw(other)) as get:
        assert (await get(target))[:2] == (size, True)
    assert target.read_bytes() == other


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([0], id="another beginning"),
        pytest.param([1], id="another length by now"),
        pytest.param([], id="no ranges by now"),
    ],
)
async def test_a_file_with_another_beginning_is_replaced(second: list[int], tmp_path: Path) -> None:
    """Files of one length may end alike: sounds in silence, others in padding."""
    target = tmp_path / "77.wav"
    old, new = (b"RIFF....WAVEfmt " + mark * 20_000 + bytes(100_000) for mark in (b"a", b"b"))
    target.write_bytes(old)
    beginnings = [beginning(new, len(new) + more) for more in second]
    tail = remainder(len(new) - 4096, body=new, total=len(new))
    async with fetching_from(tail, *beginnings, raw(new)) as get:
        assert (await get(target))[:2] == (len(new), True)
    assert target.read_bytes() == new and names(tmp_path) == ["77.wav"]


async def test_a_comparison_that_breaks_off_is_begun_anew(tmp_path: Path) -> None:
    """A file that is there is neither replaced nor believed because the server is in trouble."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    tail = remainder(SIZE - 4096)
    async with fetching_from(tail, raw(b"", 503), tail, beginning()) as get:
        assert (await get(target, tries=2))[:2] == (SIZE, False)


@pytest.mark.parametrize(
    ("there", "answer"),
    [
        pytest.param(FILM[:-1], remainder(SIZE - 4097), id="cut"),
        pytest.param(FILM[:-1] + b"x", remainder(SIZE - 4096), id="another end"),
        pytest.param(FILM + b"x", raw(b"", 416), id="longer"),
    ],
)
async def test_a_file_that_is_not_the_same_is_replaced(there: bytes, answer: bytes, tmp_path: Path) -> None:
    """A file that is shorter, longer or different is fetched anew by a second request."""
    target = tmp_path / "77.mp4"
    target.write_bytes(there)
    async with fetching_from(answer, film()) as get:
        assert (await get(target))[:2] == (SIZE, True)
        assert get.ranges[1] == (None, None)
    assert target.read_bytes() == FILM


async def test_without_ranges_a_complete_file_is_fetched_again(tmp_path: Path) -> None:
    """A server that ignores Range cannot be asked for the pieces to compare."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    async with fetching_from(raw(FILM)) as get:
        assert (await get(target))[:2] == (SIZE, True)


# --- where it goes to --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, SIZE], ids=["at the end", "on the way"])
async def test_a_full_disk_is_reported(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds the system's words, and the part is removed to free its room."""
    append = Partial.append

    def full(part: Partial, chunks: list[bytes]) -> None:
        append(part, [chunks[0][:50]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Partial, "append", full)
    async with fetching_from(raw(FILM[:size], ETag=TAG)) as get:
        error = await get.fails(tmp_path, tries=3)
        assert len(get.wire.requests) == 1
    assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: No space left on device"


async def test_a_folder_without_permission_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before anything is requested."""

    def forbid(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with fetching_from(raw(FILM)) as get:
        monkeypatch.setattr(os, "open", forbid)
        error = await get.fails(tmp_path)
        assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: Permission denied"
        assert get.wire.requests == []


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
async def test_a_file_in_the_place_of_the_folder_is_reported(folder: str, tmp_path: Path) -> None:
    """The error names the path that cannot be written."""
    (tmp_path / "taken").touch()
    async with fetching_from(raw(FILM)) as get:
        with pytest.raises(DownloadError, match=r"cannot write .*taken"):
            await get(tmp_path / folder / "77.mp4")


@pytest.mark.parametrize("fails", [False, True], ids=["it works", "it fails"])
@pytest.mark.parametrize("moment", ["open", "publish", "close"])
async def test_cancelled_while_a_thread_works_on_the_file(
    moment: str, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread's work cannot be cancelled, so cancelling once or twice waits for its end."""
    inside, go_on = threading.Event(), threading.Event()
    real = getattr(Partial, moment)

    def slow(*arguments: Any, **more: Any) -> Any:
        inside.set()
        go_on.wait(10)
        done = real(*arguments, **more)
        if fails:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return done

    monkeypatch.setattr(Partial, moment, slow)
    loop = asyncio.get_running_loop()
    async with fetching_from(raw(b"", 403) if moment == "close" else raw(FILM)) as get:
        running = asyncio.create_task(get(tmp_path / "77.mp4"))
        await loop.run_in_executor(None, inside.wait, 10)
        for _ in range(2):
            running.cancel()
            await settle()
            assert not running.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert names(tmp_path) == (["77.mp4"] if moment == "publish" else [])
