"""Journals of earlier versions open and resume: the file in ``data`` holds a job in every state."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import TaskFailed
from kling_async.batch.entry import Entry, JobState, ResumeAction, load_record, pack, resume, unpack
from kling_async.batch.identity import external_id, fingerprint, identity
from kling_async.batch.journal import Journal
from kling_async.catalog import endpoint_of
from tests.batch.make_journal import label, png, requests
from tests.support import client_of, pair

if TYPE_CHECKING:
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

OLD = Path(__file__).with_name("data") / "journal-0.1.sqlite"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A copy of the old journal."""
    return Path(shutil.copy(OLD, tmp_path / "jobs.sqlite"))


async def entries_of(journal: Path) -> dict[str, Entry]:
    """All entries, by key."""
    async with Journal(journal) as opened:
        return {str(entry.key): entry async for entry in opened.entries()}


async def test_entries_have_the_bytes_they_had(journal: Path) -> None:
    """Read and written again, each is the same to the byte, but for two additions since.

    16 units, once a whole number, are 16.0; stored files end with a hash, and failures with facts.
    """
    with closing(sqlite3.connect(f"file:{OLD}?mode=ro&immutable=1", uri=True)) as db:
        rows = dict(db.execute("SELECT number, entry FROM jobs ORDER BY number"))
    added = {number for number, data in rows.items() if unpack(data).files or unpack(data).error}
    again = {number: pack(unpack(data)) for number, data in rows.items()}
    plain = msgspec.msgpack.decode
    assert {number for number in rows if again[number] != rows[number]} <= added
    for number in added:
        before, after = plain(rows[number]), plain(again[number])
        for file in after[11] or ():
            assert file.pop() == ""
        if after[12]:
            assert after[12].pop() == {}
        assert after == before
    async with Journal(journal) as opened:
        assert [pack(entry) async for entry in opened.entries()] == list(again.values())


async def test_jobs_have_the_names_they_had(journal: Path, tmp_path: Path) -> None:
    """Fingerprint, identity and external id come out as in the version that wrote them."""
    picture = tmp_path / "in.png"
    picture.write_bytes(png())
    entries = await entries_of(journal)
    async with Journal(journal) as opened:
        for key, request in requests(picture).items():
            digests = await opened.digests.of_request(request)
            name = identity(key, fingerprint(endpoint_of(request).name, request, digests), 0)
            entry = entries[key]
            assert entry.identity == name
            assert entry.external_task_id == external_id(opened.id, name, entry.attempt)
            assert entry.label == label(request)


async def test_each_state_is_what_it_was(journal: Path) -> None:
    """And so is what is left to do."""
    entries = await entries_of(journal)
    left = {key: (entry.state, resume(entry, wanted_files=True, retries=1)) for key, entry in entries.items()}
    assert left == {
        "plain": (JobState.DONE, ResumeAction.FETCH),
        "clip": (JobState.DONE, ResumeAction.NOTHING),
        "stills": (JobState.DONE, ResumeAction.NOTHING),
        "animated": (JobState.DONE, ResumeAction.NOTHING),
        "files missing": (JobState.SUCCEEDED, ResumeAction.FETCH),
        "moderated": (JobState.FAILED, ResumeAction.NOTHING),
        "broken": (JobState.FAILED, ResumeAction.RETRY),
        "running": (JobState.CREATED, ResumeAction.WAIT),
        "sent, made": (JobState.PLANNED, ResumeAction.CREATE_DOUBTFUL),
        "sent, not made": (JobState.PLANNED, ResumeAction.CREATE_DOUBTFUL),
        "out of units": (JobState.PLANNED, ResumeAction.CREATE),
    }
    record = load_record(entries["plain"])
    assert record is not None and record.status == "succeed" and b'"videos"' in bytes(record.result_data)


def store_files(entries: dict[str, Entry], folder: Path) -> None:
    """Put files of the right length where the old version stored its own."""
    folder.mkdir()
    for entry in entries.values():
        for file in entry.files or ():
            (folder / file.name).write_bytes(bytes(file.size))


async def make_again(
    emu: Emulator, entries: dict[str, Entry], made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give the emulator the tasks that the vendor has made for the old version, under their ids."""
    async with client_of(emu) as vendor:
        for key, request in made.items():
            entry = entries[key]
            if entry.task_id is not None:
                ids = iter([entry.task_id, f"{entry.task_id}0"])  # of the task, of its video
                monkeypatch.setattr(emu._account.ids, "next", partial(next, ids))
            await vendor.submit(request, external_task_id=entry.external_task_id)
            monkeypatch.undo()
    for key in ("plain", "files missing"):
        emu.finish(entries[key].task_id or "")


async def test_a_batch_resumes_it(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished jobs are remembered, running tasks adopted, files fetched; only what is missing is made."""
    picture, folder = tmp_path / "in.png", tmp_path / "out"
    picture.write_bytes(png())
    entries = await entries_of(journal)
    store_files(entries, folder)
    asked = requests(picture)
    made = {key: asked[key] for key in ("plain", "files missing", "running", "sent, made")}
    options: dict[str, Any] = {
        "journal": journal,
        "download_to": folder,
        "name": "{index}",
        "max_units": 1000,
        "retries": 1,
        "label": label,
    }
    async with pair(seconds=60, seed=1) as (emu, client):
        await make_again(emu, entries, made, monkeypatch)
        creates = len(emu.ledger.creates)
        async with client.batch(list(asked.items()), **options) as results:
            found = {outcome.key: outcome async for outcome in results}
        assert set(found) == set(asked)
        for key, outcome in found.items():
            assert outcome.ok == (key != "moderated"), (key, outcome.error)
            assert outcome.resumed == (key in {"clip", "stills", "animated", "moderated"})
            assert outcome.attempts == (2 if key == "broken" else 1)
            assert bool(outcome.files) == outcome.ok and all(file.exists() for file in outcome.files)
        error = found["moderated"].error
        assert type(error) is TaskFailed and "risk control" in error.record.message
        new = [row.external_task_id for row in emu.ledger.creates[creates:] if row.code == 0]
        assert len(new) == 3 and len(emu.tasks) == len(made) + 3
        prompts = sorted(task.body["prompt"] for task in emu.tasks.values())
        assert prompts == sorted([*made, "sent, not made", "broken", "out of units"])
        assert entries["sent, not made"].external_task_id in new
        report = results.report
        assert report.units == {"video": 27.0, "image": 16.0} and "1 failed for good" in report.advice
        async with client.batch(list(asked.items()), **options) as results:
            assert [outcome.resumed async for outcome in results] == [True] * len(asked)
        assert len(emu.tasks) == len(made) + 3
