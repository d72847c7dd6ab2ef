"""Test batch/journal.py: entries whose put returned survive, puts share commits, one loop owns a journal."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import media, v1
from kling_async.batch.entry import JobState, advance, next_attempt
from kling_async.batch.journal import Journal
from kling_async.batch.journal_store import Store
from kling_async.errors import ConfigurationError, JournalError, RequestInvalid
from tests.clock import new_event_loop
from tests.support import png, settle
from tests.victim import entry_of, job

if TYPE_CHECKING:
    from collections.abc import Coroutine

virtual = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run in a new event loop with a clock of its own, and end the loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


def traced(journal: Journal) -> list[str]:
    """Collect the first word of every statement from here on."""
    words: list[str] = []
    store: Any = journal._store
    store._db.set_trace_callback(lambda text: words.append(text.split()[0]))
    return words


class Gate:
    """Holds the journal's thread up before its next commit."""

    def __init__(self, journal: Journal) -> None:
        self.reached, self.pass_on = threading.Event(), threading.Event()
        store: Any = journal._store
        write = store.write

        def held(*batch: Any) -> Any:
            self.reached.set()
            assert self.pass_on.wait(30)
            return write(*batch)

        store.write = held

    async def wait(self) -> None:
        assert await asyncio.get_running_loop().run_in_executor(None, self.reached.wait, 30)


class SlowRead:
    """Holds the answer of the journal's next read up: by then it may be outdated."""

    def __init__(self, journal: Journal) -> None:
        self.reached, self.pass_on = threading.Event(), threading.Event()
        store: Any = journal._store
        find = store.find

        def slow(*args: Any) -> Any:
            store.find = find
            found = find(*args)
            self.reached.set()
            assert self.pass_on.wait(30)
            return found

        store.find = slow

    async def wait(self) -> None:
        assert await asyncio.get_running_loop().run_in_executor(None, self.reached.wait, 30)


async def all_of(path: Path) -> list[Any]:
    async with Journal(path) as journal:
        return [entry async for entry in journal.entries()]


# --- writing ----------------------------------------------------------------------------------------


@virtual
async def test_a_put_that_returned_is_committed(tmp_path: Path) -> None:
    """A copy of the files taken when a put returns holds its entry."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        words = traced(journal)
        await journal.put(job(0))
        assert words[-1] == "COMMIT"
        (tmp_path / "copy").mkdir()
        for name in ("j.sqlite", "j.sqlite-wal"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
    assert await all_of(tmp_path / "copy" / "j.sqlite") == [job(0)]


@virtual
async def test_puts_of_one_turn_share_a_commit(tmp_path: Path) -> None:
    """A hundred puts of one turn of the loop share one commit."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        words = traced(journal)
        await asyncio.gather(*(journal.put(job(n)) for n in range(100)))
        assert collections.Counter(words)["COMMIT"] == 1
        assert collections.Counter(words)["INSERT"] == 100


@virtual
async def test_puts_during_a_commit_share_the_next(tmp_path: Path) -> None:
    """Puts that come during a commit share the next one, over any number of turns."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        words, gate = traced(journal), Gate(journal)
        puts = [asyncio.ensure_future(journal.put(job(0)))]
        await gate.wait()
        for number in range(1, 10):
            puts.append(asyncio.ensure_future(journal.put(job(number))))
            await settle(3)
        assert not any(put.done() for put in puts)
        gate.pass_on.set()
        await asyncio.gather(*puts)
        assert collections.Counter(words)["COMMIT"] == 2


@virtual
async def test_earlier_states_do_not_replace_later_ones(tmp_path: Path) -> None:
    """A put of an earlier state raises ValueError; the puts of the same commit are stored."""
    created = advance(job(0), JobState.CREATED, task_id="847")
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(journal.put(job(0)), journal.put(created))
        results = await asyncio.gather(journal.put(job(0)), journal.put(job(1)), return_exceptions=True)
        assert isinstance(results[0], ValueError) and "does not follow" in str(results[0])
        assert results[1] is None
        await journal.put(job(2))
        assert await entry_of(journal, created.identity) == created
    assert await all_of(tmp_path / "j.sqlite") == [created, job(1), job(2)]


@virtual
async def test_a_cancelled_put_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """A put cancelled before or during its commit is stored whole or not at all, and disturbs no other."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        gate = Gate(journal)
        puts = [asyncio.ensure_future(journal.put(job(n))) for n in range(3)]
        await gate.wait()
        late = [asyncio.ensure_future(journal.put(job(n))) for n in (3, 4)]
        await settle()
        puts[1].cancel()
        late[0].cancel()
        await settle()
        gate.pass_on.set()
        results = await asyncio.gather(*puts, *late, return_exceptions=True)
        assert [type(result) for result in results] == [
            type(None), asyncio.CancelledError, type(None), asyncio.CancelledError, type(None),
        ]  # fmt: skip
    assert await all_of(tmp_path / "j.sqlite") == [job(n) for n in range(5)]


@virtual
async def test_closing_commits_everything(tmp_path: Path) -> None:
    """Closing commits what was put, answers those who wait, and refuses everything afterwards."""
    tasks = asyncio.all_tasks()
    journal = Journal(tmp_path / "j.sqlite")
    async with journal:
        gate = Gate(journal)
        puts = [asyncio.ensure_future(journal.put(job(0)))]
        await gate.wait()
        puts += [asyncio.ensure_future(journal.put(job(n))) for n in (1, 2)]
        await settle()
        asyncio.get_running_loop().call_later(1, gate.pass_on.set)
    assert all(put.done() and put.exception() is None for put in puts)
    await journal.close()
    for ask in (journal.put(job(3)), entry_of(journal, job(0).identity), journal.digests.of_file("x")):
        with pytest.raises(JournalError, match="it is not open"):
            await ask
    assert await all_of(tmp_path / "j.sqlite") == [job(n) for n in range(3)]
    assert asyncio.all_tasks() == tasks


@virtual
async def test_a_cancelled_close_goes_on(tmp_path: Path) -> None:
    """A cancelled close goes on by itself."""
    journal = await Journal(tmp_path / "j.sqlite").__aenter__()
    gate = Gate(journal)
    put = asyncio.ensure_future(journal.put(job(0)))
    await gate.wait()
    closing = asyncio.ensure_future(journal.close())
    await settle()
    closing.cancel()
    await settle()
    gate.pass_on.set()
    await put
    await asyncio.get_running_loop().run_in_executor(None, journal._thread.shutdown)
    assert await all_of(tmp_path / "j.sqlite") == [job(0)]


@virtual
async def test_a_cancelled_opening_gives_the_lock_back(tmp_path: Path) -> None:
    """Opening that is cancelled gives the lock back."""
    journal = Journal(tmp_path / "j.sqlite")
    opening = asyncio.ensure_future(journal.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.get_running_loop().run_in_executor(None, journal._thread.shutdown)
    await settle()
    assert await all_of(tmp_path / "j.sqlite") == []


@virtual
async def test_after_a_failed_write_all_puts_raise(tmp_path: Path) -> None:
    """After a failed write all puts raise: that one, those behind it, and later ones with room again."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        await journal.put(job(0))
        store: Any = journal._store
        store._db.execute(f"PRAGMA max_page_count={store._db.execute('PRAGMA page_count').fetchone()[0]}")
        gate = Gate(journal)
        puts = [asyncio.ensure_future(journal.put(job(n))) for n in range(1, 100)]
        await gate.wait()
        puts.append(asyncio.ensure_future(journal.put(job(100))))
        await settle()
        gate.pass_on.set()
        errors = await asyncio.gather(*puts, return_exceptions=True)
        assert {type(error) for error in errors} == {JournalError}
        assert "the disk is full" in str(errors[-1])
        assert len(set(map(id, errors))) == 100
        store._db.execute("PRAGMA max_page_count=1000000")
        with pytest.raises(JournalError, match="the disk is full"):
            await journal.put(job(101))
        assert await entry_of(journal, job(1).identity) is None
    assert await all_of(tmp_path / "j.sqlite") == [job(0)]


@virtual
async def test_any_exception_of_the_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen exception in the thread is raised to those who wait."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("m")

    async with Journal(tmp_path / "j.sqlite") as journal:
        monkeypatch.setattr(journal._store, "write", broken)
        with pytest.raises(JournalError, match="writing failed: ZeroDivisionError: m"):
            await journal.put(job(0))


# --- one loop, one process ---------------------------------------------------------------------------------


@virtual
async def test_a_second_journal_of_the_file_is_refused(tmp_path: Path) -> None:
    """A second journal on the file is refused until the first is closed."""
    async with Journal(tmp_path / "j.sqlite"):
        await asyncio.sleep(86400)
        with pytest.raises(JournalError, match="another process holds it"):
            await Journal(tmp_path / "j.sqlite").__aenter__()
    assert await all_of(tmp_path / "j.sqlite") == []


def test_a_journal_belongs_to_its_loop(tmp_path: Path) -> None:
    """In another event loop a journal can be closed, which stores what waits, and nothing else."""
    journal = Journal(tmp_path / "j.sqlite")

    async def first() -> None:
        await journal.__aenter__()
        put = asyncio.ensure_future(journal.put(job(0)))
        await asyncio.sleep(0)
        put.cancel()

    async def second() -> None:
        for ask in (journal.put(job(1)), entry_of(journal, job(0).identity), journal.page(0)):
            with pytest.raises(ConfigurationError, match="the event loop in which it was opened"):
                await ask
        await journal.close()

    run(first())
    run(second())
    assert run(all_of(tmp_path / "j.sqlite")) == [job(0)]


@virtual
async def test_a_journal_belongs_to_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child cannot use its parent's open journal."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(JournalError, match="forked process"):
            await journal.put(job(0))
        monkeypatch.undo()
        await journal.put(job(0))


# --- reading ----------------------------------------------------------------------------------------


@virtual
async def test_the_id_stays_over_runs(tmp_path: Path) -> None:
    """The journal's id stays the same when it is opened again: external ids are made from it."""
    ids = []
    for _ in range(2):
        async with Journal(tmp_path / "j.sqlite") as journal:
            ids.append(journal.id)
    assert ids[0] == ids[1]


@virtual
async def test_entries_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 entries asked for in order cost a dozen reads; in any order all are found."""
    count, trips = 5000, 0
    find = Store.find

    def counted(*args: Any) -> Any:
        nonlocal trips
        trips += 1
        return find(*args)

    monkeypatch.setattr(Store, "find", counted)
    entries = [advance(job(n), JobState.DONE, label="") for n in range(count)]
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*map(journal.put, reversed(entries)))
    async with Journal(tmp_path / "j.sqlite") as journal:
        for entry in entries:
            assert await entry_of(journal, entry.identity) == entry
        assert trips <= 12
        for entry in entries[::-7]:
            assert await entry_of(journal, entry.identity) == entry


@virtual
async def test_new_jobs_among_known_ones_do_not_stop_reading_ahead(tmp_path: Path) -> None:
    """A new job between known ones does not discard what was read ahead."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*(journal.put(job(n)) for n in range(50)))
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert await entry_of(journal, job(0).identity) == job(0)
        ahead = len(journal._ahead._entries)
        assert await entry_of(journal, job(99).identity) is None
        assert len(journal._ahead._entries) == ahead > 10
        assert await entry_of(journal, job(1).identity) == job(1)


@virtual
async def test_a_put_entry_is_returned_at_once(tmp_path: Path) -> None:
    """An entry that was put is returned at once, whatever was read ahead or is being read."""
    created = [advance(job(n), JobState.CREATED) for n in range(4)]
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*(journal.put(job(n)) for n in range(4)))
    async with Journal(tmp_path / "j.sqlite") as journal:
        read, commit = SlowRead(journal), Gate(journal)
        trip = asyncio.ensure_future(entry_of(journal, job(0).identity))
        await read.wait()
        puts = [asyncio.ensure_future(journal.put(created[1]))]
        await commit.wait()
        read.pass_on.set()
        assert await trip == job(0)
        assert await entry_of(journal, job(1).identity) == created[1]
        puts.append(asyncio.ensure_future(journal.put(created[2])))
        await asyncio.sleep(0)
        assert await entry_of(journal, job(2).identity) == created[2]
        commit.pass_on.set()
        await asyncio.gather(*puts)
        for number, entry in ((1, created[1]), (2, created[2]), (3, job(3))):
            assert await entry_of(journal, job(number).identity) == entry


@virtual
async def test_all_entries_are_iterated_over_pages(tmp_path: Path) -> None:
    """Iteration yields all entries once, in the order in which their jobs were first put."""
    count = 2500
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*(journal.put(advance(job(n), JobState.DONE, label="")) for n in range(count)))
        assert [entry.position async for entry in journal.entries()] == list(range(count))


@virtual
async def test_a_damaged_entry_is_an_error(tmp_path: Path) -> None:
    """A damaged entry is an error; taken for a new job it would be paid again."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        await journal.put(job(0))
        store: Any = journal._store
        store._db.execute("UPDATE jobs SET entry=x'c1'")
        with pytest.raises(JournalError, match="an entry is damaged"):
            await entry_of(journal, job(0).identity)


# --- input files ------------------------------------------------------------------------------------


@virtual
async def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is hashed once over all runs and ways to name it, until its size or time changes."""
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    os.utime(file, (1e9, 1e9))
    hashed: list[str] = []
    digest = hashlib.file_digest

    def watched(opened: Any, kind: str) -> Any:
        hashed.append(opened.name)
        return digest(opened, kind)

    monkeypatch.setattr(hashlib, "file_digest", watched)
    expected = hashlib.sha256(b"abc").hexdigest()
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert await journal.digests.of_file(file) == expected
    monkeypatch.chdir(tmp_path)
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert (
            await journal.digests.of_file("a.png")
            == await journal.digests.of_file(tmp_path / "." / "a.png")
            == expected
        )
        assert len(hashed) == 1
        file.write_bytes(b"abd")
        os.utime(file, (1e9 + 1, 1e9 + 1))
        assert await journal.digests.of_file(file) == hashlib.sha256(b"abd").hexdigest()


@virtual
async def test_the_digest_of_a_file_just_written_is_not_stored(tmp_path: Path) -> None:
    """The digest of a file changed just now is not stored: it may change again within the same time stamp."""
    file = tmp_path / "a.png"
    file.write_bytes(b"abc")
    os.utime(file, (1e9, 1e9))
    async with Journal(tmp_path / "j.sqlite", now=lambda: 1e9 + 1) as journal:
        await journal.digests.of_file(file)
    file.write_bytes(b"abd")
    os.utime(file, (1e9, 1e9))
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert await journal.digests.of_file(file) == hashlib.sha256(b"abd").hexdigest()


@virtual
async def test_the_media_of_a_request_are_hashed(tmp_path: Path) -> None:
    """Files and bytes of a request are hashed, addresses are not; a missing file is a wrong field."""
    file = tmp_path / "a.png"
    file.write_bytes(png())
    digest = hashlib.sha256(png()).hexdigest()
    async with Journal(tmp_path / "j.sqlite") as journal:
        for source in (media(file), media(png())):
            request = v1.ImageGeneration(prompt="a", image=source)
            assert await journal.digests.of_request(request) == {source: digest}
        address = v1.ImageGeneration(prompt="a", image="https://example.com/a.png")
        assert await journal.digests.of_request(address) == {}
        with pytest.raises(RequestInvalid, match=r"image: cannot read .*No such file"):
            await journal.digests.of_request(v1.ImageGeneration(prompt="a", image=tmp_path / "b.png"))
        with pytest.raises(RequestInvalid, match="image: cannot read"):
            await journal.digests.of_request(v1.ImageGeneration(prompt="a", image=Path("a\0b")))


@virtual
async def test_reads_under_way_end_before_the_file_is_closed(tmp_path: Path) -> None:
    """Closing during reads never closes a connection that a thread uses."""
    for _ in range(60):
        async with Journal(tmp_path / "jobs.sqlite") as journal:
            reads = [asyncio.ensure_future(entry_of(journal, "0" * 32)) for _ in range(20)]
            places = [asyncio.ensure_future(journal.has_position(n)) for n in range(20)]
            await asyncio.sleep(0)
        found = await asyncio.gather(*reads, *places, return_exceptions=True)
        assert all(answer in (None, False) or isinstance(answer, JournalError) for answer in found)


@virtual
async def test_several_entries_are_found_in_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries read ahead, stored, just put and unknown are returned in order, with one read."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*(journal.put(job(n)) for n in range(30)))
    trips: list[int] = []
    find = Store.find

    def counted(*args: Any) -> Any:
        trips.append(1)
        return find(*args)

    monkeypatch.setattr(Store, "find", counted)
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert await entry_of(journal, job(0).identity) == job(0)
        created = advance(job(2), JobState.CREATED)
        commit = Gate(journal)
        put = asyncio.ensure_future(journal.put(created))
        await commit.wait()
        numbers = (1, 2, 99, 29, 3, 1)
        found = await journal.several([job(n).identity for n in numbers])
        assert found == [job(1), created, None, job(29), job(3), job(1)] and len(trips) == 2
        commit.pass_on.set()
        await put


@virtual
@pytest.mark.parametrize("asked", ["get", "several"])
async def test_an_entry_committed_during_a_read_is_found(tmp_path: Path, asked: str) -> None:
    """A job put meanwhile is not new: whoever is told so buys it again."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        read = SlowRead(journal)
        if asked == "get":
            answer: asyncio.Future[Any] = asyncio.ensure_future(entry_of(journal, job(0).identity))
        else:
            answer = asyncio.ensure_future(journal.several([job(0).identity, job(1).identity]))
        await read.wait()
        await journal.put(job(0))
        read.pass_on.set()
        assert await answer == (job(0) if asked == "get" else [job(0), None])


@virtual
async def test_an_entry_awaiting_its_commit_as_a_read_begins_is_found(tmp_path: Path) -> None:
    """Also when the commit ends before the read does: at its end the entry is in the file alone."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        commit, read = Gate(journal), SlowRead(journal)
        put = asyncio.ensure_future(journal.put(job(0)))
        await commit.wait()
        answer = asyncio.ensure_future(journal.several([job(0).identity, job(1).identity]))
        await read.wait()
        commit.pass_on.set()
        await put
        read.pass_on.set()
        assert await answer == [job(0), None]


@virtual
async def test_a_read_returns_nothing_that_was_replaced_meanwhile(tmp_path: Path) -> None:
    """In the answer, from what an earlier read brought along, and in what this one brings along."""
    created = [advance(job(n), JobState.CREATED) for n in range(80)]
    async with Journal(tmp_path / "j.sqlite") as journal:
        await asyncio.gather(*(journal.put(job(n)) for n in range(80)))
    async with Journal(tmp_path / "j.sqlite") as journal:
        assert await entry_of(journal, job(0).identity) == job(0)  # brings 1 along, and not 60
        read = SlowRead(journal)
        answer = asyncio.ensure_future(journal.several([job(n).identity for n in (1, 60)]))
        await read.wait()
        await asyncio.gather(*(journal.put(created[n]) for n in (1, 60, 61)))
        read.pass_on.set()
        assert await answer == [created[1], created[60]]
        assert await entry_of(journal, job(61).identity) == created[61]


@virtual
async def test_a_put_refused_during_a_read_hides_nothing(tmp_path: Path) -> None:
    """What is stored is the answer, be it committed in the same breath."""
    created = advance(job(0), JobState.CREATED)
    async with Journal(tmp_path / "j.sqlite") as journal:
        read = SlowRead(journal)
        answer = asyncio.ensure_future(entry_of(journal, job(0).identity))
        await read.wait()
        puts = await asyncio.gather(journal.put(created), journal.put(job(0)), return_exceptions=True)
        assert puts[0] is None and isinstance(puts[1], ValueError)
        read.pass_on.set()
        assert await answer == created


@virtual
async def test_positions_of_earlier_runs_are_known(tmp_path: Path) -> None:
    """``has_position`` tells whether a job was ever at a position."""
    async with Journal(tmp_path / "j.sqlite") as journal:
        await journal.put(job(3))
        assert [await journal.has_position(n) for n in (2, 3)] == [False, True]


@virtual
async def test_put_soon_stores_without_waiting(tmp_path: Path) -> None:
    """``put_soon`` stores an entry by the time the journal is closed, and never raises."""
    path = tmp_path / "j.sqlite"
    async with Journal(path) as journal:
        journal.put_soon(job(1))
    async with Journal(path) as journal:
        assert await entry_of(journal, job(1).identity) == job(1)
        journal.put_soon(
            next_attempt(next_attempt(job(1), journal.id), journal.id)
        )  # an attempt left out: refused
        await journal.put(job(2))
    journal.put_soon(job(3))
    async with Journal(path) as journal:
        assert [entry async for entry in journal.entries()] == [job(1), job(2)]
