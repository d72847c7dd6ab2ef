"""Test ``kling journal``: what it shows of a run, also while that writes; export, verify, compact."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import JournalError, v1
from kling_async.batch.entry import JobState, unpack
from kling_async.batch.journal import Journal
from kling_async.batch.journal_match import named_jobs
from kling_async.batch.journal_store import Store
from kling_async.batch.journal_view import JournalView
from kling_async.cli.journal_rows import job_row
from tests.cli.support import kling
from tests.support import clip, pair, png
from tests.victim import job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kling_async.wire.requests import TaskRequest

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the test's folder."""
    monkeypatch.chdir(tmp_path)


def write_jobs(*requests: tuple[str | None, TaskRequest[Any]]) -> None:
    """Write requests as a jobs file."""
    lines = (
        {**request.to_dict(files="."), **({} if key is None else {"key": key})} for key, request in requests
    )
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


async def run(requests: Sequence[tuple[str | None, TaskRequest[Any]]], take: int | None = None) -> None:
    """Run requests with a journal and files; leave after some outcomes."""
    async with pair({"video": 2}, seconds=20) as (_, client):
        batch = client.batch(requests, journal="j.sqlite", download_to="out", name="{index}", label="film")
        async with batch as results:
            left = len(requests) if take is None else take
            while left:
                await anext(results)
                left -= 1


def show(capsys: Capture, *words: str) -> Any:
    """Return what show tells, as JSON."""
    ran = kling(capsys, "journal", "show", "j.sqlite", "--json", *words)
    assert ran.status == 0
    return json.loads(ran.out)


def film(prompt: str, **more: Any) -> v1.TextToVideo:
    """Return a request."""
    return clip(prompt, **more)


@pytest.mark.anyio
async def test_a_run_that_was_left_is_shown_as_it_is(capsys: Capture) -> None:
    """States, units by label, failures by reason, unfinished ids; jobs the file has no more, and new ones."""
    requests = [("a", film("a")), ("b", film("emulator:fail")), ("c", film("c")), ("d", film("d"))]
    await run(requests, take=2)
    write_jobs(requests[0], ("new", film("new")))

    def look() -> None:
        found = show(capsys, "--jobs", "jobs.jsonl")
        assert found["states"] == {"done": 1, "failed": 1, "running": 2}
        assert [line["label"] for line in found["units"]] == ["film"]
        assert found["failures"] == {"TaskFailed": 1}
        assert [job["key"] for job in found["unfinished"]] == ["c", "d"]
        assert all(job["task_id"] for job in found["unfinished"])
        assert [job["key"] for job in found["unclaimed"]] == ["b", "c", "d"]
        assert found["new"] == 1
        text = kling(capsys, "journal", "show", "j.sqlite", "--jobs", "jobs.jsonl").out
        assert text.startswith("4 jobs: ") and "video units spent for film" in text
        assert "2 unfinished:" in text and "not in the journal yet: 1 job of the file" in text

    await asyncio.to_thread(look)


@pytest.mark.anyio
async def test_the_names_are_those_of_the_batch(tmp_path: Path) -> None:
    """Keys, equal prompts, files: each job of an input is found under the name that a run gave it."""
    (tmp_path / "start.png").write_bytes(png(320, 320))
    start = v1.ImageToVideo(prompt="x", image=tmp_path / "start.png", model_name="kling-v2-6")
    requests: list[tuple[str | None, TaskRequest[Any]]] = [
        *((None, film("same")) for _ in range(3)),
        ("k", film("same")),
        ("i", start),
        (None, v1.ImageGeneration(prompt="still")),
    ]
    await run(requests)
    with JournalView("j.sqlite") as view:
        names = [job.name async for job in named_jobs(view, requests)]
        stored = {entry.position: entry.identity for entry in view.entries()}
        assert names == [stored[at] for at in range(len(requests))]
        assert all(view.entry(name) is not None for name in names)
        assert view.entry("00" * 16) is None


@pytest.mark.anyio
async def test_a_snapshot_stays_while_the_run_writes() -> None:
    """A view shows one moment, whatever is committed meanwhile; the run goes on; a new view sees all."""
    async with Journal("j.sqlite") as journal:
        await journal.put(job(1))
        with JournalView("j.sqlite") as view:
            await asyncio.gather(*(journal.put(job(n)) for n in range(2, 2500)))
            assert [entry.position for entry in view.entries()] == [1]
            assert view.count() == 1
        with JournalView("j.sqlite") as view:
            assert view.count() == len(list(view.entries())) == 2499
            assert view.damage() == []


@pytest.mark.anyio
async def test_a_run_that_begins_meanwhile_is_noticed() -> None:
    """Without a log nothing orders readers and a writer: a view that met one says so, and leaves no files."""
    async with Journal("j.sqlite") as journal:
        await journal.put(job(1))
    with JournalView("j.sqlite") as view:
        assert view.count() == 1
    assert not await asyncio.to_thread(lambda: list(Path().glob("*-wal")))
    with pytest.raises(JournalError, match="look again"), JournalView("j.sqlite") as view:
        async with Journal("j.sqlite") as journal:
            await journal.put(job(2))
    with JournalView("j.sqlite") as view:
        assert view.count() == 2


@pytest.mark.anyio
async def test_the_export_has_every_job_with_its_request(capsys: Capture) -> None:
    """JSON lines and CSV say the same; requests come from the jobs file, in the form that it has."""
    requests = [("a", film("a")), ("b", film("emulator:fail")), ("c", film("c"))]
    await run(requests, take=2)
    write_jobs(*requests)

    def look() -> None:
        words = ("journal", "export", "j.sqlite", "--jobs", "jobs.jsonl")
        rows = [json.loads(line) for line in kling(capsys, *words).out.splitlines()]
        assert [(row["key"], row["state"]) for row in rows] == [
            ("a", "done"),
            ("b", "failed"),
            ("c", "running"),
        ]
        assert all(row["external_task_id"] and row["task_id"] and row["account"] for row in rows)
        assert [row["request"]["prompt"] for row in rows] == ["a", "emulator:fail", "c"]
        assert rows[0]["files"][0]["name"] == "0.mp4" and len(rows[0]["files"][0]["sha256"]) == 64
        assert rows[1]["error"]["kind"] == "TaskFailed"
        flat = list(csv.DictReader(io.StringIO(kling(capsys, *words, "--as", "csv").out)))
        assert [row["task_id"] for row in flat] == [row["task_id"] for row in rows]
        assert json.loads(flat[2]["request"]) == rows[2]["request"]
        alone = kling(capsys, "journal", "export", "j.sqlite").out.splitlines()
        assert [json.loads(line)["request"] for line in alone] == [None] * 3

    await asyncio.to_thread(look)


@pytest.mark.anyio
async def test_the_export_has_jobs_that_no_run_has_begun(capsys: Capture) -> None:
    """A jobs file brings them, under the names and ids that a run gives them; the last row says so.

    Jobs come in the order of the file, then those that it does not name; what is left out is told.
    """
    gone, rest = ("gone", film("gone")), [(f"k{n}", film(f"{n}")) for n in range(3)]
    await run([gone, rest[1]])
    write_jobs(*rest, ("k3", film("3")))

    def exported() -> list[dict[str, Any]]:
        with Path("jobs.jsonl").open("a") as file:
            file.write('{"endpoint": "text_to_vide"}\n')
            file.write('{"endpoint": "image_to_video", "key": "i", "prompt": "x", "image": "no.png"}\n')
        ran = kling(capsys, "journal", "export", "j.sqlite", "--jobs", "jobs.jsonl")
        assert "1 wrong line of jobs.jsonl left out; kling check jobs.jsonl shows all" in ran.err
        assert "1 job left out: their files cannot be read" in ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    rows = await asyncio.to_thread(exported)
    assert [(row["key"], row["state"]) for row in rows] == [
        ("k0", "not sent"),
        ("k1", "done"),
        ("k2", "not sent"),
        ("k3", "not sent"),
        ("gone", "done"),
    ]
    assert [row["last"] for row in rows] == [False] * 4 + [True]
    assert [row["request"] is None for row in rows] == [False] * 4 + [True]
    entries = {row["key"]: unpack(base64.b64decode(row["entry"])) for row in rows}
    # the earlier run had another job at place 0
    assert [entries[key].position_taken for key in ("k0", "k2", "k3")] == [True, False, False]
    await run([*rest, ("k3", film("3"))])
    with JournalView("j.sqlite") as view:
        for key in ("k0", "k2", "k3"):
            stored = view.entry(entries[key].identity)
            assert stored is not None and stored.state is JobState.DONE
            assert stored.external_task_id == entries[key].external_task_id
            assert stored.position == entries[key].position


def test_help_tells_each_field_of_the_export(capsys: Capture) -> None:
    """The topic names all fields of a row, and no others."""
    view = JournalView("j.sqlite")
    told = kling(capsys, "help", "export").out
    names = re.findall(r"^  ((?:[a-z_]+(?:, |$|(?=  )))+)", told, re.MULTILINE)
    fields = {name for line in names for name in line.split(", ")}
    assert fields == {*job_row(view, job(1), None), "last"}


@pytest.mark.anyio
async def test_the_export_has_files_where_it_is_to(capsys: Capture) -> None:
    """By their paths, as the jobs file has them; with --with-files as Base64."""
    await asyncio.to_thread(Path("start.png").write_bytes, png(320, 320))
    start = v1.ImageToVideo(prompt="x", image=Path("start.png"), model_name="kling-v2-6")
    await run([(None, start)])
    write_jobs((None, start))

    def image(*words: str) -> tuple[Any, str]:
        ran = kling(capsys, "journal", "export", "j.sqlite", "--jobs", "jobs.jsonl", *words)
        (row,) = map(json.loads, ran.out.splitlines())
        return row["state"] == "done" and row["request"] and row["request"]["image"], ran.err

    def look() -> None:
        assert image() == ("start.png", "")
        assert image("--with-files") == (base64.b64encode(png(320, 320)).decode(), "")

    await asyncio.to_thread(look)


@pytest.mark.anyio
async def test_a_journal_is_marked_as_moved_and_back(capsys: Capture) -> None:
    """Marked once, by whom it lies with; another mark does not take the place of the first one."""
    await run([("a", film("a"))])

    def look() -> None:
        ran = kling(capsys, "journal", "move", "j.sqlite", "--batch", "two words")
        assert ran.status == 2 and "must be 1 to 64 letters, digits" in ran.err
        assert show(capsys)["moved"] is None
        assert (
            kling(capsys, "journal", "move", "j.sqlite", "--to", "the studio", "--batch", "spring").status
            == 0
        )
        assert (
            kling(capsys, "journal", "move", "j.sqlite", "--to", "the studio", "--batch", "spring").status
            == 0
        )
        for words in ((), ("--to", "the studio"), ("--to", "home", "--batch", "spring")):
            ran = kling(capsys, "journal", "move", "j.sqlite", *words)
            assert ran.status == 1 and "'spring'" in ran.err and "nothing was changed" in ran.err
        assert show(capsys)["moved"]["place"] == "the studio"
        (row,) = map(json.loads, kling(capsys, "journal", "export", "j.sqlite").out.splitlines())
        assert row["moved"] == show(capsys)["moved"]
        ran = kling(capsys, "journal", "compact", "j.sqlite")
        assert ran.status == 1 and "moved to the fleet's batch 'spring'" in ran.err
        assert kling(capsys, "journal", "move", "j.sqlite", "--back").status == 2
        assert show(capsys)["moved"] is not None
        assert kling(capsys, "journal", "move", "j.sqlite", "--back", "--yes").status == 0
        assert show(capsys)["moved"] is None

    await asyncio.to_thread(look)
    with pytest.raises(JournalError, match="another process holds it"):
        async with Journal("j.sqlite"):
            await asyncio.to_thread(Store, Path("j.sqlite"), moved_too=True)


@pytest.mark.anyio
async def test_verify_looks_at_every_file_and_entry(capsys: Capture) -> None:
    """All as noted is 0; a changed, a cut and a missing file and a damaged entry are told, and 1."""
    await run([(None, film(str(n))) for n in range(4)])

    def look() -> None:
        assert kling(capsys, "journal", "verify", "j.sqlite").err == "4 jobs, 4 files in out: all as noted\n"
        paths = sorted(Path("out").iterdir())
        paths[0].unlink()
        paths[1].write_bytes(b"cut")
        data = bytearray(paths[2].read_bytes())
        data[-1] ^= 1
        paths[2].write_bytes(data)
        ran = kling(capsys, "journal", "verify", "j.sqlite", "--json")
        assert ran.status == 1
        found = {row["file"]: row["problem"] for row in map(json.loads, ran.out.splitlines())}
        assert found[str(paths[0])] == "is gone"
        assert found[str(paths[1])].startswith("has 3 bytes, not ")
        assert found[str(paths[2])] == "has another content than was stored"
        assert len(found) == 3

    await asyncio.to_thread(look)


@pytest.mark.anyio
async def test_compact_gives_room_back_and_not_while_a_run_holds_it(capsys: Capture, tmp_path: Path) -> None:
    """Digests of files that are gone go, no job does; a journal that is held is refused."""
    pictures = [tmp_path / f"{n}.png" for n in range(60)]
    for path in pictures:
        path.write_bytes(png(320, 320))
    async with Journal("j.sqlite", now=lambda: 0.0) as journal:
        for path in pictures:
            await journal.digests.of_file(path)
        await asyncio.gather(*(journal.put(job(n)) for n in range(300)))
        held = await asyncio.to_thread(kling, capsys, "journal", "compact", "j.sqlite")
        assert held.status == 1 and "another process holds it" in held.err
    for path in pictures[1:]:
        path.unlink()
    before = (tmp_path / "j.sqlite").stat().st_size
    ran = await asyncio.to_thread(kling, capsys, "journal", "compact", "j.sqlite")
    assert ran.status == 0 and f"j.sqlite: {before} bytes, now " in ran.err
    assert (tmp_path / "j.sqlite").stat().st_size < before
    with JournalView("j.sqlite") as view:
        assert view.count() == 300
        assert await view.digest(str(pictures[0])) is not None
        assert await view.digest(str(pictures[1])) is None
    async with Journal("j.sqlite") as journal:
        assert len([entry async for entry in journal.entries()]) == 300


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such journal"),
        (b"", "it is empty"),
        (b"text", "it is not a journal"),
        (b"SQLite format 3\x00" + bytes(100), "a database of another program"),
    ],
)
def test_what_is_no_journal_is_said_and_left_alone(
    content: bytes | None, words: str, capsys: Capture
) -> None:
    """Each action refuses it in one line; nothing is made or changed."""
    if content is not None:
        Path("j.sqlite").write_bytes(content)
    before = {path: path.read_bytes() for path in Path().iterdir()}
    for action in ("show", "export", "verify", "compact", "move"):
        ran = kling(capsys, "journal", action, "j.sqlite")
        assert ran.status == 1 and words in ran.err and ran.out == ""
    assert {path: path.read_bytes() for path in Path().iterdir()} == before
    with pytest.raises(JournalError), JournalView("j.sqlite"):
        pass
