"""A job in the journal: it only goes forward, shrinks when it is finished, and holds no secret."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.batch.entry import (
    Entry,
    Failure,
    JobState,
    JournaledFile,
    ResumeAction,
    Times,
    advance,
    cost_of,
    dump_record,
    failure_of,
    follows,
    load_record,
    mark_unsent,
    next_attempt,
    pack,
    resume,
    unpack,
)
from kling_async.batch.identity import external_id, identity
from kling_async.errors import DownloadError
from kling_async.records import TaskRecord, decode_task

NAME = identity("scene-1", "0" * 32, 0)
SIGNED = "https://cdn.example.com/a/b.mp4?sig=SECRET&t=1#x"
TASK = {
    "task_id": "847",
    "task_status": "succeed",
    "task_info": {"external_task_id": "e"},
    "task_result": {
        "videos": [{"id": "v-1", "url": SIGNED, "duration": "5.041", "note": f"see {SIGNED}, or ask"}],
        "cover": "data:image/png;base64,AAAA",
        "sound": "QUJD" * 2000,
    },
    "created_at": 1_760_000_000_000,
    "updated_at": 1_760_000_100_000,
    "final_unit_deduction": "3.5",
}
RECORD = decode_task("text_to_video", msgspec.json.encode(TASK))
STORED = (JournaledFile("847.mp4", 1000),)


def entry(state: JobState = JobState.PLANNED, **more: Any) -> Entry:
    facts: dict[str, Any] = {
        "identity": NAME,
        "position": 3,
        "endpoint": "text_to_video",
        "external_task_id": external_id("journal", NAME, 0),
        "key": "scene-1",
        "label": "night",
        "account": "a1",
        "defaults": {"model_name": "kling-v3"},
        "times": Times(planned=1.5),
    }
    facts |= {"state": state, **more}
    return Entry(**facts)


# --- states -----------------------------------------------------------------------------------------


def test_states_go_forward_only() -> None:
    """The whole table, within an attempt."""
    allowed = {(a.name, b.name) for a, b in itertools.product(JobState, JobState) if follows(a, 0, b, 0)}
    assert allowed == {
        *itertools.product(["PLANNED"], ["PLANNED", "CREATED", "SUCCEEDED", "DONE", "FAILED"]),
        *itertools.product(["CREATED"], ["CREATED", "SUCCEEDED", "DONE", "FAILED"]),
        *itertools.product(["SUCCEEDED"], ["SUCCEEDED", "DONE", "FAILED"]),
        ("DONE", "DONE"),
        ("FAILED", "FAILED"),
    }


def test_an_attempt_begins_at_planned_and_not_after_success() -> None:
    """What succeeded is never bought again; attempts are not skipped, and never go back."""
    begun = {(a.name, b.name) for a, b in itertools.product(JobState, JobState) if follows(a, 1, b, 2)}
    assert begun == {(name, "PLANNED") for name in ("PLANNED", "CREATED", "FAILED")}
    for old, new in [(1, 0), (0, 2)]:
        assert not any(follows(a, old, b, new) for a, b in itertools.product(JobState, JobState))


def test_the_numbers_of_states_are_pinned() -> None:
    """They are stored."""
    assert [(state.name, state.value) for state in JobState] == [
        ("PLANNED", 0),
        ("CREATED", 1),
        ("SUCCEEDED", 2),
        ("DONE", 3),
        ("FAILED", 4),
    ]


def test_to_advance_takes_what_became_known() -> None:
    """State and facts change together; what does not follow is refused."""
    created = advance(entry(), JobState.CREATED, task_id="847", times=Times(1.5, 2.5))
    assert (created.state, created.task_id, created.times.created) == (JobState.CREATED, "847", 2.5)
    assert created.defaults == {"model_name": "kling-v3"}
    with pytest.raises(ValueError, match="does not go from created to planned"):
        advance(created, JobState.PLANNED)


@pytest.mark.parametrize(
    ("state", "files", "keeps"),
    [
        pytest.param(JobState.DONE, STORED, False, id="files stored"),
        pytest.param(JobState.DONE, None, True, id="no files wanted"),
        pytest.param(JobState.DONE, (), True, id="no files in the result"),
        pytest.param(JobState.FAILED, None, False, id="failed"),
    ],
)
def test_what_is_finished_shrinks(
    state: JobState, files: tuple[JournaledFile, ...] | None, keeps: bool
) -> None:
    """An outcome's facts stay; the record stays only where it is all that the result left."""
    running = entry(JobState.SUCCEEDED, task_id="847", units="3.5", record=dump_record(RECORD))
    shrunk = advance(running, state, files=files)
    assert (shrunk.record is not None) is keeps
    assert shrunk.defaults == {}
    for fact in (
        "account",
        "identity",
        "position",
        "key",
        "label",
        "task_id",
        "units",
        "times",
        "external_task_id",
    ):
        assert getattr(shrunk, fact) == getattr(running, fact)
    assert len(pack(shrunk)) < len(pack(running))


def test_the_next_attempt_is_a_new_task_of_the_same_job() -> None:
    """Under a new external id; nothing of the failed task is left."""
    failed = advance(entry(task_id="847"), JobState.FAILED, error=Failure("TaskFailed", "m"))
    again = next_attempt(failed, "journal", account="a1")
    assert again == Entry(
        identity=NAME,
        position=3,
        endpoint="text_to_video",
        external_task_id=external_id("journal", NAME, 1),
        key="scene-1",
        label="night",
        attempt=1,
        account="a1",
    )
    assert again.external_task_id != failed.external_task_id
    with pytest.raises(ValueError, match="done is not attempted again"):
        next_attempt(entry(JobState.DONE), "journal")


@pytest.mark.parametrize(
    ("state", "files", "wanted", "plan"),
    [
        (JobState.PLANNED, None, True, ResumeAction.CREATE_DOUBTFUL),
        (JobState.PLANNED, None, False, ResumeAction.CREATE_DOUBTFUL),
        (JobState.CREATED, None, True, ResumeAction.WAIT),
        (JobState.CREATED, None, False, ResumeAction.WAIT),
        (JobState.SUCCEEDED, None, True, ResumeAction.FETCH),
        (JobState.SUCCEEDED, None, False, ResumeAction.NOTHING),
        (JobState.DONE, None, True, ResumeAction.FETCH),
        (JobState.DONE, None, False, ResumeAction.NOTHING),
        (JobState.DONE, (), True, ResumeAction.NOTHING),
        (JobState.DONE, STORED, True, ResumeAction.NOTHING),
        (JobState.FAILED, None, True, ResumeAction.NOTHING),
    ],
    ids=str,
)
def test_what_a_new_run_does(
    state: JobState, files: tuple[JournaledFile, ...] | None, wanted: bool, plan: ResumeAction
) -> None:
    """Look before a doubtful create, wait, fetch, or nothing; files wanted later are fetched later."""
    assert resume(entry(state, files=files), wanted_files=wanted) is plan


def test_what_failed_attempts_took_is_remembered() -> None:
    """Attempt by attempt; a task that succeeded without a bill costs what was set aside."""
    first = advance(entry(task_id="1", reserved=3.0), JobState.FAILED, units="2.5", error=Failure("x", "m"))
    second = next_attempt(first, "journal")
    assert (second.earlier, cost_of(second), cost_of(first)) == (2.5, 0.0, 2.5)
    third = next_attempt(advance(second, JobState.FAILED, units="0.1", error=Failure("x", "m")), "journal")
    assert third.earlier == 2.6
    done = advance(entry(reserved=3.0), JobState.DONE)
    assert (cost_of(done), cost_of(advance(done, JobState.DONE, units="2"))) == (3.0, 2.0)


def test_a_create_that_was_surely_refused_is_no_doubt() -> None:
    """Its row stays, but says that nothing of it exists or costs; to send it needs no search."""
    sent = entry(JobState.PLANNED, reserved=3.0)
    refused = mark_unsent(sent)
    assert resume(sent, wanted_files=False) is ResumeAction.CREATE_DOUBTFUL
    assert resume(refused, wanted_files=False) is ResumeAction.CREATE
    assert (refused.reserved, refused.external_task_id) == (0.0, sent.external_task_id)
    assert follows(sent.state, 0, refused.state, 0)


@pytest.mark.parametrize(
    ("again", "attempt", "retries", "plan"),
    [
        (True, 0, 1, ResumeAction.RETRY),
        (True, 1, 2, ResumeAction.RETRY),
        (True, 1, 1, ResumeAction.NOTHING),
        (True, 0, 0, ResumeAction.NOTHING),
        (False, 0, 5, ResumeAction.NOTHING),
    ],
    ids=str,
)
def test_a_failed_task_is_made_again_only_where_asked(
    again: bool, attempt: int, retries: int, plan: ResumeAction
) -> None:
    """In a later run too: where the reason may not come again, as often as this run allows in all."""
    failed = entry(JobState.FAILED, again=again, attempt=attempt)
    assert resume(failed, wanted_files=True, retries=retries) is plan


# --- stored -----------------------------------------------------------------------------------------


def test_the_stored_form_is_pinned() -> None:
    """Journals of this version are read by later ones: an array of the fields in this order."""
    full = entry(
        JobState.FAILED,
        attempt=2,
        task_id="847",
        units="3.5",
        record=b"{}",
        files=STORED,
        error=Failure("TaskFailed", "m"),
        times=Times(1.5, 2.5, None, 4.5),
        pool="image",
    )
    assert msgspec.msgpack.decode(pack(full)) == [
        NAME,
        3,
        "text_to_video",
        external_id("journal", NAME, 0),
        "scene-1",
        "night",
        2,
        4,
        "847",
        "3.5",
        b"{}",
        [["847.mp4", 1000]],
        ["TaskFailed", "m"],
        "a1",
        {"model_name": "kling-v3"},
        [1.5, 2.5, None, 4.5],
        0.0,
        "image",
        False,
        False,
        0.0,
    ]
    assert unpack(pack(full)) == full


def test_older_and_newer_arrays_are_read() -> None:
    """Fields that are missing at the end have their defaults; those that came later are ignored."""
    assert unpack(msgspec.msgpack.encode([NAME, 3, "e", "x"])).times == Times()
    longer = [*msgspec.msgpack.decode(pack(entry())), "new"]
    assert unpack(msgspec.msgpack.encode(longer)) == entry()


def test_what_is_no_entry_is_refused() -> None:
    """Damaged bytes are an error, not an entry."""
    for data in (b"", b"\xc1", pack(entry())[:-1], msgspec.msgpack.encode([1])):
        with pytest.raises(msgspec.DecodeError):
            unpack(data)


@given(st.text(), st.one_of(st.none(), st.text()), st.text())
def test_any_text_of_a_caller_s_is_stored(label: str, key: str | None, message: str) -> None:
    """Keys, labels and messages in any script come back as they were."""
    texts = [text.encode("utf-8", "replace").decode() for text in (label, message)]
    name = None if key is None else key.encode("utf-8", "replace").decode()
    before = entry(label=texts[0], key=name, error=Failure("E", texts[1]))
    assert unpack(pack(before)) == before


# --- no secrets -------------------------------------------------------------------------------------


def test_a_kept_record_gives_the_result_without_queries_and_payloads() -> None:
    """Addresses lose their queries wherever they stand; Base64 is left out; the rest stays."""
    data = dump_record(RECORD)
    assert b"SECRET" not in data and b"AAAA" not in data and b"QUJD" not in data
    record = load_record(entry(JobState.SUCCEEDED, task_id="847", units="3.5", record=data))
    assert record is not None
    bare = "https://cdn.example.com/a/b.mp4"
    assert msgspec.json.decode(record.result_data) == {
        "videos": [{"id": "v-1", "url": bare, "duration": "5.041", "note": f"see {bare} or ask"}],
        "cover": "<26 characters>",
        "sound": "<8000 characters>",
    }
    for fact in ("endpoint", "task_id", "status", "created_at", "updated_at", "units"):
        assert getattr(record, fact) == getattr(RECORD, fact)


def test_a_record_without_a_result_is_kept_small() -> None:
    """Of a task that runs there is next to nothing to keep; without a record there is none."""
    running = TaskRecord(endpoint="text_to_video", task_id="847", status="processing")
    assert dump_record(running) == b'{"status":"processing"}'
    record = load_record(entry(JobState.CREATED, task_id="847", record=dump_record(running)))
    assert record is not None and bytes(record.result_data) == b"null"
    assert load_record(entry(JobState.CREATED, task_id="847")) is None


def test_an_error_is_kept_short_and_without_queries() -> None:
    """Class and text; no signed address, no long page."""
    failure = failure_of(DownloadError(f"{SIGNED} answered {'x' * 1000}"))
    assert failure.kind == "DownloadError"
    assert failure.message.startswith("https://cdn.example.com/a/b.mp4 answered x")
    assert len(failure.message) == 300


def test_an_entry_shows_no_more_than_its_place() -> None:
    """Its repr holds neither key nor record; rich shows the same."""
    shown = repr(entry(JobState.CREATED, record=dump_record(RECORD)))
    assert shown == f"Entry({NAME[:8]} position=3 text_to_video created)"
    assert entry().__rich_repr__() == [("", repr(entry())[6:-1])]
