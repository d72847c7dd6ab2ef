"""A job of a batch, as the journal remembers it: how far it has come, and what to do next."""

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
    "mark_unsent",
    "next_attempt",
    "pack",
    "resume",
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
    """The task's end is known; its files are not stored yet."""
    DONE = 3
    """Finished whole: files stored, or none wanted."""
    FAILED = 4
    """Ended without a result."""


class ResumeAction(enum.Enum):
    """What a new run has to do for a job that an earlier one began."""

    CREATE = "create"
    """Nothing was sent, or all of it was refused: send it."""
    CREATE_DOUBTFUL = "create_doubtful"
    """The create may have been sent: look for the task by its external id, then send."""
    RETRY = "retry"
    """Its task failed for a reason that may not come again, and that is asked for: make a new one."""
    WAIT = "wait"
    """The task runs, or ran to its end unseen."""
    FETCH = "fetch"
    """The files are missing; their addresses are renewed by one query."""
    NOTHING = "nothing"
    """It is finished, for good or ill."""


_NEXT: Final = {
    JobState.PLANNED: set(JobState),
    JobState.CREATED: {JobState.CREATED, JobState.SUCCEEDED, JobState.DONE, JobState.FAILED},
    JobState.SUCCEEDED: {
        JobState.SUCCEEDED,
        JobState.DONE,
        JobState.FAILED,
    },  # failed: the vendor has deleted the files
    JobState.DONE: {JobState.DONE},  # a later run may want the files
    JobState.FAILED: {JobState.FAILED},
}


def follows(state: JobState, attempt: int, new_state: JobState, new_attempt: int) -> bool:
    """Tell whether a job may go from one state to another: forward only, within an attempt.

    The next attempt begins at planned; what succeeded is not attempted again.
    """
    if new_attempt == attempt + 1:
        return new_state is JobState.PLANNED and state not in (JobState.SUCCEEDED, JobState.DONE)
    return new_attempt == attempt and new_state in _NEXT[state]


# -- what is stored


class JournaledFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of a result on disk."""

    name: str
    """Relative to the batch's folder."""
    size: int
    """In bytes."""


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why a job failed, in short."""

    kind: str
    """Name of the error's class."""
    message: str


class Times(msgspec.Struct, frozen=True, array_like=True):
    """When a job of this attempt came so far, seconds since 1970; None: not yet."""

    planned: float | None = None
    """When its create was about to be sent; None, too, after it was surely refused."""
    created: float | None = None
    ended: float | None = None
    done: float | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the journal knows of a job. Stored as an array: a new field goes to the end, with a default."""

    identity: str
    """The job's name in its journal, see `core.identity`."""
    position: int
    """Of its input, from 0."""
    endpoint: str
    """Name of the catalog row."""
    external_task_id: str
    """What this attempt's create carries."""
    key: str | None = None
    """The caller's name for it."""
    label: str = ""
    attempt: int = 0
    state: JobState = JobState.PLANNED
    task_id: str | None = None
    units: str | None = None
    """Units taken in the end, a decimal as text."""
    record: bytes | None = None
    """What `dump_record` made of the task's record; `load_record` reads it."""
    files: tuple[JournaledFile, ...] | None = None
    """None: none were wanted so far."""
    error: Failure | None = None
    account: str = ""
    """Names the account, so that another one's key is noticed; never the key."""
    defaults: dict[str, Any] = {}
    """Values of ours that were sent though the caller set none."""
    times: Times = Times()
    reserved: float = 0.0
    """Units set aside for it in the batch's budget while its end is not known."""
    pool: str = "video"
    """Whose units its task takes."""
    again: bool = False
    """It failed, and a new task may succeed."""
    apart: bool = False
    """Another job was at its position in an earlier run: its files need another index."""
    earlier: float = 0.0
    """Units that its earlier attempts took, if failed tasks were billed."""

    @property
    def ended(self) -> bool:
        """Whether its task's end is known, and what it cost."""
        return self.state in (JobState.SUCCEEDED, JobState.DONE, JobState.FAILED)

    def __repr__(self) -> str:
        return (
            f"Entry({self.identity[:8]} position={self.position} {self.endpoint} {self.state.name.lower()})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich no more than anybody else."""
        return [("", repr(self)[len("Entry(") : -1])]


_packer: Final = msgspec.msgpack.Encoder()
_unpacker: Final = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """Return the bytes that stand for an entry in the journal."""
    return _packer.encode(entry)


def unpack(data: bytes) -> Entry:
    """Return the entry that these bytes stand for.

    Raises:
        msgspec.DecodeError: They stand for none.
    """
    return _unpacker.decode(data)


# -- steps


def advance(entry: Entry, state: JobState, **facts: Any) -> Entry:
    """Return the entry in a later state of the same attempt, with facts that became known.

    What is finished shrinks to what an outcome needs; where files are stored the record is not needed.

    Raises:
        ValueError: That state does not follow.
    """
    if not follows(entry.state, entry.attempt, state, entry.attempt):
        raise ValueError(f"a job does not go from {entry.state.name.lower()} to {state.name.lower()}")
    new = msgspec.structs.replace(entry, state=state, **facts)
    if state not in (JobState.DONE, JobState.FAILED):
        return new
    needless = state is JobState.FAILED or new.files
    return msgspec.structs.replace(new, defaults={}, record=None if needless else new.record)


def next_attempt(entry: Entry, journal_id: str, **facts: Any) -> Entry:
    """Return the entry of the next attempt, not sent yet: a new task under a new external id.

    Raises:
        ValueError: It succeeded.
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
        apart=entry.apart,
        attempt=attempt,
        earlier=round(entry.earlier + cost_of(entry), 6),
        **facts,
    )


def mark_unsent(entry: Entry) -> Entry:
    """Return the entry of a job whose create was surely refused: nothing of it exists or costs."""
    return msgspec.structs.replace(entry, times=Times(), reserved=0.0)


def cost_of(entry: Entry) -> float:
    """Return the units this attempt took: as the vendor said, else, if it succeeded, what was set aside."""
    if entry.units is not None:
        return float(entry.units)
    return entry.reserved if entry.state in (JobState.SUCCEEDED, JobState.DONE) else 0.0


def resume(entry: Entry, *, wanted_files: bool, retries: int = 0) -> ResumeAction:
    """Say what a new run has to do for this job.

    Args:
        entry: As the journal has it.
        wanted_files: Whether files are wanted now.
        retries: How many new tasks may be made for one that failed.
    """
    state = entry.state
    if state is _DONE and (entry.files is not None or not wanted_files):  # a hundred thousand times
        return _NOTHING_LEFT
    match state:
        case JobState.PLANNED:
            return ResumeAction.CREATE if entry.times.planned is None else ResumeAction.CREATE_DOUBTFUL
        case JobState.CREATED:
            return ResumeAction.WAIT
        case JobState.FAILED if entry.again and entry.attempt < retries:
            return ResumeAction.RETRY
        case JobState.SUCCEEDED | JobState.DONE if wanted_files and entry.files is None:
            return ResumeAction.FETCH
        case _:
            return ResumeAction.NOTHING


_DONE: Final = JobState.DONE
_NOTHING_LEFT: Final = ResumeAction.NOTHING


# -- records and errors without secrets

_MESSAGE_MAX: Final = 300


_NOTHING: Final = msgspec.Raw(b"null")


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a `TaskRecord` an `Entry` does not hold itself."""

    status: str = ""
    message: str = ""
    created_at: int = 0
    updated_at: int = 0
    result_data: msgspec.Raw = _NOTHING


_plain: Final = msgspec.json.Decoder()
_kept: Final = msgspec.json.Decoder(_Kept)


def dump_record(record: TaskRecord) -> bytes:
    """Return what to keep of a record, JSON: addresses without their queries, no Base64, not twice.

    Dead as they are, addresses are renewed by one query.
    """
    result = keepable(_plain.decode(record.result_data))
    return msgspec.json.encode(
        _Kept(
            record.status,
            _short(record.message),
            record.created_at,
            record.updated_at,
            _NOTHING if result is None else msgspec.Raw(msgspec.json.encode(result)),
        )
    )


def load_record(entry: Entry) -> TaskRecord | None:
    """Return the task's record as far as it was kept; None if it was not, or not yet."""
    if entry.record is None or entry.task_id is None:
        return None
    known = _kept.decode(entry.record)
    return TaskRecord(
        endpoint=entry.endpoint,
        task_id=entry.task_id,
        external_task_id=entry.external_task_id,
        status=known.status,
        message=known.message,
        created_at=known.created_at,
        updated_at=known.updated_at,
        units=entry.units,
        result_data=known.result_data,
    )


def failure_of(error: BaseException) -> Failure:
    """Return what the journal keeps of an error."""
    return Failure(type(error).__name__, _short(str(error)))


def _short(text: str) -> str:
    text = str(keepable(text))
    return text if len(text) <= _MESSAGE_MAX else text[: _MESSAGE_MAX - 3] + "..."
