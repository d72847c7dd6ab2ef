"""The journal's entry of a job: how far the job has come, and what a new run has to do for it.

Pure: no clock, no I/O. The encoded form is read by later versions; tests pin its bytes.
"""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from kling_async.batch.identity import external_id
from kling_async.records import TaskRecord
from kling_async.redaction import keepable

__all__ = [
    "Entry",
    "Failure",
    "JobState",
    "JournaledFile",
    "ResumeAction",
    "Times",
    "advance",
    "cost_of",
    "dump_record",
    "failure_of",
    "follows",
    "load_record",
    "mark_missing",
    "mark_unsent",
    "next_attempt",
    "pack",
    "results_expired",
    "resume",
    "revive",
    "settled",
    "spent_on",
    "unpack",
]

# -- states


class JobState(enum.IntEnum):
    """How far a job has come. The numbers are stored."""

    PLANNED = 0
    """Written down before the first byte of its create: the task may exist."""
    CREATED = 1
    """The vendor has accepted; the task's id is known."""
    SUCCEEDED = 2
    """The task succeeded; its files are not stored yet."""
    DONE = 3
    """Finished: files stored, or none wanted."""
    FAILED = 4
    """Ended without a result."""


class ResumeAction(enum.Enum):
    """The work that a new run has left for a job."""

    CREATE = "create"
    """Nothing was sent, or every create was refused: send it."""
    CREATE_DOUBTFUL = "create_doubtful"
    """The create may have been sent: look for the task by its external id, then send."""
    RETRY = "retry"
    """The task failed for a reason that may not recur, and ``retries`` allows another: make a new one."""
    WAIT = "wait"
    """The task runs, or has ended since: wait for it."""
    FETCH = "fetch"
    """The task succeeded, its files are missing: fetch them, after one query that renews their addresses."""
    NOTHING = "nothing"
    """The job is finished, with or without a result."""


_NEXT: Final = {
    JobState.PLANNED: set(JobState),
    JobState.CREATED: {JobState.CREATED, JobState.SUCCEEDED, JobState.DONE, JobState.FAILED},
    # to FAILED: the vendor has deleted the files
    JobState.SUCCEEDED: {JobState.SUCCEEDED, JobState.DONE, JobState.FAILED},
    # to itself: a later run fetches files that the first one did not want
    JobState.DONE: {JobState.DONE},
    # to planned: nothing proves that the create was refused, so a later run repeats it under the same id
    JobState.FAILED: {JobState.FAILED, JobState.PLANNED},
}
"""Legal moves within one attempt."""


def follows(state: JobState, attempt: int, new_state: JobState, new_attempt: int) -> bool:
    """Tell whether a job may move from one state to another: forward only, within an attempt.

    The next attempt begins at planned; a job that succeeded has none.
    """
    if new_attempt == attempt + 1:
        return new_state is JobState.PLANNED and state not in (JobState.SUCCEEDED, JobState.DONE)
    return new_attempt == attempt and new_state in _NEXT[state]


# -- what is stored


class JournaledFile(msgspec.Struct, frozen=True, array_like=True):
    """A stored file of a result."""

    name: str
    """Relative to the batch's folder."""
    size: int
    """In bytes."""
    sha256: str = ""
    """Hash of the content in hexadecimal; empty where an older version stored the file."""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why a job failed: enough for the message of a later run."""

    kind: str
    """Name of the error's class."""
    message: str
    facts: dict[str, str | bool | int | float | None] = {}
    """Plain attributes of the error: code, HTTP status, ids."""


class Times(msgspec.Struct, frozen=True, array_like=True):
    """Times at which this attempt reached its steps, seconds since 1970; None: not yet."""

    planned: float | None = None
    """When the create was about to be sent; None again once the vendor has surely refused it."""
    created: float | None = None
    ended: float | None = None
    done: float | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The facts that the journal holds of a job.

    Stored as an array: the order of fields is part of the format, and a new field goes to the end, with a
    default.
    """

    identity: str
    """The job's name in its journal, see `batch.identity`."""
    position: int
    """The request's place in the input, from 0."""
    endpoint: str
    """Name of the catalog row."""
    external_task_id: str
    """The id that this attempt's create carries."""
    key: str | None = None
    """The caller's name for the job."""
    label: str = ""
    attempt: int = 0
    state: JobState = JobState.PLANNED
    task_id: str | None = None
    units: str | None = None
    """Units that the task took, as the vendor said at its end: a decimal as text."""
    record: bytes | None = None
    """The task's record in the form of `dump_record`; `load_record` reads it."""
    files: tuple[JournaledFile, ...] | None = None
    """The stored files; None: none were wanted so far."""
    error: Failure | None = None
    """Why the job failed; of a job that has not failed, that the vendor did not know its task lately."""
    account: str = ""
    """Names the account that made the task, so that another one's key is noticed; never holds the key."""
    defaults: dict[str, Any] = {}
    """This package's own defaults that were sent because the caller did not set those fields."""
    times: Times = Times()
    reserved: float = 0.0
    """Units reserved for the task in the batch's budget while its end is not known."""
    pool: str = "video"
    """The pool whose slots and units the task takes."""
    retryable: bool = False
    """The task failed, and a new one may succeed."""
    position_taken: bool = False
    """Another job had this position in an earlier run: this one's files need another index."""
    earlier_units: float = 0.0
    """Units that earlier attempts took, if failed tasks were billed."""

    @property
    def missing(self) -> bool:
        """Whether the vendor, when last asked, did not know the task that it had accepted."""
        return self.error is not None and self.state is JobState.CREATED

    @property
    def ended(self) -> bool:
        """Whether the task's end is known, and thus its cost."""
        return self.state in (JobState.SUCCEEDED, JobState.DONE, JobState.FAILED)

    def __repr__(self) -> str:
        return (
            f"Entry({self.identity[:8]} position={self.position} {self.endpoint} {self.state.name.lower()})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Give rich the short form too: keys and labels are the user's."""
        return [("", repr(self)[len("Entry(") : -1])]


_packer: Final = msgspec.msgpack.Encoder()
_unpacker: Final = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """Encode an entry for the journal."""
    return _packer.encode(entry)


def unpack(data: bytes) -> Entry:
    """Decode an entry of the journal.

    Raises:
        msgspec.DecodeError: The bytes are not an entry.
    """
    return _unpacker.decode(data)


# -- steps


def advance(entry: Entry, state: JobState, **facts: Any) -> Entry:
    """Return the entry in a later state of the same attempt, with fields that became known.

    A finished entry shrinks to what an outcome needs; one whose files are stored drops its record.

    Raises:
        ValueError: That state cannot follow.
    """
    if not follows(entry.state, entry.attempt, state, entry.attempt):
        raise ValueError(f"a job does not go from {entry.state.name.lower()} to {state.name.lower()}")
    # no error but that of this state: a task that was missing and is found again has none
    new = msgspec.structs.replace(entry, state=state, **{"error": None, **facts})
    if state not in (JobState.DONE, JobState.FAILED):
        return new
    record = None if state is JobState.FAILED or new.files else new.record
    return msgspec.structs.replace(new, defaults={}, record=record)


def next_attempt(entry: Entry, journal_id: str, **facts: Any) -> Entry:
    """Return the entry of the next attempt, not sent yet: a new task under a new external id.

    Raises:
        ValueError: The job succeeded.
    """
    attempt = entry.attempt + 1
    if not follows(entry.state, entry.attempt, JobState.PLANNED, attempt):
        raise ValueError(f"a job that is {entry.state.name.lower()} is not attempted again")
    return Entry(
        identity=entry.identity,
        position=entry.position,
        endpoint=entry.endpoint,
        external_task_id=external_id(journal_id, entry.identity, attempt),
        key=entry.key,
        label=entry.label,
        pool=entry.pool,
        position_taken=entry.position_taken,
        attempt=attempt,
        earlier_units=round(entry.earlier_units + cost_of(entry), 6),
        **facts,
    )


def revive(entry: Entry) -> Entry:
    """Return a failed job's entry as that of a create of unknown fate, to be repeated under the same id."""
    times = Times(planned=entry.times.planned or 0.0)
    return msgspec.structs.replace(entry, state=JobState.PLANNED, error=None, retryable=False, times=times)


def mark_unsent(entry: Entry) -> Entry:
    """Return the entry of a job whose create the vendor surely refused: no task exists, nothing is owed."""
    return msgspec.structs.replace(entry, times=Times(), reserved=0.0)


def mark_missing(entry: Entry, failure: Failure) -> Entry:
    """Return the entry of a job whose task the vendor does not know now: a later run asks again."""
    return msgspec.structs.replace(entry, error=failure)


def results_expired(entry: Entry, now: float) -> bool:
    """Tell whether the vendor has surely deleted the results of the task, if it ever had any."""
    created = entry.times.created or entry.times.planned
    return created is not None and created > 0 and created + _RETENTION <= now


def settled(entry: Entry, now: float) -> Entry:
    """Return the entry as it counts at a time: a missing task whose results have expired has failed."""
    if not entry.missing or not results_expired(entry, now):
        return entry
    times = msgspec.structs.replace(entry.times, done=now)
    return advance(entry, JobState.FAILED, error=entry.error, times=times)


_RETENTION: Final = 30 * 86400.0
"""Seconds for which the vendor keeps results."""


def cost_of(entry: Entry) -> float:
    """Return the units that this attempt took: as the vendor said, else, if it succeeded, the reservation."""
    if entry.units is not None:
        return float(entry.units)
    return entry.reserved if entry.state in (JobState.SUCCEEDED, JobState.DONE) else 0.0


def spent_on(entry: Entry) -> float:
    """Return the units that all attempts seen ended took."""
    return round(entry.earlier_units + (cost_of(entry) if entry.ended else 0.0), 6)


def resume(entry: Entry, *, wanted_files: bool, retries: int = 0) -> ResumeAction:
    """Return what a new run has to do for this job.

    Args:
        entry: As the journal has it.
        wanted_files: Whether the new run stores files.
        retries: How many new tasks may be made for one that failed.
    """
    state = entry.state
    # first, and without looking up members of an enum: a resumed batch asks this 100,000 times
    if state is _DONE and (entry.files is not None or not wanted_files):
        return _NOTHING_LEFT
    match state:
        case JobState.PLANNED:
            return ResumeAction.CREATE if entry.times.planned is None else ResumeAction.CREATE_DOUBTFUL
        case JobState.CREATED:
            return ResumeAction.WAIT
        case JobState.FAILED if entry.retryable and entry.attempt < retries:
            return ResumeAction.RETRY
        case JobState.SUCCEEDED | JobState.DONE if wanted_files and entry.files is None:
            return ResumeAction.FETCH
        case _:
            return ResumeAction.NOTHING


_DONE: Final = JobState.DONE
_NOTHING_LEFT: Final = ResumeAction.NOTHING


# -- records and errors without secrets

_MESSAGE_MAX: Final = 300
"""Most characters of a failure's message that are kept."""
_NOTHING: Final = msgspec.Raw(b"null")


class _StoredRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a `TaskRecord` that an `Entry` does not hold itself."""

    status: str = ""
    message: str = ""
    created_at: int = 0
    updated_at: int = 0
    result_data: msgspec.Raw = _NOTHING


_plain: Final = msgspec.json.Decoder()
_stored: Final = msgspec.json.Decoder(_StoredRecord)


def dump_record(record: TaskRecord) -> bytes:
    """Encode a task's record for its entry, as JSON: no signed queries in addresses, no Base64.

    One query by task id renews the addresses when they are needed again.
    """
    result = keepable(_plain.decode(record.result_data))
    return msgspec.json.encode(
        _StoredRecord(
            record.status,
            _short(record.message),
            record.created_at,
            record.updated_at,
            _NOTHING if result is None else msgspec.Raw(msgspec.json.encode(result)),
        )
    )


def load_record(entry: Entry) -> TaskRecord | None:
    """Return the task's record as far as the entry holds it; None if it holds none."""
    if entry.record is None or entry.task_id is None:
        return None
    stored = _stored.decode(entry.record)
    return TaskRecord(
        endpoint=entry.endpoint,
        task_id=entry.task_id,
        external_task_id=entry.external_task_id,
        status=stored.status,
        message=stored.message,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        units=entry.units,
        result_data=stored.result_data,
    )


def failure_of(error: BaseException) -> Failure:
    """Return the record of an error: class, short message and plain attributes, without secrets."""
    facts = {
        name: _short(value) if isinstance(value, str) else value
        for name, value in vars(error).items()
        if isinstance(value, str | int | float | None)
    }
    return Failure(type(error).__name__, _short(str(error)), facts)


def _short(text: str) -> str:
    text = str(keepable(text))
    return text if len(text) <= _MESSAGE_MAX else text[: _MESSAGE_MAX - 3] + "..."
