"""kling_async/fetching.py: one file, whole or not at all; what broke off is gone on with."""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import random
import socket
import stat
import threading
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import DownloadError, Retry, Timeouts, fetching
from kling_async.core.ranges import Whole
from kling_async.fetching import Fetched, fetch
from kling_async.loops import Home
from kling_async.partials import Partial
from kling_async.sessions import Sessions
from tests.support import pair, settle, still, until
from tests.wiretap import CUT, HANG, Wire, raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

FILM: Final = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 8000
SIZE: Final = len(FILM)
TAG: Final = '"v1"'
CUT_OFF: Final = "the connection was cut before the whole answer came"
NO_ANSWER: Final = "no answer in time"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Fetcher:
    """Downloads from a server that answers as told."""

    def __init__(self, wire: Wire, sessions: Sessions) -> None:
        self.wire = wire
        self._sessions = sessions

    @property
    def ranges(self) -> list[tuple[str | None, str | None]]:
        """What part was asked for, and of which body, in each request."""
        return [(seen.headers.get("range"), seen.headers.get("if-range")) for seen in self.wire.seen]

    async def __call__(self, target: Path, url: str = "", *, tries: int = 1, source: str = "s") -> Fetched:
        return await fetch(
            self._sessions,
            url or f"http://127.0.0.1:{self.wire.port}/a.mp4?x-sign=5ecre7",
            target,
            source=source,
            timeouts=Timeouts(),
            retry=Retry(max_tries=tries),
            rng=random.Random(7),
            task_id="77",
        )

    async def fails(self, folder: Path, url: str = "", *, tries: int = 1) -> DownloadError:
        """Return the error, after making sure that nothing was left behind and no secret shows."""
        before = names(folder)
        with pytest.raises(DownloadError) as caught:
            await self(folder / "77.mp4", url, tries=tries)
        assert names(folder) == before
        assert caught.value.task_id == "77"
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert "5ecre7" not in "".join(traceback.format_exception(caught.value))
        return caught.value


@asynccontextmanager
async def fetching_from(*answers: bytes, local: bool = True) -> AsyncIterator[Fetcher]:
    sessions = Sessions(Home(lambda: 0.0), local_files=local)
    async with serving(*answers) as wire:
        try:
            yield Fetcher(wire, sessions)
        finally:
            await sessions.close()


def film() -> bytes:
    """The whole of it, under a name."""
    return raw(FILM, ETag=TAG)


def cut(answer: bytes, after: int) -> bytes:
    """That many bytes of an answer's body; `Wire` leaves after what has no Content-Length in capitals."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.replace(b"Content-Length", b"content-length") + b"\r\n\r\n" + body[:after]


def rest(start: int, *, body: bytes = FILM, tag: str = TAG, total: int = SIZE) -> bytes:
    """What is left from a byte on."""
    where = f"bytes {start}-{total - 1}/{total}"
    return raw(body[start:], 206, ETag=tag, Content_Range=where)


# --- whole or not at all -----------------------------------------------------------------------


async def test_a_file_is_stored_whole_and_readable_as_any_other(tmp_path: Path) -> None:
    """Its folder is made; its rights are those of any new file; nothing else is left there."""
    target = tmp_path / "new" / "folder" / "77.mp4"
    async with fetching_from(raw(FILM)) as get:
        assert await get(target) == Fetched(SIZE, fresh=True)
    assert target.read_bytes() == FILM
    (tmp_path / "other").touch()
    assert mode_of(target) == mode_of(tmp_path / "other")
    assert names(target.parent) == ["77.mp4"]


async def test_a_file_without_a_length_is_stored_too(tmp_path: Path) -> None:
    """Sent in chunks; the last one tells that it was all."""
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (SIZE, FILM)
    async with fetching_from(body) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """Until then its bytes are in a hidden, private one beside it, and an older file of that name stays."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    part = tmp_path / ".77.mp4.part"
    async with fetching_from(film()[:-1000]) as get:
        job = asyncio.create_task(get(target))
        await until(lambda: part.exists() and part.stat().st_size > 0)
        assert mode_of(part) == 0o600 and target.read_bytes() == b"older"
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    assert names(tmp_path) == [part.name, f"{part.name}.json", "77.mp4"]
    assert target.read_bytes() == b"older" and FILM.startswith(part.read_bytes())
    assert "5ecre7" not in (tmp_path / f"{part.name}.json").read_text()


async def test_an_older_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Who reads it meanwhile reads all of the older one, never a mixture."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    with target.open("rb") as reader:
        async with fetching_from(raw(FILM)) as get:
            await get(target)
        assert reader.read() == b"older" and target.read_bytes() == FILM


async def test_the_files_server_learns_nothing_about_us(tmp_path: Path) -> None:
    """No key, no header of the client's: the address alone is what opens it."""
    async with pair(client={"headers": {"X-Team": "mine"}}) as (emu, client):
        task = await client.submit(still())
        await task.wait()
        await task.download(tmp_path)
        assert [row.authorized for row in emu.ledger.of("media")] == [False]
    async with fetching_from(raw(FILM)) as get:
        await get(tmp_path / "77.mp4")
    headers = get.wire.seen[0].headers
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
async def test_what_is_no_file_and_cannot_be_gone_on_with_leaves_nothing(
    answer: bytes, reason: str, status: int, tmp_path: Path
) -> None:
    """Every failure says why, with the HTTP status where there was one."""
    async with fetching_from(answer) as get:
        error = await get.fails(tmp_path)
    assert (str(error), error.http_status) == (reason, status)


@pytest.mark.parametrize("form", ["plain", "compressed", "unannounced"])
async def test_a_file_has_a_largest_size(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 GiB, after decompression, announced or not; the test makes it a thousand bytes."""
    monkeypatch.setattr(fetching, "_FILE_MAX", 1000)

    def answer(size: int) -> bytes:
        match form:
            case "plain":
                return raw(FILM[:size], ETag=TAG)
            case "compressed":
                return raw(gzip.compress(FILM[:size]), Content_Encoding="gzip")
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


# --- going on ----------------------------------------------------------------------------------


def leave(folder: Path, size: int = 300_000, name: str = "77.mp4") -> None:
    """Leave a part of that size, as a call does that was killed."""
    part = Partial(folder / name, "s")
    part.open()
    part.begin(Whole(SIZE, TAG))
    part.append([FILM[:size]])
    part.close(keep=True)


async def test_a_later_call_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    """The rest is asked for, with an overlap and under the same name; but not of another source."""
    leave(tmp_path)
    async with fetching_from(rest(295904)) as get:
        assert await get(tmp_path / "77.mp4") == Fetched(SIZE, fresh=True)
        assert get.ranges == [("bytes=295904-", TAG)]
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    leave(tmp_path, name="78.mp4")
    async with fetching_from(film()) as get:
        await get(tmp_path / "78.mp4", source="another")
        assert get.ranges == [(None, None)]


async def test_a_broken_download_is_gone_on_with_within_the_call(tmp_path: Path) -> None:
    """After a pause, as often as was said; what came stays for a later call."""
    leave(tmp_path)
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(HANG, HANG, rest(295904)) as get:
        assert str(await get.fails(tmp_path, tries=2)) == f"the download broke off: {NO_ANSWER}"
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert get.ranges == [("bytes=295904-", TAG)] * 3
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    assert 60 < loop.time() - start < 61


async def test_what_came_before_a_cut_is_kept(tmp_path: Path) -> None:
    """All that was read until then, also what was not yet written."""
    async with fetching_from(cut(film(), 1_500_000)) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "77.mp4")
    kept = (tmp_path / ".77.mp4.part").read_bytes()
    assert len(kept) >= 500_000 and FILM.startswith(kept)


OTHER: Final = FILM[:12] + bytes(SIZE - 12)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([raw(OTHER, ETag='"v2"')], id="another body comes whole"),
        pytest.param([raw(OTHER)], id="a server without ranges"),
        pytest.param([rest(295904, tag='"v2"', body=OTHER), raw(OTHER)], id="a rest under another name"),
        pytest.param([rest(295904, body=OTHER), raw(OTHER)], id="a rest of another body under the same name"),
        pytest.param([rest(295903), raw(OTHER)], id="a rest from another byte on"),
        pytest.param([rest(295904, total=SIZE - 1), raw(OTHER)], id="a rest of another length"),
        pytest.param([raw(b"", 416, Content_Range="bytes */9"), raw(OTHER)], id="no such part"),
    ],
)
async def test_two_bodies_are_never_glued(second: list[bytes], tmp_path: Path) -> None:
    """What is here is thrown away as soon as it turns out not to belong to what comes."""
    leave(tmp_path)
    async with fetching_from(*second) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert len(get.wire.seen) == len(second)
    assert (tmp_path / "77.mp4").read_bytes() == OTHER and names(tmp_path) == ["77.mp4"]


async def test_without_a_name_for_the_body_all_of_it_is_fetched_again(tmp_path: Path) -> None:
    """There would be no telling whether the rest belongs to it."""
    async with fetching_from(cut(raw(FILM), 300_000), raw(FILM)) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges == [(None, None)] * 2
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_rest_that_ends_too_soon_is_no_whole_file(tmp_path: Path) -> None:
    """Its own length may be right; what counts is the length of the whole."""
    short = raw(FILM[295904:-1], 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(short, rest(SIZE - 1 - 4096)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert get.ranges[1] == (f"bytes={SIZE - 1 - 4096}-", TAG)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_rest_that_is_too_long_is_thrown_away(tmp_path: Path) -> None:
    """More than promised is not the file either."""
    long = raw(FILM[295904:] + b"x", 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(long, film()) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges[1] == (None, None)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_part_that_is_all_of_it_needs_but_its_name(tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the overlap is compared, nothing more comes."""
    leave(tmp_path, SIZE)
    async with fetching_from(rest(SIZE - 4096)) as get:
        assert await get(tmp_path / "77.mp4") == Fetched(SIZE, fresh=True)
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_server_in_trouble_is_asked_again(status: int, tmp_path: Path) -> None:
    """After as long as it says; a refusal for good is not repeated."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(raw(b"", status, Retry_After="100"), raw(FILM)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
    assert 100 <= loop.time() - start < 101
    async with fetching_from(raw(b"", 403)) as get:
        await get.fails(tmp_path, tries=5)
        assert len(get.wire.seen) == 1


# --- already there -----------------------------------------------------------------------------


async def test_a_whole_file_is_not_fetched_again(tmp_path: Path) -> None:
    """Its length and last bytes are compared with what would come."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    made = target.stat().st_mtime_ns
    async with fetching_from(rest(SIZE - 4096)) as get:
        assert await get(target) == Fetched(SIZE, fresh=False)
        assert get.ranges == [(f"bytes={SIZE - 4096}-", None)]
    assert target.stat().st_mtime_ns == made and names(tmp_path) == ["77.mp4"]


@pytest.mark.parametrize(
    ("there", "answer"),
    [
        pytest.param(FILM[:-1], rest(SIZE - 4097), id="cut"),
        pytest.param(FILM[:-1] + b"x", rest(SIZE - 4096), id="another end"),
        pytest.param(FILM + b"x", raw(b"", 416), id="longer"),
    ],
)
async def test_a_file_that_is_not_the_same_is_replaced(there: bytes, answer: bytes, tmp_path: Path) -> None:
    """In one step, after a second request."""
    target = tmp_path / "77.mp4"
    target.write_bytes(there)
    async with fetching_from(answer, film()) as get:
        assert await get(target) == Fetched(SIZE, fresh=True)
        assert get.ranges[1] == (None, None)
    assert target.read_bytes() == FILM


async def test_a_server_without_ranges_sends_it_again(tmp_path: Path) -> None:
    """It cannot be asked what the file would be."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    async with fetching_from(raw(FILM)) as get:
        assert await get(target) == Fetched(SIZE, fresh=True)


# --- where it may come from --------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(status: int, tmp_path: Path) -> None:
    """Whole addresses and paths, as file servers send them."""
    hops = [raw(b"", status, Location=where) for where in ("/1", "2?a=b", "./3")]
    async with fetching_from(*hops, raw(FILM)) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert [seen.target for seen in get.wire.seen] == ["/a.mp4?x-sign=5ecre7", "/1", "/2?a=b", "/3"]


async def test_the_fourth_redirect_is_not_followed(tmp_path: Path) -> None:
    """Else a file server could lead us round for ever."""
    async with fetching_from(raw(b"", 302, Location="/again")) as get:
        assert str(await get.fails(tmp_path)) == "more than 3 redirects"
        assert len(get.wire.seen) == 4


NOT_OURS: Final = [
    *("http://a.example/a.mp4", "http://8.8.8.8/a.mp4", "ftp://a.example/a.mp4", "file:///etc/passwd"),
    *("https://10.0.0.1/a.mp4", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data"),
    *("https://[fd00::1]/a.mp4", "https://printer.local/", "https:///a.mp4", "data:text/plain,x"),
]


@pytest.mark.parametrize("url", [*NOT_OURS, "https://127.0.0.1/", "http://localhost/", "//[bad", "a.mp4"])
async def test_addresses_that_are_not_public_https_are_refused(url: str, tmp_path: Path) -> None:
    """The vendor's answers name them, so they are not to be trusted: nothing is connected to."""
    async with fetching_from(raw(FILM), local=False) as get:
        error = await get.fails(tmp_path, url)
        assert str(error).startswith("the result's address (") and str(error).endswith("is not public https")
        assert get.wire.seen == []


@pytest.mark.parametrize(
    "where",
    [*NOT_OURS, pytest.param("//[bad"), pytest.param("https://[")],
)
async def test_a_redirect_is_checked_as_the_first_address_was(where: str, tmp_path: Path) -> None:
    """A public server cannot send us to a private one; also where the API itself is on this machine."""
    async with fetching_from(raw(b"", 302, Location=where)) as get:
        assert "is not public https" in str(await get.fails(tmp_path))
        assert len(get.wire.seen) == 1


async def test_a_name_that_leads_inside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is where a name leads when it is used: a rebound name opens nothing."""

    def rebound(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", get.wire.port))]

    async with fetching_from(raw(FILM), local=False) as get:
        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        error = await get.fails(tmp_path, "https://cdn.example/a.mp4")
        assert str(error) == "the download broke off: cannot find the host cdn.example"


async def test_a_netrc_password_does_not_go_to_a_file_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trust_env is about proxies; an address in an answer must not draw a password out of this machine."""
    (tmp_path / "netrc").write_text("default login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sessions = Sessions(Home(lambda: 0.0), local_files=True, trust_env=True)
    async with serving(raw(FILM)) as wire:
        await Fetcher(wire, sessions)(tmp_path / "77.mp4")
        await sessions.close()
    assert "authorization" not in wire.seen[0].headers


# --- where it goes to --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, SIZE], ids=["seen at the end", "seen on the way"])
async def test_a_full_disk_is_the_reason_given(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the system's words; what was written gives its room back."""
    append = Partial.append

    def full(part: Partial, chunks: list[bytes]) -> None:
        append(part, [chunks[0][:50]])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Partial, "append", full)
    async with fetching_from(raw(FILM[:size], ETag=TAG)) as get:
        error = await get.fails(tmp_path, tries=3)
        assert len(get.wire.seen) == 1
    assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: No space left on device"


async def test_a_folder_that_may_not_be_written_is_the_reason_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was fetched for it."""

    def forbid(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with fetching_from(raw(FILM)) as get:
        monkeypatch.setattr(os, "open", forbid)
        error = await get.fails(tmp_path)
        assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: Permission denied"
        assert get.wire.seen == []


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
async def test_a_file_in_the_place_of_the_folder_is_the_reason_given(folder: str, tmp_path: Path) -> None:
    """A common slip, said plainly."""
    (tmp_path / "taken").touch()
    async with fetching_from(raw(FILM)) as get:
        with pytest.raises(DownloadError, match=r"cannot write .*taken"):
            await get(tmp_path / folder / "77.mp4")


@pytest.mark.parametrize("fails", [False, True], ids=["it works", "it fails"])
@pytest.mark.parametrize("moment", ["open", "publish", "close"])
async def test_cancelled_while_a_thread_works_on_the_file(
    moment: str, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread's work cannot be cancelled, so the end waits for it; twice is no different from once."""
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
        job = asyncio.create_task(get(tmp_path / "77.mp4"))
        await loop.run_in_executor(None, inside.wait, 10)
        for _ in range(2):
            job.cancel()
            await settle()
            assert not job.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await job
    assert names(tmp_path) == (["77.mp4"] if moment == "publish" else [])
