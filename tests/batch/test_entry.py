"""Test batch/entry.py: entries only move forward, shrink at the end, and hold no secret."""

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
    mark_missing,
    mark_unsent,
    next_attempt,
    pack,
    results_expired,
    resume,
    settled,
    spent_on,
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
STORED = (JournaledFile("847.mp4", 1000, "5e"),)


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
    """Within an attempt exactly the moves of the table are allowed."""
    allowed = {(a.name, b.name) for a, b in itertools.product(JobState, JobState) if follows(a, 0, b, 0)}
    assert allowed == {
        *itertools.product(["PLANNED"], ["PLANNED", "CREATED", "SUCCEEDED", "DONE", "FAILED"]),
        *itertools.product(["CREATED"], ["CREATED", "SUCCEEDED", "DONE", "FAILED"]),
        *itertools.product(["SUCCEEDED"], ["SUCCEEDED", "DONE", "FAILED"]),
        ("DONE", "DONE"),
        ("FAILED", "FAILED"),
        ("FAILED", "PLANNED"),  # tried again under the same id, where nothing proves a refusal
    }


def test_an_attempt_begins_at_planned_and_not_after_success() -> None:
    """The next attempt begins at planned, never after success; attempts are neither skipped nor repeated."""
    begun = {(a.name, b.name) for a, b in itertools.product(JobState, JobState) if follows(a, 1, b, 2)}
    assert begun == {(name, "PLANNED") for name in ("PLANNED", "CREATED", "FAILED")}
    for old, new in [(1, 0), (0, 2)]:
        assert not any(follows(a, old, b, new) for a, b in itertools.product(JobState, JobState))


def test_the_numbers_of_states_are_pinned() -> None:
    """The numbers of the states are part of the stored form."""
    assert [(state.name, state.value) for state in JobState] == [
        ("PLANNED", 0),
        ("CREATED", 1),
        ("SUCCEEDED", 2),
        ("DONE", 3),
        ("FAILED", 4),
    ]


def test_advance_changes_state_and_fields() -> None:
    """``advance`` changes state and fields together, and refuses a state that cannot follow."""
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
def test_a_finished_entry_shrinks(
    state: JobState, files: tuple[JournaledFile, ...] | None, keeps: bool
) -> None:
    """A finished entry keeps what an outcome needs; the record only where no files are stored."""
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
    """The next attempt has a new external id and nothing of the failed task."""
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
def test_each_state_has_its_resume_action(
    state: JobState, files: tuple[JournaledFile, ...] | None, wanted: bool, plan: ResumeAction
) -> None:
    """For each state a new run searches, waits, fetches or does nothing; files wanted later are fetched."""
    assert resume(entry(state, files=files), wanted_files=wanted) is plan


def test_costs_add_up_over_attempts() -> None:
    """Costs add up over attempts; a task that succeeded without a bill costs its reservation."""
    first = advance(entry(task_id="1", reserved=3.0), JobState.FAILED, units="2.5", error=Failure("x", "m"))
    second = next_attempt(first, "journal")
    assert (second.earlier_units, cost_of(second), cost_of(first)) == (2.5, 0.0, 2.5)
    third = next_attempt(advance(second, JobState.FAILED, units="0.1", error=Failure("x", "m")), "journal")
    assert third.earlier_units == 2.6
    done = advance(entry(reserved=3.0), JobState.DONE)
    assert (cost_of(done), cost_of(advance(done, JobState.DONE, units="2"))) == (3.0, 2.0)


MONTH = 30 * 86400.0
LOST = Failure("TaskNotFound", "task 847 is not known", {"id": "847", "request_id": ""})


@given(
    created=st.one_of(st.none(), st.floats(1, 2e9)),
    planned=st.one_of(st.none(), st.floats(0, 2e9)),
    age=st.floats(-MONTH, 3 * MONTH),
)
def test_a_missing_task_has_failed_once_its_results_have_expired(
    created: float | None, planned: float | None, age: float
) -> None:
    """Until 30 days after the creation a new run asks again; then the job has failed, and may be retried."""
    before = entry(JobState.CREATED, task_id="847", times=Times(planned=planned, created=created))
    missing = mark_missing(before, LOST)
    begun = created or planned
    now = (begun or 1e9) + age
    assert missing.missing and not before.missing and follows(before.state, 0, missing.state, 0)
    assert unpack(pack(missing)) == missing
    counts = settled(missing, now)
    assert settled(before, now) is before and settled(counts, now) is counts
    assert results_expired(before, now) == (counts.state is JobState.FAILED)
    if not begun or now < begun + MONTH:
        assert counts is missing
        assert resume(counts, wanted_files=True) is ResumeAction.WAIT
    else:
        assert (counts.state, counts.error, counts.missing) == (JobState.FAILED, LOST, False)
        assert resume(counts, wanted_files=True, retries=9) is ResumeAction.NOTHING
        again = next_attempt(counts, "journal")
        assert follows(missing.state, 0, again.state, again.attempt)


@pytest.mark.parametrize("found", [JobState.CREATED, JobState.SUCCEEDED, JobState.DONE])
def test_a_task_that_is_found_again_is_not_missing(found: JobState) -> None:
    """An entry that moves on drops the error; a later failure brings its own."""
    missing = mark_missing(entry(JobState.CREATED, task_id="847"), LOST)
    assert advance(missing, found).error is None
    other = Failure("TaskFailed", "m")
    assert advance(missing, JobState.FAILED, error=other).error == other


def test_units_of_ended_attempts_are_spent() -> None:
    """What an attempt under way has reserved is not spent yet."""
    assert spent_on(entry(JobState.CREATED, reserved=3.0, earlier_units=0.1)) == 0.1
    assert spent_on(entry(JobState.DONE, reserved=3.0, earlier_units=0.1)) == 3.1
    assert spent_on(entry(JobState.FAILED, reserved=3.0, units="0.2", earlier_units=0.1)) == 0.3


def test_a_refused_create_leaves_no_doubt() -> None:
    """After a sure refusal the entry says that nothing exists, so a new run sends without a search."""
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
def test_a_failed_task_is_retried_only_within_retries(
    again: bool, attempt: int, retries: int, plan: ResumeAction
) -> None:
    """A later run retries a failed job whose reason may not recur, as far as its ``retries`` allow."""
    failed = entry(JobState.FAILED, retryable=again, attempt=attempt)
    assert resume(failed, wanted_files=True, retries=retries) is plan


# --- stored -----------------------------------------------------------------------------------------


def test_the_stored_form_is_pinned() -> None:
    """An entry is an array of these fields in this order; later versions read it."""
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
        [["847.mp4", 1000, "5e"]],
        ["TaskFailed", "m", {}],
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
    """Missing fields at the end get defaults; unknown ones are ignored."""
    assert unpack(msgspec.msgpack.encode([NAME, 3, "e", "x"])).times == Times()
    longer = [*msgspec.msgpack.decode(pack(entry())), "new"]
    assert unpack(msgspec.msgpack.encode(longer)) == entry()
    old = [*msgspec.msgpack.decode(pack(entry(files=STORED)))]
    old[11] = [["847.mp4", 1000]]  # before files had a hash
    assert unpack(msgspec.msgpack.encode(old)).files == (JournaledFile("847.mp4", 1000),)


def test_damaged_bytes_are_refused() -> None:
    """Damaged bytes raise DecodeError."""
    for data in (b"", b"\xc1", pack(entry())[:-1], msgspec.msgpack.encode([1])):
        with pytest.raises(msgspec.DecodeError):
            unpack(data)


@given(st.text(), st.one_of(st.none(), st.text()), st.text())
def test_any_text_of_the_caller_is_stored(label: str, key: str | None, message: str) -> None:
    """Keys, labels and messages in any script are decoded as they were."""
    texts = [text.encode("utf-8", "replace").decode() for text in (label, message)]
    name = None if key is None else key.encode("utf-8", "replace").decode()
    before = entry(label=texts[0], key=name, error=Failure("E", texts[1]))
    assert unpack(pack(before)) == before


# --- no secrets -------------------------------------------------------------------------------------


def test_a_dumped_record_has_no_queries_or_payloads() -> None:
    """A dumped record loses the queries of addresses and Base64, and keeps the rest."""
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


def test_a_running_task_s_record_is_small() -> None:
    """The dumped record of a running task is tiny; an entry without one gives None."""
    running = TaskRecord(endpoint="text_to_video", task_id="847", status="processing")
    assert dump_record(running) == b'{"status":"processing"}'
    record = load_record(entry(JobState.CREATED, task_id="847", record=dump_record(running)))
    assert record is not None and bytes(record.result_data) == b"null"
    assert load_record(entry(JobState.CREATED, task_id="847")) is None


def test_a_failure_is_short_and_without_queries() -> None:
    """A failure keeps class and message, shortened and without signed addresses."""
    failure = failure_of(DownloadError(f"{SIGNED} answered {'x' * 1000}"))
    assert failure.kind == "DownloadError"
    assert failure.message.startswith("https://cdn.example.com/a/b.mp4 answered x")
    assert len(failure.message) == 300


def test_an_entry_s_repr_is_short() -> None:
    """An entry's repr shows neither key nor record, also in rich."""
    shown = repr(entry(JobState.CREATED, record=dump_record(RECORD)))
    assert shown == f"Entry({NAME[:8]} position=3 text_to_video created)"
    assert entry().__rich_repr__() == [("", repr(entry())[6:-1])]
