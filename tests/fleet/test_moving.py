"""Move a laptop's journal into a fleet: marked first, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import Client, Polling, read_jsonl
from kling_async.batch.entry import JobState, unpack
from kling_async.batch.journal_files import SCHEMA, SCHEMA_MOVED
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.cli import main
from kling_async.errors import JournalError, LineInvalid, RequestInvalid
from kling_async.fleet import Fleet
from kling_async.fleet.moving import read_exported
from kling_async.testing import Emulator, emulator
from tests.fleet.support import rows

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
    """The rows of a journal of three jobs."""
    asyncio.run(begun())
    return export("--jobs", "jobs.jsonl", capsys=capsys)


def test_the_jobs_of_a_journal_move(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows, ids and entries; ended ones are results at once; the jobs file then adds what is new."""
    with JournalView(JOURNAL) as view:
        journal, before = view.id, {entry.identity: entry for entry in view.entries()}
    made(dsn)
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "films: 3 new jobs" in capsys.readouterr().out
    found = asyncio.run(read(dsn, "SELECT batch, identity, entry, request IS NULL, done FROM jobs"))
    assert {row[0] for row in found} == {journal}
    assert {row[1].hex(): unpack(row[2]) for row in found} == before
    assert not any(row[3] for row in found)
    assert sorted(row[4] for row in found if row[4]) == [1, 2]
    assert len(asyncio.run(read(dsn, "SELECT 1 FROM procrastinate_jobs"))) == 1
    assert submit(dsn, exported, monkeypatch=monkeypatch) == 0
    assert "0 new jobs, 3 known already" in capsys.readouterr().out
    assert main(["fleet", "submit", "jobs.jsonl", "--batch", "films", "--dsn", dsn]) == 0
    assert "1 new job, 3 known already" in capsys.readouterr().out


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
    assert len(export(capsys=capsys).splitlines()) == 3
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
    assert "3 new jobs" in capsys.readouterr().out


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
    assert asyncio.run(read(dsn, "SELECT count(*) FROM jobs")) == [(0,)]
    assert main(["journal", "move", JOURNAL]) == 0
    assert submit(dsn, elsewhere, "--moved", monkeypatch=monkeypatch) == 0
    assert "3 new jobs" in capsys.readouterr().out
    other = exported.replace('"journal": "', '"journal": "0')
    assert submit(dsn, other, monkeypatch=monkeypatch) == 1
    assert "another journal than the one that was exported" in capsys.readouterr().err


def test_the_entries_are_those_of_the_marked_journal(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that went on after the export was printed is not undone."""
    made(dsn)
    stale = [json.loads(line) for line in exported.splitlines()]
    assert {row["state"] for row in stale} == {"done", "failed", "running"}
    older = "".join(f"{json.dumps({**row, 'entry': stale[2]['entry']})}\n" for row in stale[2:])
    assert submit(dsn, older, monkeypatch=monkeypatch) == 0
    states = asyncio.run(read(dsn, "SELECT state FROM jobs ORDER BY state"))
    assert [state for (state,) in states] == [1, 3, 4]


def test_jobs_that_were_not_sent_need_their_requests(
    dsn: str, exported: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --jobs what runs and what ended moves; what may have to be sent is refused, unmarked."""
    made(dsn)
    with closing(sqlite3.connect(JOURNAL)) as db:
        assert db.execute("SELECT count(*) FROM jobs").fetchone() == (3,)
    bare = [json.loads(line) | {"request": None} for line in exported.splitlines()]
    lines = [json.dumps(row).encode() for row in bare]
    found = read_exported(lines, source="-", files=None)
    planned = {
        name: entry
        if entry.state is not JobState.CREATED
        else type(entry)(
            identity=name, position=9, endpoint=entry.endpoint, external_task_id=entry.external_task_id
        )
        for name, entry in found.entries.items()
    }

    async def moved() -> None:
        async with Fleet(dsn) as fleet:
            await fleet.submit_exported(found._replace(entries=planned))

    with pytest.raises(RequestInvalid, match="number 9; export them with --jobs FILE"):
        asyncio.run(moved())
    Store(Path(JOURNAL)).close()
    assert submit(dsn, "\n".join(map(json.dumps, bare)), monkeypatch=monkeypatch) == 0
    assert "3 new jobs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row | {"entry": "!"}, "is no row of kling journal export"),
        (lambda row: {name: row[name] for name in ("journal", "key")}, "is no row of kling journal export"),
        (lambda row: row | {"journal": "other"}, "is of another journal than the first line"),
        (lambda row: row | {"request": {"endpoint": "text_to_vide"}}, "endpoint"),
        (
            lambda row: row | {"request": {"endpoint": "image_to_video", "prompt": "x", "image": "a.png"}},
            "image",
        ),
    ],
)
def test_wrong_rows_are_named_by_their_line(exported: str, change: Any, words: str) -> None:
    """A row of an older version, of another journal, or with a request that cannot be read."""
    lines = exported.splitlines()
    lines[1] = json.dumps(change(json.loads(lines[1])))
    with pytest.raises(LineInvalid, match=words) as caught:
        read_exported([line.encode() for line in lines], source="-", files=None)
    assert caught.value.line == 2
