"""kling_async/files.py: input files are read off the loop, results stored whole or not at all."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import io
import json
import os
import socket
import stat
import threading
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import DownloadError, RawTask, RequestInvalid, ResultExpired, Timeouts, files
from kling_async.files import check_media, download, encode
from kling_async.loops import Home
from kling_async.sessions import Sessions
from tests.support import clip, pair, png, settle, still, until
from tests.wiretap import CUT, HANG, Wire, raw, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

URL: Final = "https://a.example/fox.png"


@pytest.fixture
def home() -> Home:
    return Home(lambda: 1_790_000_000.0)


# --- what is looked at -------------------------------------------------------------------------


def file_with(folder: Path, data: bytes) -> Path:
    path = folder / "fox.png"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(png(), None, id="good"),
        pytest.param(png(300, 750), None, id="1 to 2.5, just good"),
        pytest.param(
            b"GIF89a" + b"0" * 50, "is not a readable image; use JPEG or PNG", id="no image we know"
        ),
        pytest.param(b"", "is not a readable image; use JPEG or PNG", id="empty"),
        pytest.param(png(299, 400), "is 299 x 400 px; each side needs at least 300 px", id="small"),
        pytest.param(
            png(300, 751), "is 300 x 751 px; width / height must lie within 1:2.5 and 2.5:1", id="tall"
        ),
        pytest.param(png() + b"0" * 10 * 1024**2, "has 10.0 MB; at most 10 MB", id="large"),
    ],
)
@pytest.mark.parametrize("form", ["file", "bytes"])
async def test_images_are_checked_before_anything_is_paid(
    data: bytes, problem: str | None, form: str, home: Home, tmp_path: Path
) -> None:
    """Files and bytes alike; the problem names the field and what would be right."""
    if form == "bytes" and not data:
        return  # counts as no image
    request = still(image=file_with(tmp_path, data) if form == "file" else data)
    if problem is None:
        await check_media(request, home)
    else:
        with pytest.raises(RequestInvalid) as caught:
            await check_media(request, home)
        assert caught.value.problems == (("image", problem),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("none.png", "No such file or directory", id="missing"),
        pytest.param(".", "Is a directory", id="a directory"),
        pytest.param("fox.png/x", "Not a directory", id="inside a file"),
        pytest.param("n" * 300, "File name too long", id="name too long"),
        pytest.param(
            "a\0b", "embedded null byte", id="a NUL in the name",
        ),
    ],
)  # fmt: skip
async def test_a_file_that_cannot_be_read_is_a_wrong_field(
    name: str, reason: str, home: Home, tmp_path: Path
) -> None:
    """It is named with the system's reason, as every other wrong field."""
    file_with(tmp_path, png())
    path = tmp_path / name
    with pytest.raises(RequestInvalid) as caught:
        await check_media(still(image=path), home)
    assert caught.value.problems == (("image", f"cannot read {str(path)!r}: {reason}"),)


async def test_a_submit_with_a_wrong_file_sends_nothing(tmp_path: Path) -> None:
    """Not even a slot is asked for."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match="cannot read"):
            await client.submit(still(image=tmp_path / "none.png"))
        assert not emu.ledger.creates and client.account.limits() == {}


async def test_an_address_is_not_looked_at(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the vendor can fetch it; nothing runs in a thread for it."""
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
    await check_media(still(image=URL), home)
    await check_media(clip(), home)
    assert json.loads(await encode(still(image=URL), {}, home))["image"] == URL


# --- what is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "bytes"])
async def test_images_go_as_bare_base64(form: str, home: Home, tmp_path: Path) -> None:
    """What the call adds is merged in last."""
    request = still(image=file_with(tmp_path, png()) if form == "file" else png(), extra={"new": 1})
    body = json.loads(await encode(request, {"external_task_id": "mine"}, home))
    assert base64.b64decode(body.pop("image"), validate=True) == png()
    assert body == {"model_name": "kling-v3", "prompt": "a paper boat", "new": 1, "external_task_id": "mine"}


async def test_a_raw_task_carries_its_own_body(home: Home) -> None:
    """Its fields are not the body."""
    request = RawTask(path="/v1/x", body={"a": 1, "b": 2}, pool="video", weight=2, extra={"b": 3})
    assert json.loads(await encode(request, {"external_task_id": "m"}, home)) == {
        "a": 1,
        "b": 3,
        "external_task_id": "m",
    }


async def test_a_file_is_read_only_for_its_create_and_off_the_loop(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither making the request nor checking it reads the file; what is sent is what is there then."""
    readers: list[threading.Thread] = []
    read = Path.read_bytes

    def note(path: Path) -> bytes:
        readers.append(threading.current_thread())
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", note)
    path = file_with(tmp_path, png())
    request = still(image=path)
    await check_media(request, home)
    assert readers == []
    path.write_bytes(png(400, 400))
    body = json.loads(await encode(request, {}, home))
    assert base64.b64decode(body["image"]) == png(400, 400)
    assert len(readers) == 1 and readers[0] is not threading.main_thread()


async def test_a_file_that_is_gone_when_its_turn_comes_fails_the_request(home: Home, tmp_path: Path) -> None:
    """Nothing was sent, and the reason says which file."""
    path = file_with(tmp_path, png())
    request = still(image=path)
    path.unlink()
    with pytest.raises(RequestInvalid, match=r"cannot read .*fox\.png.*No such file") as caught:
        await encode(request, {}, home)
    assert caught.value.__context__ is None


async def test_a_file_that_is_gone_is_named_by_its_field(home: Home, tmp_path: Path) -> None:
    """As in every other RequestInvalid: which request, which field."""
    with pytest.raises(RequestInvalid) as caught:
        await encode(still(image=tmp_path / "none.png"), {}, home)
    assert caught.value.problems[0].field == "image"
    assert str(caught.value).startswith("ImageGeneration: ")


# --- downloads ---------------------------------------------------------------------------------

FILM: Final = bytes(range(256)) * 4000
CUT_OFF: Final = "the connection was cut before the whole answer came"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def size_of(path: Path) -> int:
    return path.stat().st_size


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Fetcher:
    """Downloads from a server that answers as told."""

    def __init__(self, wire: Wire, sessions: Sessions) -> None:
        self.wire = wire
        self._sessions = sessions

    async def __call__(self, target: Path, url: str = "") -> int:
        address = url or f"http://127.0.0.1:{self.wire.port}/a.mp4?x-sign=5ecre7"
        return await download(self._sessions, address, target, timeouts=Timeouts(), task_id="77")

    async def fails(self, folder: Path, url: str = "") -> DownloadError:
        """Return the error, after making sure that nothing was left behind and no secret shows."""
        before = names(folder)
        with pytest.raises(DownloadError) as caught:
            await self(folder / "77.mp4", url)
        assert names(folder) == before
        assert caught.value.task_id == "77"
        assert caught.value.__cause__ is None and caught.value.__context__ is None
        assert "5ecre7" not in "".join(traceback.format_exception(caught.value))
        return caught.value


@asynccontextmanager
async def fetching(*answers: bytes, local: bool = True) -> AsyncIterator[Fetcher]:
    sessions = Sessions(Home(lambda: 0.0), local_files=local)
    async with serving(*answers) as wire:
        try:
            yield Fetcher(wire, sessions)
        finally:
            await sessions.close()


def mode_of_a_new_file(folder: Path) -> int:
    other = folder / "other"
    other.touch()
    return mode_of(other)


async def test_a_file_is_stored_whole_and_readable_as_any_other(tmp_path: Path) -> None:
    """Its folder is made; its rights are those of any new file; nothing else is left there."""
    target = tmp_path / "new" / "folder" / "77.mp4"
    async with fetching(raw(FILM)) as fetch:
        assert await fetch(target) == len(FILM)
    assert target.read_bytes() == FILM
    assert mode_of(target) == mode_of_a_new_file(tmp_path)
    assert names(target.parent) == ["77.mp4"]


async def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """Until then its bytes are in a hidden, private one beside it, and an older file of that name stays."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    async with fetching(raw(FILM)[:-1000]) as fetch:
        job = asyncio.create_task(fetch(target))
        await until(lambda: any(size_of(tmp_path / name) for name in names(tmp_path) if name[0] == "."))
        part, _ = names(tmp_path)
        assert part.startswith(".77.mp4.") and mode_of(tmp_path / part) == 0o600
        assert target.read_bytes() == b"older"
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    assert names(tmp_path) == ["77.mp4"] and target.read_bytes() == b"older"


async def test_an_older_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Who reads it meanwhile reads all of the older one, never a mixture."""
    target = tmp_path / "77.mp4"
    target.write_bytes(b"older")
    with target.open("rb") as reader:
        async with fetching(raw(FILM)) as fetch:
            await fetch(target)
        assert reader.read() == b"older" and target.read_bytes() == FILM


async def test_the_files_server_learns_nothing_about_us(tmp_path: Path) -> None:
    """No key, no header of the client's: the address alone is what opens it."""
    async with pair(client={"headers": {"X-Team": "mine"}}) as (emu, client):
        task = await client.submit(still())
        await task.wait()
        await task.download(tmp_path)
        assert [row.authorized for row in emu.ledger.of("media")] == [False]
    async with fetching(raw(FILM)) as fetch:
        await fetch(tmp_path / "77.mp4")
    headers = fetch.wire.seen[0].headers
    assert set(headers) <= {"host", "accept", "accept-encoding", "user-agent"}
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
        pytest.param(CUT, f"the download broke off: {CUT_OFF}", 0, id="cut before"),
        pytest.param(
            raw(FILM).replace(b"Content-Length: 1024000", b"Transfer-Encoding: chunked\r\n\r\nfa000"),
            f"the download broke off: {CUT_OFF}", 0, id="cut within",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfa000\r\nabc",
            f"the download broke off: {CUT_OFF}", 0, id="cut soon",
        ),
        pytest.param(raw(FILM)[:-1], "the download broke off: no answer in time", 0, id="a byte missing"),
        pytest.param(HANG, "the download broke off: no answer in time", 0, id="silence"),
        pytest.param(
            raw(b""), "the file is empty", 200, id="empty",
        ),
    ],
)  # fmt: skip
async def test_what_is_not_the_whole_file_leaves_nothing(
    answer: bytes, reason: str, status: int, tmp_path: Path
) -> None:
    """Every failure says why, with the HTTP status where there was one."""
    async with fetching(answer) as fetch:
        error = await fetch.fails(tmp_path)
    assert (str(error), error.http_status) == (reason, status)


@pytest.mark.parametrize("form", ["plain", "compressed"])
async def test_a_file_has_a_largest_size(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 GiB, after decompression; the test makes it a thousand bytes."""
    monkeypatch.setattr(files, "_FILE_MAX", 1000)
    most, more = (b"x" * size for size in (1000, 1001))
    packed: dict[str, Any] = {"Content_Encoding": "gzip"} if form == "compressed" else {}
    both = [raw(gzip.compress(data) if packed else data, **packed) for data in (most, more)]
    async with fetching(*both) as fetch:
        assert await fetch(tmp_path / "good.mp4") == 1000
        assert str(await fetch.fails(tmp_path)) == "the file is larger than 4 GiB"


# --- where it may come from --------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed(status: int, tmp_path: Path) -> None:
    """Whole addresses and paths, as file servers send them."""
    hops = [raw(b"", status, Location=where) for where in ("/1", "2?a=b", "./3")]
    async with fetching(*hops, raw(FILM)) as fetch:
        assert await fetch(tmp_path / "77.mp4") == len(FILM)
        assert [seen.target for seen in fetch.wire.seen] == ["/a.mp4?x-sign=5ecre7", "/1", "/2?a=b", "/3"]


async def test_the_fourth_redirect_is_not_followed(tmp_path: Path) -> None:
    """Else a file server could lead us round for ever."""
    async with fetching(raw(b"", 302, Location="/again")) as fetch:
        assert str(await fetch.fails(tmp_path)) == "more than 3 redirects"
        assert len(fetch.wire.seen) == 4


NOT_OURS: Final = [
    *("http://a.example/a.mp4", "http://8.8.8.8/a.mp4", "ftp://a.example/a.mp4", "file:///etc/passwd"),
    *("https://10.0.0.1/a.mp4", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data"),
    *("https://[fd00::1]/a.mp4", "https://printer.local/", "https:///a.mp4", "data:text/plain,x"),
]


@pytest.mark.parametrize("url", [*NOT_OURS, "https://127.0.0.1/", "http://localhost/", "//[bad", "a.mp4"])
async def test_addresses_that_are_not_public_https_are_refused(url: str, tmp_path: Path) -> None:
    """The vendor's answers name them, so they are not to be trusted: nothing is connected to."""
    async with fetching(raw(FILM), local=False) as fetch:
        error = await fetch.fails(tmp_path, url)
        assert str(error).startswith("the result's address (") and str(error).endswith("is not public https")
        assert fetch.wire.seen == []


@pytest.mark.parametrize(
    "where",
    [*NOT_OURS, pytest.param("//[bad"), pytest.param("https://[")],
)
async def test_a_redirect_is_checked_as_the_first_address_was(where: str, tmp_path: Path) -> None:
    """A public server cannot send us to a private one; also where the API itself is on this machine."""
    async with fetching(raw(b"", 302, Location=where)) as fetch:
        assert "is not public https" in str(await fetch.fails(tmp_path))
        assert len(fetch.wire.seen) == 1


async def test_a_name_that_leads_inside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is where a name leads when it is used: a rebound name opens nothing."""

    def rebound(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", fetch.wire.port))]

    async with fetching(raw(FILM), local=False) as fetch:
        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        error = await fetch.fails(tmp_path, "https://cdn.example/a.mp4")
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


class FullDisk(io.RawIOBase):
    """Takes nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("size", [10, len(FILM)], ids=["seen at the end", "seen on the way"])
async def test_a_full_disk_is_the_reason_given(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of ours, with the system's words."""

    def open_full(path: Path) -> io.BufferedWriter:
        path.touch()
        return io.BufferedWriter(FullDisk())

    monkeypatch.setattr(files, "_open_private", open_full)
    async with fetching(raw(FILM[:size])) as fetch:
        error = await fetch.fails(tmp_path)
    assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: No space left on device"


async def test_a_folder_that_may_not_be_written_is_the_reason_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was fetched for it."""

    def forbid(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    async with fetching(raw(FILM)) as fetch:
        monkeypatch.setattr(os, "open", forbid)
        error = await fetch.fails(tmp_path)
        assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: Permission denied"
        assert fetch.wire.seen == []


@pytest.mark.parametrize("folder", ["taken", "taken/below"])
async def test_a_file_in_the_place_of_the_folder_is_the_reason_given(folder: str, tmp_path: Path) -> None:
    """A common slip, said plainly."""
    (tmp_path / "taken").touch()
    async with fetching(raw(FILM)) as fetch:
        with pytest.raises(DownloadError, match=r"cannot write .*taken"):
            await fetch(tmp_path / folder / "77.mp4")


@pytest.mark.parametrize(
    ("moment", "fails"),
    [
        pytest.param("_open_private", False, id="it opens"),
        pytest.param("_open_private", True, id="it fails to open"),
        pytest.param("_finish", False, id="it flushes"),
    ],
)
async def test_cancelled_while_a_thread_works_on_the_file_leaves_nothing(
    moment: str, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread's work cannot be cancelled, so the clean-up comes after it, and nobody is told twice."""
    inside, go_on = threading.Event(), threading.Event()
    real = getattr(files, moment)

    def slow(argument: Any) -> Any:
        inside.set()
        go_on.wait(10)
        if fails:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(argument)

    monkeypatch.setattr(files, moment, slow)
    loop = asyncio.get_running_loop()
    async with fetching(raw(FILM)) as fetch:
        job = asyncio.create_task(fetch(tmp_path / "77.mp4"))
        await loop.run_in_executor(None, inside.wait, 10)
        job.cancel()
        await settle()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await job
        await loop.shutdown_default_executor()
        await settle()
    assert names(tmp_path) == []


# --- addresses that died -----------------------------------------------------------------------


async def test_an_address_that_died_is_renewed_by_one_query(tmp_path: Path) -> None:
    """The files come, and the vendor was asked once for it."""
    async with pair() as (emu, client):
        task = await client.submit(still(n=2))
        await task.wait()
        emu.expire_links()
        asked = len(emu.ledger.queries)
        paths = await task.download(tmp_path)
        assert len(emu.ledger.queries) == asked + 1
        assert sorted(path.name for path in paths) == names(tmp_path)
        assert len(paths) == 2 and all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize(("days", "kind"), [(0, DownloadError), (31, ResultExpired)], ids=["new", "old"])
async def test_an_address_that_stays_dead_is_an_error(
    days: int, kind: type[DownloadError], tmp_path: Path
) -> None:
    """After one query, not more; 30 days after its end it is known to be gone for good."""
    wall = [1_790_000_000.0]
    async with pair(client={"now": lambda: wall[0]}, now=lambda: wall[0]) as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        wall[0] += days * 86400
        emu.fault("media", status=403, times=None)
        asked = len(emu.ledger.queries)
        with pytest.raises(DownloadError) as caught:
            await task.download(tmp_path)
        assert type(caught.value) is kind
        assert len(emu.ledger.queries) == asked + 1
    assert names(tmp_path) == []
