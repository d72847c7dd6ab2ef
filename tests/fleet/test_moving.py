"""Move a laptop's journal into a fleet: marked first, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from kling_async import Client, Polling, read_jsonl
from kling_async.batch.entry import Entry, JobState, Times, pack, unpack
from kling_async.batch.journal_files import SCHEMA, SCHEMA_MOVED
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.cli import main
from kling_async.errors import JournalError, LineInvalid
from kling_async.fleet import Fleet, intake, moving, writing
from kling_async.fleet.database import shown_dsn
from kling_async.fleet.moving import read_movable
from kling_async.testing import Emulator, emulator
from tests.batch.test_old_journal import OLD
from tests.fleet.support import rows
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.real]

PROMPTS = ["quick", "emulator:fail", "emulator:seconds=600", "last"]
LINES = [
    {"endpoint": "text_to_video", "key": f"shot-{n}", "prompt": prompt, "model_name": "kling-v2-6"}
    for n, prompt in enumerate(PROMPTS)
]
JOURNAL = "films.sqlite"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with nobody's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))


def client_of(emu: Emulator) -> Client:
    """Return a client that looks often."""
    pace = Polling(min_interval=0.02, max_interval=0.1)
    return Client(api_key=emu.api_key, base_url=emu.url, polling=pace)


async def begin(emu: Emulator) -> None:
    """Run the jobs on a laptop until one is done, one has failed, and one runs; the last one is in doubt."""
    async with client_of(emu) as client:
        jobs = list(read_jsonl("jobs.jsonl", check=client.check))[:3]
        async with client.batch(jobs, journal=JOURNAL, signals=False) as results:
            async for _ in results:
                if results.progress().done + results.progress().failed == 2:
                    break


def export(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what ``kling journal export`` prints."""
    capsys.readouterr()
    assert main(["journal", "export", JOURNAL, *words]) == 0
    return capsys.readouterr().out


def submit(dsn: str, text: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pipe an export into ``kling fleet submit -``."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
    return main(["fleet", "submit", "-", "--dsn", dsn, *words])


async def begun() -> None:
    """Begin the jobs against an emulator that ends with this."""
    async with emulator(speed=1000.0) as emu:
        await begin(emu)


@pytest.fixture
def exported(capsys: pytest.CaptureFixture[str]) -> str:
    """The rows of a journal of three jobs, and of a fourth one that was not begun."""
    asyncio.run(begun())
    return export("--jobs", "jobs.jsonl", capsys=capsys)


def test_the_jobs_of_a_journal_move(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows, ids and entries; ended ones are results at once; jobs of the file alone are new."""
    with JournalView(JOURNAL) as view:
        journal, before = view.id, {entry.identity: entry for entry in view.entries()}
    made(dsn)
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "films: 4 new jobs" in capsys.readouterr().out
    found = asyncio.run(read(dsn, "SELECT batch, identity, entry, request IS NULL, done FROM jobs"))
    assert {row[0] for row in found} == {journal}
    entries = {row[1].hex(): unpack(row[2]) for row in found}
    assert {name: entry for name, entry in entries.items() if name in before} == before
    (new,) = (entry for name, entry in entries.items() if name not in before)
    assert (new.key, new.position, new.state, new.times.planned) == ("shot-3", 3, JobState.PLANNED, None)
    assert not any(row[3] for row in found)
    assert sorted(row[4] for row in found if row[4]) == [1, 2]
    assert len(asyncio.run(read(dsn, "SELECT 1 FROM procrastinate_jobs"))) == 2
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "0 new jobs, 4 known already" in capsys.readouterr().out
    assert main(["fleet", "submit", "jobs.jsonl", "--batch", "films", "--dsn", dsn]) == 0
    assert "0 new jobs, 4 known already" in capsys.readouterr().out


def made(dsn: str) -> None:
    """Make the tables."""

    async def init() -> None:
        await Fleet(dsn).init()

    asyncio.run(init())


async def read(dsn: str, query: str) -> Sequence[Any]:
    """Return the rows of a query."""
    return await rows(dsn, query)


def test_a_moved_journal_refuses_to_go_on_by_itself(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a batch nor kling run opens it; it can be looked into; older programs see a newer journal."""
    made(dsn)
    assert int.from_bytes(Path(JOURNAL).read_bytes()[60:64], "big") == SCHEMA
    assert submit(dsn, exported, "--batch", "spring", monkeypatch=monkeypatch) == 0
    assert "is marked as moved" in capsys.readouterr().err
    with pytest.raises(
        JournalError, match=r"moved to the fleet's batch 'spring' on .*kling fleet results spring"
    ):
        Store(Path(JOURNAL))
    run = ["run", "jobs.jsonl", "--journal", JOURNAL, "--emulator", "--progress", "none"]
    assert main(run) != 0
    assert "kling fleet results spring" in capsys.readouterr().err
    assert main(["journal", "show", JOURNAL]) == 0
    assert "its jobs moved to the fleet's batch 'spring'" in capsys.readouterr().out
    moved = [json.loads(line)["moved"] for line in export(capsys=capsys).splitlines()]
    assert [(each["batch"], each["place"]) for each in moved] == [("spring", shown_dsn(dsn))] * 3
    assert main(["journal", "verify", JOURNAL]) == 0
    assert int.from_bytes(Path(JOURNAL).read_bytes()[60:64], "big") == SCHEMA_MOVED
    assert main(["journal", "move", JOURNAL, "--back"]) == 2
    assert "cancel-queued" in capsys.readouterr().err
    assert main(["journal", "move", JOURNAL, "--back", "--yes"]) == 0
    Store(Path(JOURNAL)).close()
    assert int.from_bytes(Path(JOURNAL).read_bytes()[60:64], "big") == SCHEMA


def test_marked_and_killed_the_move_is_gone_on_with(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the mark and the rows nothing is lost: the same command writes them."""
    made(dsn)

    async def die(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kling_async.fleet.moving.write_chunk", die)
        submit(dsn, exported, monkeypatch=monkeypatch)
    with pytest.raises(JournalError, match="moved"):
        Store(Path(JOURNAL))
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "4 new jobs" in capsys.readouterr().out


@pytest.mark.parametrize("died", range(4))
def test_cut_short_between_chunks_the_move_is_gone_on_with(
    dsn: str,
    exported: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    died: int,
) -> None:
    """After any chunk: whole chunks are there, and the same command writes the others, each job once."""
    made(dsn)
    chunks = 0
    write = writing.write_chunk

    async def die(*words: Any, **more: Any) -> int:
        nonlocal chunks
        if chunks == died:
            raise KeyboardInterrupt
        chunks += 1
        return await write(*words, **more)

    monkeypatch.setattr(intake, "CHUNK", 1)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "write_chunk", die)
        submit(dsn, exported, monkeypatch=monkeypatch)
    assert asyncio.run(read(dsn, "SELECT count(*) FROM jobs")) == [(died,)]
    capsys.readouterr()
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    known = f", {died} known already" if died else ""
    assert f"{4 - died} new job{'s' if died < 3 else ''}{known}" in capsys.readouterr().out
    assert asyncio.run(read(dsn, "SELECT count(*), count(DISTINCT identity) FROM jobs")) == [(4, 4)]
    counts = "SELECT total, done, succeeded, failed FROM batches"
    assert asyncio.run(read(dsn, counts)) == [(4, 2, 1, 1)]


def test_a_journal_that_a_batch_uses_or_that_lies_elsewhere_is_refused(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written then; with --moved the mark is the caller's word, the rows are taken as they are."""
    made(dsn)
    with closing(Store(Path(JOURNAL))):
        assert submit(dsn, exported, monkeypatch=monkeypatch) == 1
        assert "another process holds it" in capsys.readouterr().err
    elsewhere = exported.replace('"host": "', '"host": "not-')
    assert submit(dsn, elsewhere, monkeypatch=monkeypatch) == 1
    assert f"kling journal move {Path(JOURNAL).resolve()}" in capsys.readouterr().err
    other = exported.replace('"journal": "', '"journal": "0')
    assert submit(dsn, other, monkeypatch=monkeypatch) == 1
    assert "another journal than the one that was exported" in capsys.readouterr().err
    assert asyncio.run(read(dsn, "SELECT count(*) FROM jobs")) == [(0,)]
    Store(Path(JOURNAL)).close()


def test_a_journal_of_another_machine_moves_once_it_is_marked_there(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --moved the rows are taken as they are; those from before the mark are refused.

    A batch may have sent since then what those say was not sent.
    """
    made(dsn)
    assert main(["journal", "move", JOURNAL, "--batch", "spring"]) == 0
    before = exported.replace('"host": "', '"host": "not-')
    assert submit(dsn, before, "--moved", monkeypatch=monkeypatch) == 1
    assert "not marked as moved when it was exported" in capsys.readouterr().err
    assert asyncio.run(read(dsn, "SELECT count(*) FROM jobs")) == [(0,)]
    after = export("--jobs", "jobs.jsonl", capsys=capsys).replace('"host": "', '"host": "not-')
    Path(JOURNAL).unlink()
    assert submit(dsn, after, "--moved", monkeypatch=monkeypatch) == 0
    assert "spring: 4 new jobs" in capsys.readouterr().out
    assert submit(dsn, after, "--moved", monkeypatch=monkeypatch) == 0
    assert "spring: 0 new jobs, 4 known already" in capsys.readouterr().out
    assert submit(dsn, after, "--moved", "--batch", "summer", monkeypatch=monkeypatch) == 2
    assert "give --batch spring" in capsys.readouterr().err


def test_a_mark_without_a_place_is_completed(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that was marked by hand moves from its own machine without --moved, too."""
    made(dsn)
    assert main(["journal", "move", JOURNAL]) == 0
    assert submit(dsn, exported, "--batch", "spring", monkeypatch=monkeypatch) == 0
    assert "spring: 4 new jobs" in capsys.readouterr().out
    with JournalView(JOURNAL) as view:
        assert view.moved is not None
        assert (view.moved.place, view.moved.batch) == (shown_dsn(dsn), "spring")


def test_a_journal_moves_to_one_batch_only(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another fleet or name would make its jobs twice; a name that is another batch's is refused unmarked."""
    made(dsn)
    assert main(["fleet", "submit", "jobs.jsonl", "--batch", "taken", "--dsn", dsn]) == 0
    assert submit(dsn, exported, "--batch", "taken", monkeypatch=monkeypatch) == 2
    assert "'taken' is another batch" in capsys.readouterr().err
    Store(Path(JOURNAL)).close()
    assert submit(dsn, exported, "--batch", "spring", monkeypatch=monkeypatch) == 0
    assert submit(dsn, exported, "--batch", "summer", monkeypatch=monkeypatch) == 2
    assert "the journal's jobs are batch 'spring' already" in capsys.readouterr().err
    # as for another fleet: this one has not got the batch
    asyncio.run(read(dsn, "WITH gone AS (DELETE FROM jobs) DELETE FROM batches RETURNING 1"))
    again = ["fleet", "submit", "-", "--dsn", dsn, "--batch", "summer"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(exported.encode()), "utf-8"))
    assert main(again) == 1
    assert "kling fleet cancel-queued spring there, then kling journal move --back" in capsys.readouterr().err
    with JournalView(JOURNAL) as view:
        assert view.moved is not None and view.moved.batch == "spring"


def test_a_name_that_is_given_away_meanwhile_is_not_taken(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another submit makes a batch of that name after the first look: the jobs do not end up in it."""
    made(dsn)
    mark = moving.mark_moved

    def slow_mark(*arguments: Any) -> None:
        mark(*arguments)
        new = "INSERT INTO batches (id, name) VALUES ('0', 'spring') RETURNING 1"
        asyncio.run(read(dsn, new))

    monkeypatch.setattr("kling_async.fleet.fleet.mark_moved", slow_mark)
    assert submit(dsn, exported, "--batch", "spring", monkeypatch=monkeypatch) == 2
    assert "'spring' is another batch" in capsys.readouterr().err
    assert asyncio.run(read(dsn, "SELECT count(*) FROM jobs")) == [(0,)]


def test_the_entries_are_those_of_the_marked_journal(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that went on after the export was printed is not undone."""
    made(dsn)
    stale = [json.loads(line) for line in exported.splitlines()]
    assert [row["state"] for row in stale] == ["done", "failed", "running", "not sent"]
    with JournalView(JOURNAL) as view:
        older = [
            {**row, "entry": entry_before(view.entry(row["identity"])) or row["entry"]}
            for row in stale[1:]  # and the first job was not exported at all
        ]
    assert submit(dsn, "".join(f"{json.dumps(row)}\n" for row in older), monkeypatch=monkeypatch) == 0
    states = asyncio.run(read(dsn, "SELECT state FROM jobs ORDER BY state"))
    assert [state for (state,) in states] == [0, 1, 3, 4]


def entry_before(entry: Entry | None) -> str | None:
    """Return a job's entry as a row had it before the job was sent."""
    if entry is None:
        return None
    return base64.b64encode(
        pack(replace(entry, state=JobState.PLANNED, task_id=None, times=Times()))
    ).decode()


def test_jobs_that_were_not_sent_need_their_requests(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --jobs what runs and what ended moves; what may have to be sent is refused, unmarked."""
    made(dsn)
    rows = [json.loads(line) for line in exported.splitlines()]
    bare = [row | {"request": None} for row in rows]
    assert submit(dsn, "\n".join(map(json.dumps, bare)), monkeypatch=monkeypatch) == 2
    assert "stdin:4: request: is missing, and the job may have to be sent" in (
        said := capsys.readouterr().err
    )
    assert "nothing was moved" in said
    with closing(Store(Path(JOURNAL))) as store:  # a batch has begun the job since the export
        store.write([unpack(base64.b64decode(rows[3]["entry"]))], [])
    whole = export(capsys=capsys)
    ended = "".join(f"{json.dumps(row | {'last': at == 2})}\n" for at, row in enumerate(rows[:3]))
    assert submit(dsn, ended, monkeypatch=monkeypatch) == 1
    assert "job 'shot-3' may have to be sent, and its request was not exported" in capsys.readouterr().err
    Store(Path(JOURNAL)).close()
    assert submit(dsn, whole, monkeypatch=monkeypatch) == 2
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "4 new jobs" in capsys.readouterr().out


@pytest.mark.parametrize(("key", "label"), [("a\0b", ""), (None, "x\0"), (None, "x" * 501)])
def test_what_a_fleet_cannot_hold_is_refused_unmarked(
    dsn: str,
    exported: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    label: str,
) -> None:
    """A key or label that PostgreSQL does not take: named by its line, or as the journal has it now."""
    made(dsn)
    new = replace(
        unpack(base64.b64decode(json.loads(exported.splitlines()[3])["entry"])), key=key, label=label
    )
    with closing(Store(Path(JOURNAL))) as store:
        store.write([new], [])
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 1
    assert "its label" in (said := capsys.readouterr().err) or "its key" in said
    assert submit(dsn, export("--jobs", "jobs.jsonl", capsys=capsys), monkeypatch=monkeypatch) == 2
    assert "stdin:4: " in capsys.readouterr().err
    Store(Path(JOURNAL)).close()


def test_requests_with_files_move(
    dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a stream with --with-files at the export, or --allow-files here; else the fix is named."""
    made(dsn)
    Path("a.png").write_bytes(png(320, 320))
    start = {"endpoint": "image_to_video", "prompt": "x", "image": "a.png", "model_name": "kling-v2-6"}
    Path("jobs.jsonl").write_text(json.dumps(start))
    Store(Path(JOURNAL)).close()
    plain = export("--jobs", "jobs.jsonl", capsys=capsys)
    assert submit(dsn, plain, monkeypatch=monkeypatch) == 2
    assert "or export them with --jobs FILE --with-files" in capsys.readouterr().err
    Store(Path(JOURNAL)).close()
    whole = export("--jobs", "jobs.jsonl", "--with-files", capsys=capsys)
    assert submit(dsn, whole, monkeypatch=monkeypatch) == 0
    stored = "SELECT request FROM jobs"
    ((first,),) = asyncio.run(read(dsn, stored))
    asyncio.run(read(dsn, "WITH gone AS (DELETE FROM jobs) DELETE FROM procrastinate_jobs RETURNING 1"))
    assert submit(dsn, plain, "--allow-files", ".", monkeypatch=monkeypatch) == 0
    assert asyncio.run(read(dsn, stored)) == [(first,)]
    assert base64.b64encode(png(320, 320)) in first


def test_labels_of_a_jobs_file_are_none_of_an_export(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported jobs have labels of their own: the option is refused, and nothing is marked."""
    assert submit(dsn, exported, "--label", "x", monkeypatch=monkeypatch) == 2
    assert "--label" in capsys.readouterr().err
    Store(Path(JOURNAL)).close()


def test_a_journal_of_an_older_version_moves(
    dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of version 0.1: what it says of each job stands in the fleet; older programs refuse it."""
    made(dsn)
    shutil.copy(OLD, JOURNAL)
    with JournalView(JOURNAL) as view:
        before = {entry.identity: entry for entry in view.entries()}
    rows = [json.loads(line) for line in export(capsys=capsys).splitlines()]
    request = {"endpoint": "text_to_video", "prompt": "x"}
    data = "".join(f"{json.dumps({**row, 'request': request})}\n" for row in rows)
    assert submit(dsn, data, monkeypatch=monkeypatch) == 0
    found = asyncio.run(read(dsn, "SELECT identity, entry FROM jobs"))
    assert {name.hex(): unpack(entry) for name, entry in found} == before
    with pytest.raises(JournalError, match="moved"):
        Store(Path(JOURNAL))
    assert int.from_bytes(Path(JOURNAL).read_bytes()[60:64], "big") == SCHEMA_MOVED


def test_the_rows_say_what_a_fleet_cannot_hold() -> None:
    """A reader of rows for a fleet refuses what the table cannot hold, without any database."""
    with pytest.raises(LineInvalid, match="nothing was exported"):
        read_movable([])
