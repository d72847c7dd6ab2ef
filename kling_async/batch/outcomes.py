"""What a batch tells: one outcome for each request, and a report at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from kling_async.records import TaskRecord
from kling_async.wire.requests import TaskRequest

__all__ = ["Outcome", "Plan", "Report", "Spent"]

R = TypeVar("R")


class Outcome(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """What became of one request of a batch."""

    position: int
    """Its place in the input, from 0."""
    key: str | None
    """The name that came with it, if any."""
    request: TaskRequest[R]
    record: TaskRecord | None = None
    """All that is known of its task; None if there is none, or the journal has let go of it."""
    result: R | None = None
    """The typed result; None unless it succeeded. Out of a journal its addresses lack their signatures."""
    files: tuple[Path, ...] = ()
    """What was stored, if files were asked for."""
    units: float | None = None
    """What it cost in the end, all attempts together; None if the vendor has not said."""
    error: Exception | None = None
    """Why there is no result, or no file; None if all went well."""
    attempts: int = 1
    """How many tasks were made, or tried to be made, for it."""
    resumed: bool = False
    """Whether the journal already had its end: nothing was made or paid for now."""
    started: float = 0.0
    """When its create was first sent, seconds since 1970."""
    ended: float = 0.0
    """When all of it was done."""

    @property
    def ok(self) -> bool:
        """Whether there is a result, and all files that were wanted."""
        return self.error is None


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of one model and label cost."""

    endpoint: str
    model: str
    label: str
    pool: str
    tasks: int
    units: float
    """As the vendor said when they ended (``final_unit_deduction``)."""
    estimated: float
    """As expected before."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch stands, or ended."""

    done: int
    """Requests with a result, those that the journal had included."""
    failed: int
    """Requests without."""
    resumed: int
    """Of both, those whose end the journal had."""
    running: int
    """Made, or perhaps made, and not seen ended: the vendor goes on with them."""
    stopped: str
    """Why no more were made: empty (the input came to its end), ``input`` (it broke), a signal's name,
    ``max_units``, ``error`` (with ``on_error`` "stop" or "raise"), ``account`` (the account may not create),
    ``journal`` (it cannot be written), ``disk`` (no room for files), ``stop()``, ``closed``."""
    units: dict[str, float]
    """Spent, by pool; with a journal and ``max_units`` over all its runs. Where the vendor did not say what a
    task took, what was set aside for it counts."""
    spent: tuple[Spent, ...]
    """In this run, by endpoint, model and label."""
    seconds: float
    """So far."""
    advice: str
    """How to go on; empty if there is nothing left to do."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch would do: `Batch.dry_run`."""

    jobs: int
    """Requests in the input."""
    done: int
    """Of them, those whose end the journal has."""
    fetched: int
    """Those that only lack their files."""
    running: int
    """Those whose task an earlier run has made."""
    doubtful: int
    """Those whose create an earlier run may have sent; counted in full below."""
    refused: int
    """Those that cannot be made as they are."""
    problems: tuple[str, ...]
    """What is wrong with these, the first twenty."""
    units: dict[str, float]
    """Expected to be spent on those to be made, by pool."""
    most: dict[str, float]
    """At most, where bounds are known."""
    unknown: dict[str, int]
    """Requests whose price is not known, by the reason."""
    usd: float
    """The units at list price."""
    seconds: float
    """Expected until all are done, at the pools' limits as known now."""
    models: tuple[Spent, ...]
    """By endpoint, model and label; ``units`` is 0."""
