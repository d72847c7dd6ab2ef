"""Test batch/journal_store.py: other files are refused untouched; a journal keeps its commits."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.batch.digests import Digest
from kling_async.batch.entry import JobState, advance, unpack
from kling_async.batch.journal_files import APPLICATION, SCHEMA, SCHEMA_MOVED
from kling_async.batch.journal_store import Store
from kling_async.errors import JournalError
from tests.victim import job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def made(path: Path, jobs: int = 50) -> Path:
    """Make a journal with some jobs."""
    store = Store(path)
    assert store.write([job(n) for n in range(jobs)], []) == []
    store.close()
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder but locks."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".lock"}


def jobs_of(path: Path) -> int:
    """Return how many jobs a journal holds, once each was decoded."""
    store = Store(path)
    rows = store.page(0, 10_000)
    assert all(unpack(data).label for _, data in rows)
    store.close()
    return len(rows)


# --- a journal --------------------------------------------------------------------------------------


def test_a_new_journal_has_its_marks(tmp_path: Path) -> None:
    """A new journal has application id, schema and an id of its own; other tools read its tables."""
    path = made(tmp_path / "j.sqlite")
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION
    assert int.from_bytes(header[60:64], "big") == SCHEMA
    ids = []
    for name in ("j.sqlite", "k.sqlite"):
        store = Store(tmp_path / name)
        ids.append(store.id)
        store.close()
    assert len(set(ids)) == 2 and all(len(text) == 32 for text in ids)


def test_commits_are_flushed(tmp_path: Path) -> None:
    """The connection runs with ``synchronous=FULL`` and a write-ahead log."""
    store = Store(tmp_path / "j.sqlite")
    db = store._open()
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_setting_that_does_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that SQLite does not take refuses the file."""

    class Deaf(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("=FULL", "=NORMAL"), *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Deaf))
    with pytest.raises(JournalError, match="use a local disk"):
        Store(tmp_path / "j.sqlite")


def test_all_its_files_are_private(tmp_path: Path) -> None:
    """Journal, log, index and lock can be read by their owner alone."""
    store = Store(tmp_path / "j.sqlite")
    store.write([job(0)], [])
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("j.sqlite", "j.sqlite-wal", "j.sqlite-shm", "j.sqlite.lock"), 0o600)
    store.close()
    (tmp_path / "j.sqlite").chmod(0o644)
    Store(tmp_path / "j.sqlite").close()
    assert (tmp_path / "j.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_closed_journal_is_one_file(tmp_path: Path) -> None:
    """After closing, one file holds the journal; a lock file stays."""
    made(tmp_path / "j.sqlite")
    assert {p.name for p in tmp_path.iterdir()} == {"j.sqlite", "j.sqlite.lock"}


def test_a_state_never_goes_back(tmp_path: Path) -> None:
    """An entry whose state may not follow is refused by its place; the rest of the commit is stored."""
    store = Store(tmp_path / "j.sqlite")
    done = advance(job(1), JobState.DONE)
    store.write([done], [])
    assert store.write([job(0), job(1), job(2)], []) == [1]
    (data,) = store.find([bytes.fromhex(done.identity)], 0).values()
    assert unpack(data) == done
    assert len(store.page(0, 10)) == 3
    store.close()


def test_entries_are_read_ahead_by_position(tmp_path: Path) -> None:
    """``find`` returns entries and those that follow by position, in whatever order they were written."""
    store = Store(tmp_path / "j.sqlite")
    store.write([job(n) for n in (4, 0, 3, 1, 2)], [])
    wanted = [bytes.fromhex(job(n).identity) for n in (1, 4)]
    found = store.find([wanted[0], b"nobody", wanted[1]], 2)
    assert list(found) == [bytes.fromhex(job(n).identity) for n in (1, 2, 3, 4)]
    assert store.find([b"nobody"], 2) == {}
    store.close()


def test_digests_hold_while_size_and_time_do(tmp_path: Path) -> None:
    """A digest is returned while size and time of its file are the same; the latest one counts."""
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    found = file.stat()
    store = Store(tmp_path / "j.sqlite")
    assert store.digest(str(file)) is None
    store.write([], [Digest(str(file), 3, found.st_mtime_ns, "0f" * 32)])
    store.write([], [Digest(str(file), 3, found.st_mtime_ns, "5e" * 32)])
    assert store.digest(str(file)) == "5e" * 32
    os.utime(file, ns=(0, found.st_mtime_ns + 1))
    assert store.digest(str(file)) is None
    file.write_bytes(b"abcd")
    os.utime(file, ns=(0, found.st_mtime_ns))
    assert store.digest(str(file)) is None
    store.close()


# --- not a journal ----------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()


def foreign_in_use(path: Path) -> None:
    """Make a database of another program that was killed: its log is still there."""
    script = (
        f"import sqlite3, os; db = sqlite3.connect({str(path)!r}); db.execute('PRAGMA journal_mode=WAL');"
    )
    script += "db.execute('CREATE TABLE mine (a)'); db.commit(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert path.with_name(path.name + "-wal").stat().st_size


def newer(path: Path) -> None:
    made(path)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_MOVED + 1}")
    db.close()


def torn(path: Path, keep: Callable[[int], int] = lambda size: size // 2) -> None:
    made(path)
    os.truncate(path, keep(path.stat().st_size))


def scribbled(path: Path) -> None:
    made(path)
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        pytest.param(lambda p: p.write_text("{}\n" * 200), "not a journal, or a damaged", id="text"),
        pytest.param(lambda p: p.write_bytes(b"SQLite format 3\x00"), "damaged", id="a header's beginning"),
        pytest.param(lambda p: torn(p, lambda _: 50), "damaged", id="torn in the header"),
        pytest.param(torn, "it is damaged; restore a backup", id="torn in half"),
        pytest.param(lambda p: torn(p, lambda n: n - 4096), "it is damaged", id="torn at the end"),
        pytest.param(scribbled, "it is damaged", id="written over"),
        pytest.param(foreign, "a database of another program", id="foreign"),
        pytest.param(foreign_in_use, "a database of another program", id="foreign, with a log"),
        pytest.param(newer, "newer version of this package", id="newer"),
        pytest.param(Path.mkdir, "cannot be written", id="folder"),
    ],
)
@pytest.mark.real
def test_other_files_are_refused_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], Any], text: str
) -> None:
    """The error names the file and what it is; every file beside it is as before, and no lock stays."""
    path = tmp_path / "in" / "j.sqlite"
    path.parent.mkdir()
    spoil(path)
    if path.is_dir():
        before: Any = list(path.iterdir())
    else:
        before = contents(path.parent)
    for _ in range(2):
        with pytest.raises(JournalError, match=text) as caught:
            Store(path)
        assert caught.value.path == str(path) and repr(str(path)) in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None
    assert (list(path.iterdir()) if path.is_dir() else contents(path.parent)) == before


def test_the_log_of_a_damaged_journal_is_left_alone(tmp_path: Path) -> None:
    """The log of a damaged journal is left alone: it holds the last commits."""
    store = Store(made(tmp_path / "j.sqlite"))
    store.write([job(50)], [])
    copies = [tmp_path / "in" / name for name in ("j.sqlite", "j.sqlite-wal")]
    copies[0].parent.mkdir()
    for copy in copies:
        shutil.copy(tmp_path / copy.name, copy)
    store.close()
    with copies[0].open("r+b") as file:
        file.seek(6 * 4096)
        file.write(b"\xff" * 4096)
    before = [copy.read_bytes() for copy in copies]
    with pytest.raises(JournalError, match="it is damaged"):
        Store(copies[0])
    assert [copy.read_bytes() for copy in copies] == before


def test_no_lock_file_is_left_beside_another_program_s_file(tmp_path: Path) -> None:
    """Beside another program's file not even a lock file is left."""
    foreign(tmp_path / "j.sqlite")
    with pytest.raises(JournalError):
        Store(tmp_path / "j.sqlite")
    assert [p.name for p in tmp_path.iterdir()] == ["j.sqlite"]


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    """An empty file becomes a journal, also with a half-made one of a killed process beside it."""
    path = tmp_path / "j.sqlite"
    path.touch()
    (tmp_path / "j.sqlite.new").write_text("half")
    made(path)
    assert jobs_of(path) == 50
    assert not (tmp_path / "j.sqlite.new").exists()


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    """The folder is made with its parents; the journal in it is private as everywhere."""
    path = tmp_path / "not" / "yet" / "j.sqlite"
    made(path)
    assert jobs_of(path) == 50
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("inner", ["j.sqlite", "deeper/j.sqlite", "much/deeper/j.sqlite"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, inner: str) -> None:
    """Where a file stands in the way, the error names the folder that cannot be made; the file stays."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("mine")
    path = in_the_way / inner
    with pytest.raises(JournalError, match=r"its folder .* cannot be made") as caught:
        Store(path)
    assert repr(str(path.parent)) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and in_the_way.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(somebody: Path) -> None:
    """Without the right to make the folder, the error says so and names it."""
    inner = somebody / "in"
    inner.mkdir(0o500)
    with pytest.raises(JournalError, match=r"its folder .*new.* cannot be made \(Permission denied\)"):
        Store(inner / "new" / "j.sqlite")


@pytest.mark.parametrize("begun", [True, False], ids=["an empty file", "nothing"])
def test_a_journal_that_must_exist_is_not_made(tmp_path: Path, begun: bool) -> None:
    """To open an earlier batch's journal makes neither a file, nor a lock, nor a folder."""
    path = tmp_path / "j.sqlite" if begun else tmp_path / "not" / "j.sqlite"
    if begun:
        path.touch()
    with pytest.raises(JournalError, match="there is no such journal"):
        Store(path, make=False)
    assert [p.name for p in tmp_path.rglob("*")] == (["j.sqlite"] if begun else [])


def test_the_holder_s_process_is_named(tmp_path: Path) -> None:
    """The error for a second user names the process that holds the journal."""
    store = Store(tmp_path / "j.sqlite")
    with pytest.raises(JournalError, match=rf"another process holds it \({os.getpid()}\)"):
        Store(tmp_path / "j.sqlite")
    store.write([job(0)], [])
    store.close()
    store.close()
    assert jobs_of(tmp_path / "j.sqlite") == 1


# --- a disk that fails ---------------------------------------------------------------------------


@pytest.fixture
def somebody() -> Iterator[Path]:
    """Become a user for whom permissions count, with a folder: root may write anything."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        folder.chmod(0o777)
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_a_file_that_cannot_be_written_is_refused(somebody: Path) -> None:
    """A file that cannot be written is refused on opening."""
    path = made(somebody / "j.sqlite")
    path.chmod(0o400)
    with pytest.raises(JournalError, match=r"cannot be written .*Permission denied"):
        Store(path)


@pytest.mark.parametrize("known", [True, False], ids=["with a lock file", "without"])
def test_a_folder_that_cannot_be_written_is_refused(somebody: Path, known: bool) -> None:
    """A folder that cannot be written is refused, for a known and for a new journal."""
    inner = somebody / "in"
    inner.mkdir()
    made(inner / "j.sqlite")
    if not known:
        (inner / "j.sqlite.lock").unlink()
    inner.chmod(0o500)
    try:
        for name in ("j.sqlite", "new.sqlite"):
            with pytest.raises(JournalError, match="check the permissions"):
                Store(inner / name)
    finally:
        inner.chmod(0o700)


def test_a_full_disk_commits_nothing(tmp_path: Path) -> None:
    """On a full disk a write raises with advice, and earlier commits are whole."""
    store = Store(made(tmp_path / "j.sqlite"))
    db = store._open()
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(JournalError, match="the disk is full; make room") as caught:
        store.write([job(n) for n in range(50, 200)], [])
    assert caught.value.__context__ is None
    store.close()
    assert jobs_of(tmp_path / "j.sqlite") == 50


def test_another_program_s_lock_is_reported(tmp_path: Path) -> None:
    """While another program holds SQLite's lock, a commit raises and says so."""
    store = Store(tmp_path / "j.sqlite")
    store._open().execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(tmp_path / "j.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="another program writes to it"):
        store.write([job(0)], [])
    other.close()
    store.close()


def test_reads_raise_too(tmp_path: Path) -> None:
    """Reads raise for a missing table and for a closed store."""
    store = Store(tmp_path / "j.sqlite")
    for table in ("jobs", "digests"):
        store._open().execute(f"DROP TABLE {table}")
    for ask in (
        lambda: store.find([b""], 1),
        lambda: store.has_position(0),
        lambda: store.page(0, 1),
        lambda: store.digest(str(tmp_path)),
    ):
        with pytest.raises(JournalError, match="the database failed"):
            ask()
    store.close()
    with pytest.raises(JournalError, match="it is closed"):
        store.page(0, 1)


def test_a_file_system_without_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks is reported as the system's error."""

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("kling_async.runtime.filelock.lock", none)
    with pytest.raises(JournalError, match="No locks available"):
        Store(tmp_path / "j.sqlite")


# --- a torn log -------------------------------------------------------------------------------------


def test_a_log_torn_anywhere_gives_a_prefix_of_the_commits(tmp_path: Path) -> None:
    """A log cut at any byte gives the commits before the cut, none of them by half."""
    store = Store(tmp_path / "j.sqlite")
    ends = []
    for number in range(8):
        store.write([job(2 * number), job(2 * number + 1)], [])
        ends.append((tmp_path / "j.sqlite-wal").stat().st_size)
    for number, cut in enumerate(range(0, ends[-1] + 1, 5000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(tmp_path / "j.sqlite", folder)
        log = shutil.copy(tmp_path / "j.sqlite-wal", folder)
        os.truncate(log, cut)
        whole = sum(end <= cut for end in ends)
        assert jobs_of(folder / "j.sqlite") == 2 * whole
    store.close()


@pytest.mark.parametrize("emptied", [False, True])
def test_a_log_without_its_journal_is_refused(tmp_path: Path, emptied: bool) -> None:
    """A log whose journal is gone is an error, and nothing is touched: its jobs belong to another id."""
    path = tmp_path / "j.sqlite"
    store = Store(path)
    store.write([job(1)], [])
    log = path.with_name("j.sqlite-wal")
    kept = log.read_bytes()
    store.close()
    path.unlink()
    if emptied:
        path.touch()
    log.write_bytes(kept)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"its write-ahead log 'j\.sqlite-wal'"):
            Store(path)
        assert log.read_bytes() == kept
    log.unlink()
    Store(path).close()


def test_a_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    """A journal opened by a symbolic link has the same lock; the link stays a link."""
    path, link = tmp_path / "j.sqlite", tmp_path / "link.sqlite"
    link.symlink_to(path)
    store = Store(link)
    with pytest.raises(JournalError, match="another process holds it"):
        Store(path)
    store.close()
    assert link.is_symlink() and path.exists()


def test_positions_are_known(tmp_path: Path) -> None:
    """``has_position`` tells whether a job was ever at a position."""
    store = Store(tmp_path / "j.sqlite")
    store.write([job(4)], [])
    assert [store.has_position(n) for n in (3, 4)] == [False, True]
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes and sockets of POSIX")
@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "link"])
def test_what_is_no_file_is_left_alone(tmp_path: Path, kind: str, locked: bool) -> None:
    """A pipe or a socket in the journal's place, also behind a link, is neither opened nor replaced."""
    path = odd = tmp_path / "odd"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(odd))
    else:
        os.mkfifo(odd)
    if kind == "link":
        path = tmp_path / "link"
        path.symlink_to(odd)
    if locked:
        odd.with_name("odd.lock").touch()
    before = odd.stat()
    with pytest.raises(JournalError, match="not a file; choose another name"):
        Store(path)
    assert odd.stat().st_ino == before.st_ino and odd.stat().st_mode == before.st_mode
