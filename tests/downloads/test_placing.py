"""Test downloads/placing.py: a whole file gets a name that nobody has, or an equal file is adopted."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from kling_async import DownloadError
from kling_async.downloads import placing
from kling_async.downloads.partial import Partial
from kling_async.downloads.placing import (
    Existing,
    KnownFile,
    Placement,
    is_known,
    move_to,
    place,
    prove_folder,
    writing_error,
)
from kling_async.downloads.ranges import Whole
from tests.films import FILM, SIZE, TAG, beginning, fetching_from, film, leave, names, remainder
from tests.wiretap import CUT, raw

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def placed(folder: Path, data: bytes = b"new") -> Placement:
    part = folder / ".a.mp4.part"
    part.write_bytes(data)
    return place(part, folder / "a.mp4", len(data), sha(data))


# --- names -------------------------------------------------------------------------------------


def occupied_by_file(path: Path) -> None:
    path.write_bytes(b"old")


def occupied_by_empty_file(path: Path) -> None:
    path.touch()


def occupied_by_folder(path: Path) -> None:
    path.mkdir()


def occupied_by_dead_link(path: Path) -> None:
    path.symlink_to("nowhere")


def occupied_by_fifo(path: Path) -> None:
    os.mkfifo(path)


OCCUPIED = (
    occupied_by_file,
    occupied_by_empty_file,
    occupied_by_folder,
    occupied_by_dead_link,
    occupied_by_fifo,
)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("occupy", OCCUPIED, ids=lambda occupy: occupy.__name__)
def test_nothing_that_is_there_is_replaced(
    occupy: Callable[[Path], None], links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, folders, links and pipes stay; the next number is taken, and no part is left."""
    if not links:
        monkeypatch.setattr(os, "link", without_links)
    occupy(tmp_path / "a.mp4")
    before = identity(tmp_path / "a.mp4")
    occupy(tmp_path / "a-2.mp4")
    assert placed(tmp_path) == Placement(tmp_path / "a-3.mp4", True, sha(b"new"))
    assert identity(tmp_path / "a.mp4") == before
    assert (tmp_path / "a-3.mp4").read_bytes() == b"new"
    assert names(tmp_path) == ["a-2.mp4", "a-3.mp4", "a.mp4"]


def identity(path: Path) -> tuple[int, ...]:
    found = os.lstat(path)
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


def without_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("where", ["a.mp4", "a-2.mp4", "a-3.mp4"])
def test_an_equal_file_is_adopted(where: str, tmp_path: Path) -> None:
    """An equal file under any of the names is the file; others of its length are not."""
    for name in ("a.mp4", "a-2.mp4", "a-3.mp4"):
        (tmp_path / name).write_bytes(b"new" if name == where else b"neu")
        if name == where:
            break
    assert placed(tmp_path) == Placement(tmp_path / where, False, sha(b"new"))


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_somebody_is_faster(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is taken between the look and the move is not replaced."""
    exists = os.path.lexists
    looks: list[Path] = []

    def late(path: Path) -> bool:
        found = exists(path)
        looks.append(path)
        if len(looks) == 1:
            path.write_bytes(b"theirs")
        return found

    if not links:
        monkeypatch.setattr(os, "link", without_links)
    monkeypatch.setattr(os.path, "lexists", late)
    assert placed(tmp_path).path == tmp_path / "a-2.mp4"
    assert (tmp_path / "a.mp4").read_bytes() == b"theirs"


def test_names_are_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder full of the name is an error in the end."""
    monkeypatch.setattr(placing, "_PLACES_MAX", 3)
    for name in ("a.mp4", "a-2.mp4", "a-3.mp4"):
        (tmp_path / name).write_bytes(b"old")
    with pytest.raises(FileExistsError):
        placed(tmp_path)


def test_a_move_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without hard links."""
    part, path = tmp_path / "part", tmp_path / "there"
    part.write_bytes(b"new")
    path.write_bytes(b"old")
    for _ in range(2):
        with pytest.raises(FileExistsError):
            move_to(part, path)
        monkeypatch.setattr(os, "link", without_links)
    assert (part.read_bytes(), path.read_bytes()) == (b"new", b"old")


def test_a_crash_between_link_and_unlink_spares_the_stored_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is a second name of a stored file is dropped, never written to."""

    def crash(self: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    part = Partial(tmp_path / "a.mp4", "s", Existing.KEEP)
    part.open()
    part.begin(Whole(SIZE, TAG))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            place(tmp_path / ".a.mp4.part", tmp_path / "a.mp4", 0, "")
    part.append([FILM])
    part._opened.close()
    assert os.stat(tmp_path / "a.mp4").st_nlink == 2  # noqa: PTH116
    later = Partial(tmp_path / "a.mp4", "s", Existing.KEEP)
    later.open()
    later.begin(Whole(SIZE, TAG))
    later.append([b"other"])
    assert (tmp_path / "a.mp4").read_bytes() == FILM
    later.close(keep=False)
    assert names(tmp_path) == ["a.mp4"]


# --- by way of a download ----------------------------------------------------------------------


async def test_a_download_keeps_another_file(tmp_path: Path) -> None:
    """With ``KEEP`` the file there is compared by its whole content, not by its ends."""
    target = tmp_path / "77.mp4"
    for there in (b"older", FILM[:1000_000] + b"??" + FILM[1000_002:]):
        target.write_bytes(there)
        async with fetching_from(film()) as get:
            stored = await get(target, existing=Existing.KEEP)
            assert get.ranges == [(None, None)]
        assert (stored.path.name, stored.sha256) == ("77-2.mp4", sha(FILM))
        assert target.read_bytes() == there and stored.path.read_bytes() == FILM
    assert names(tmp_path) == ["77-2.mp4", "77.mp4"]


async def test_a_download_adopts_an_equal_file(tmp_path: Path) -> None:
    """``KEEP`` fetches it to know; ``COMPARE`` compares its ends and fetches nothing."""
    target = tmp_path / "77.mp4"
    target.write_bytes(FILM)
    async with fetching_from(film()) as get:
        assert (await get(target, existing=Existing.KEEP)) == (SIZE, False, target, sha(FILM))
    async with fetching_from(remainder(SIZE - 4096), beginning()) as get:
        assert (await get(target, existing=Existing.COMPARE)) == (SIZE, False, target, "")
    assert names(tmp_path) == ["77.mp4"]


@pytest.mark.parametrize("existing", Existing)
async def test_a_part_is_resumed_whatever_is_there(existing: Existing, tmp_path: Path) -> None:
    """The part belongs to this file; the file of its name may be another's."""
    (tmp_path / "77.mp4").write_bytes(b"other")
    leave(tmp_path)
    async with fetching_from(remainder(300_000 - 4096)) as get:
        stored = await get(tmp_path / "77.mp4", existing=existing)
    assert stored.path.read_bytes() == FILM and stored.sha256 == sha(FILM)
    kept = existing in (Existing.COMPARE, Existing.KEEP)
    assert names(tmp_path) == (["77-2.mp4", "77.mp4"] if kept else ["77.mp4"])


@pytest.mark.parametrize("occupy", OCCUPIED, ids=lambda occupy: occupy.__name__)
@pytest.mark.parametrize("existing", [Existing.COMPARE, Existing.KEEP])
async def test_a_download_beside_anything(
    existing: Existing, occupy: Callable[[Path], None], tmp_path: Path
) -> None:
    """A folder, a link or a pipe of the file's name neither stops a download nor is waited for."""
    occupy(tmp_path / "77.mp4")
    before = os.lstat(tmp_path / "77.mp4")
    async with fetching_from(film()) as get:
        stored = await asyncio.wait_for(get(tmp_path / "77.mp4", existing=existing), 5)
    assert stored.path.name == "77-2.mp4" and stored.path.read_bytes() == FILM
    assert os.lstat(tmp_path / "77.mp4").st_ino == before.st_ino


async def test_two_downloads_of_one_name_at_once(tmp_path: Path) -> None:
    """Equal files become one; different ones two."""
    other = FILM[:-5] + b"other"
    async with fetching_from(film()) as get, fetching_from(raw(other)) as another:
        jobs = [fetcher(tmp_path / "77.mp4", existing=Existing.KEEP) for fetcher in (get, get, another)]
        stored = await asyncio.gather(*jobs)
    assert {item.path.read_bytes() for item in stored} == {FILM, other}
    assert names(tmp_path) == ["77-2.mp4", "77.mp4"]


def test_a_known_file_is_known_by_its_content(tmp_path: Path) -> None:
    """Length and hash count; a file that is missing, changed or a folder is not known."""
    path, known = tmp_path / "a.mp4", KnownFile("a.mp4", 3, sha(b"abc"))
    assert not is_known(path, known)
    path.write_bytes(b"abc")
    assert is_known(path, known)
    assert not is_known(path, KnownFile("a.mp4", 3))
    assert not is_known(path, KnownFile("a.mp4", 4, sha(b"abc")))
    path.write_bytes(b"abd")
    assert not is_known(path, known) and not is_known(tmp_path, known)


# --- where storing does not work ---------------------------------------------------------------

ERRORS = ("EACCES", "EIO", "ESTALE", "ENOSPC", "EROFS", "EDQUOT", "ENOENT", "ENOTDIR", "EPERM", "EMFILE")


@pytest.mark.parametrize("step", ["mkdir", "open", "fsync", "rename", "write"])
@pytest.mark.parametrize("name", ERRORS)
async def test_every_error_of_the_disk_says_that_storing_does_not_work(
    name: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step fails, in a proof of the folder and in a download: the fault is ``storage``."""
    number = getattr(errno, name)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    break_step(step, fail, monkeypatch)
    with pytest.raises(OSError) as proof:  # noqa: PT011 - any of them
        prove_folder(tmp_path / "new")
    assert proof.value.errno == number
    async with fetching_from(film()) as get:
        error = await get.fails(tmp_path, tries=3)
    assert error.fault == "storage" and error.http_status == 0
    assert error.disk_full == (name in ("ENOSPC", "EROFS", "EDQUOT"))
    assert str(error) == f"cannot write {str(tmp_path / '77.mp4')!r}: {os.strerror(number)}"


def break_step(step: str, fail: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    match step:
        case "mkdir":
            monkeypatch.setattr(Path, "mkdir", fail)
        case "open":
            monkeypatch.setattr(os, "open", fail)
        case "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        case "rename":
            monkeypatch.setattr(os, "link", fail)
            monkeypatch.setattr(Path, "rename", fail)
            monkeypatch.setattr(Path, "replace", fail)
        case _:
            monkeypatch.setattr(os, "fdopen", lambda *args: _Unwritable(fail, os_fdopen(*args)))


os_fdopen = os.fdopen


class _Unwritable:
    """A file to which nothing can be written."""

    def __init__(self, fail: Callable[..., Any], file: Any) -> None:
        self._file = file
        self.write = self.writelines = fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("name", ["ENAMETOOLONG", "EISDIR", "EILSEQ", "EINVAL"])
def test_an_error_about_one_name_concerns_one_file(name: str) -> None:
    """Other files can still be stored."""
    assert writing_error(Path("a"), OSError(getattr(errno, name), "no"), "7").fault == "file"


async def test_a_folder_that_vanishes_is_a_fault_of_storing(tmp_path: Path) -> None:
    """The folder is removed, with a file in its place, between two downloads."""
    folder = tmp_path / "out"
    async with fetching_from(film()) as get:
        await get(folder / "1.mp4")
        (folder / "1.mp4").unlink()
        folder.rmdir()
        folder.touch()
        with pytest.raises(DownloadError) as caught:
            await get(folder / "2.mp4")
    assert caught.value.fault == "storage"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (raw(b"", 403), "server"),
        (raw(b"", 404), "server"),
        (raw(b"", 503), "server"),
        (raw(b"<html>", Content_Type="text/html"), "server"),
        (CUT, "server"),
        (raw(b""), "file"),
        (raw(b"\x89PNG\r\n\x1a\n"), "file"),
    ],
)
async def test_what_the_server_does_has_its_own_fault(answer: bytes, fault: str, tmp_path: Path) -> None:
    """A host that refuses all, or a portal before it, counts against storing; one odd file does not."""
    async with fetching_from(answer) as get:
        error = await get.fails(tmp_path)
    assert error.fault == fault


# --- the proof ---------------------------------------------------------------------------------


def test_a_good_folder_is_proved_and_left_empty(tmp_path: Path) -> None:
    """The folder is made, and nothing is left in it."""
    prove_folder(tmp_path / "new" / "folder")
    prove_folder(tmp_path / "new" / "folder")
    assert names(tmp_path) == ["new", "new/folder"]


def test_a_folder_that_returns_other_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written must be what is read."""
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"other")
    with pytest.raises(OSError, match="what was written is not what is read"):
        prove_folder(tmp_path)
    assert names(tmp_path) == []
