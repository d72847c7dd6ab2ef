"""The rows of ``kling journal export``: each job comes back as it was, and what is not whole is refused."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import v1
from kling_async.batch import counter
from kling_async.batch.entry import Entry, Failure, JobState, JournaledFile, Times
from kling_async.batch.exported import EXPORT_START, EXPORT_VERSION, StoredLines, read_exported
from kling_async.batch.identity import identity
from kling_async.batch.journal_files import Moved
from kling_async.batch.journal_view import JournalView
from kling_async.cli.journal_rows import job_row
from kling_async.errors import LineInvalid, Problem
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REQUEST = v1.TextToVideo(prompt="a boat").to_dict()

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
time_or_none = st.none() | st.floats(0, 2e9)
facts = st.dictionaries(text, st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | text)
entries = st.builds(
    Entry,
    identity=st.binary(min_size=16, max_size=16).map(bytes.hex),
    position=st.integers(0, 2**40),
    endpoint=st.sampled_from(["text_to_video", "image_generation"]),
    external_task_id=text,
    key=st.none() | text,
    label=text,
    attempt=st.integers(0, 9),
    state=st.sampled_from(JobState),
    task_id=st.none() | text,
    units=st.none() | st.sampled_from(["3.5", "0.0001"]),
    record=st.none() | st.binary(max_size=40),
    files=st.none() | st.lists(st.builds(JournaledFile, text, st.integers(0, 2**50), text)).map(tuple),
    error=st.none() | st.builds(Failure, text, text, facts),
    account=text,
    defaults=st.dictionaries(text, st.booleans() | text),
    times=st.builds(Times, time_or_none, time_or_none, time_or_none, time_or_none),
    reserved=st.floats(0, 100),
    pool=st.sampled_from(["video", "image"]),
    retryable=st.booleans(),
    position_taken=st.booleans(),
    earlier_units=st.floats(0, 100),
)


def view_of(moved: Moved | None = None) -> JournalView:
    """Return a view as one that was entered."""
    view = JournalView("jobs.sqlite")
    view.id, view.moved = "f" * 32, moved
    return view


def export_of(jobs: Sequence[Entry], **more: Any) -> list[bytes]:
    """Return the rows that the command prints for jobs."""
    rows = [{**job_row(view_of(), job, REQUEST), "last": job is jobs[-1], **more} for job in jobs]
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def job(number: int, **more: Any) -> Entry:
    """Return a job that was not sent."""
    name = identity(None, str(number), 0)
    return Entry(identity=name, position=number, endpoint="text_to_video", external_task_id=name, **more)


@given(st.lists(entries, min_size=1, max_size=4, unique_by=lambda entry: entry.identity))
def test_every_entry_comes_back_as_it_was(jobs: list[Entry]) -> None:
    """Whatever states, attempts, times, files and errors jobs have; and the request as it was written."""
    lines = export_of(jobs)
    assert all(line.startswith(EXPORT_START) for line in lines)
    with read_exported(lines) as exported:
        for _ in range(2):  # a move that is repeated reads the rows again
            found = list(exported.jobs())
            # repr tells NaN and the like apart from nothing else
            assert [str(vars_of(each.entry)) for each in found] == [str(vars_of(each)) for each in jobs]
            assert all(each.request == v1.TextToVideo(prompt="a boat") for each in found)


def vars_of(entry: Entry) -> dict[str, Any]:
    """Return all fields."""
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def test_the_rows_say_which_journal_and_where_it_moved() -> None:
    """The journal's name, path, host and mark are the same in all rows; jobs without a row are unknown."""
    moved = Moved(1.5, "host=db", "spring")
    row = {**job_row(view_of(moved), job(0), REQUEST), "last": True}
    with read_exported([json.dumps(row).encode()]) as exported:
        assert (exported.journal, exported.moved) == ("f" * 32, moved)
        assert exported.path == str(Path("jobs.sqlite").resolve())
        assert exported.has_request(job(0).identity) is True
        assert exported.has_request(job(1).identity) is None
        assert not exported.is_here  # the host is, the file is not


def test_an_export_that_was_cut_short_is_refused() -> None:
    """Wherever it was cut, between lines or within one: jobs that no run has begun would be lost."""
    data = b"".join(export_of([job(number) for number in range(3)]))
    for length in range(len(data) - 1):  # without the last line's end it is whole
        with pytest.raises(LineInvalid, match=r"cut short|no row|nothing was exported"):
            read_exported(StoredLines(io.BytesIO(data[:length])))
    read_exported(StoredLines(io.BytesIO(data[:-1]))).close()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (lambda row: row | {"entry": "!"}, "the line", "is no row of kling journal export"),
        (lambda row: {name: row[name] for name in ("journal", "key")}, "the line", "older version"),
        (lambda _: [], "the line", "is no row"),
        (lambda row: row | {"moved": {"place": "x"}}, "the line", "is no row"),
        (lambda row: row | {"version": EXPORT_VERSION + 1}, "the line", "newer version .* upgrade"),
        (lambda row: row | {"journal": "0" * 32}, "journal", "of another journal than the first line"),
        (lambda row: row | {"host": "another"}, "journal", "of another journal than the first line"),
        (lambda row: row | {"moved": {"when": 1, "place": "x", "batch": "y"}}, "journal", "another export"),
        (lambda row: row | {"request": None}, "request", "may have to be sent; export it with --jobs FILE"),
        (lambda row: row | {"request": {"endpoint": "text_to_vide"}}, "endpoint", "text_to_video"),
        (lambda row: row | {"request": {"endpoint": "custom_voices.presets"}}, "endpoint", "makes no task"),
        (
            lambda row: row | {"request": {"endpoint": "image_to_video", "prompt": "x", "image": "a.png"}},
            "image",
            "files=",
        ),
    ],
)
def test_wrong_rows_are_named_by_their_line(change: Callable[[Any], Any], field: str, words: str) -> None:
    """Line, field and fix of whatever is wrong with a row."""
    lines = export_of([job(number) for number in range(3)])
    lines[1] = json.dumps(change(json.loads(lines[1]))).encode()
    with pytest.raises(LineInvalid, match=words) as caught:
        read_exported(lines, source="rows.jsonl")
    error = caught.value
    assert (error.source, error.line, error.problems[0].field) == ("rows.jsonl", 2, field)


def test_jobs_that_were_sent_need_no_request() -> None:
    """What runs and what ended is followed by its id."""
    states = [state for state in JobState if state is not JobState.PLANNED]
    jobs = [job(number, state=state) for number, state in enumerate(states)]
    with read_exported(export_of(jobs, request=None)) as exported:
        assert [each.request for each in exported.jobs()] == [None] * len(jobs)
        assert exported.has_request(jobs[0].identity) is False


def test_the_caller_may_refuse_a_job() -> None:
    """Its line is named."""
    with pytest.raises(LineInvalid, match="is red") as caught:
        read_exported(
            export_of([job(0), job(1, key="red")]),
            check=lambda entry: [Problem("key", "is red")] if entry.key == "red" else [],
        )
    assert caught.value.line == 2


def test_files_come_as_their_contents(tmp_path: Path) -> None:
    """Those below the folder are read; a file elsewhere, or without a folder, is refused."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(320, 320))
    request = {"endpoint": "image_to_video", "prompt": "x", "image": "a.png"}
    lines = export_of([job(0)], request=request)
    with read_exported(lines, files=tmp_path / "in") as exported:
        (found,) = exported.jobs()
        assert isinstance(found.request, v1.ImageToVideo)
        image: Any = found.request.image
        assert image.data == png(320, 320)
    for folder in (None, tmp_path):
        with pytest.raises(LineInvalid):
            read_exported(lines, files=folder)


def test_many_jobs_need_little_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which jobs came is known though names lie in a temporary file; rows stay on the disk."""
    most = 100
    monkeypatch.setattr(counter.SpillMap.__init__, "__defaults__", (most,))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(export_of([job(number) for number in range(1000)])))
    with path.open("rb") as file, read_exported(StoredLines(file)) as exported:
        held = exported._known._recent
        assert len(held) <= most
        assert all(exported.has_request(job(number).identity) for number in range(1000))
        assert exported.has_request(job(1000).identity) is None
        assert [each.entry.position for each in exported.jobs()] == list(range(1000))


def test_a_journal_of_an_older_version_is_exported(tmp_path: Path) -> None:
    """The file of version 0.1, a job in every state: all entries come back."""
    old = Path(__file__).with_name("data") / "journal-0.1.sqlite"
    with JournalView(shutil.copy(old, tmp_path / "jobs.sqlite")) as view:
        jobs = list(view.entries())
        rows = [{**job_row(view, each, REQUEST), "last": each is jobs[-1]} for each in jobs]
    with read_exported([json.dumps(row).encode() for row in rows]) as exported:
        assert [each.entry for each in exported.jobs()] == jobs
        assert {each.state for each in jobs} == set(JobState)
        assert exported.is_here


def test_nothing_is_no_export() -> None:
    """An empty input, or empty lines alone."""
    for lines in ([], [b"\n", b"  \n"]):
        with pytest.raises(LineInvalid, match="nothing was exported"):
            read_exported(lines)
