"""The file of a shared ledger: whoever comes first makes it, and all use the same one."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING

import pytest

from kling_async.orchestrator.ledger import database
from kling_async.orchestrator.ledger.database import open_database, passes
from kling_async.runtime.filelock import FileLock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.mark.parametrize("empty", [False, True])
def test_those_who_make_a_file_at_once_use_one_and_the_same(tmp_path: Path, empty: bool) -> None:
    """Each writes a row, into a new file or in place of an empty one; none of them is lost."""
    for turn in range(10):
        path = tmp_path / f"{turn}.db"
        if empty:
            path.touch()
        start = threading.Barrier(6)
        makers = [threading.Thread(target=join, args=(path, start, name)) for name in range(6)]
        for maker in makers:
            maker.start()
        for maker in makers:
            maker.join()
        with contextlib.closing(open_database(path)) as db:
            found = {row[0] for row in db.execute("SELECT token FROM owners")}
        assert found == {str(name) for name in range(6)}


def join(path: Path, start: threading.Barrier, name: int) -> None:
    """Open the file when all do, and write a row while it stays open."""
    start.wait()
    with contextlib.closing(open_database(path)) as db:
        db.execute("INSERT INTO owners (account, token, beat) VALUES (1, ?, 0)", (str(name),))


def test_a_maker_that_is_stopped_holds_nobody_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told in the end, by an error after which they try again."""
    monkeypatch.setattr(database, "_BUSY", 0.05)
    path = tmp_path / "slots.db"
    held = FileLock(path.with_name("slots.db.making"))
    try:
        with pytest.raises(TimeoutError) as caught:
            open_database(path)
    finally:
        held.release()
    assert caught.value.errno == errno.ETIMEDOUT and passes(caught.value)
    open_database(path).close()
