"""The values that a batch hands out: outcomes, a report, the plan of a dry run."""

from __future__ import annotations

import asyncio
import textwrap
from collections import deque
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from kling_async.batch.exclusions import Skipped
from kling_async.display.fields import fields_bundle, fields_of
from kling_async.display.html import MimeBundle, TextPrinter, bundle, grid, joined, rows, text_rows, titled
from kling_async.downloads.embedding import embedded_paths
from kling_async.errors import DownloadError, TaskTimeout
from kling_async.records import TaskRecord
from kling_async.redaction import Serializable
from kling_async.wire.players import EMBED_MAX, Embedded, stored_players
from kling_async.wire.requests import Result, TaskRequest

__all__ = ["Outcome", "OutcomeQueue", "Outcomes", "Plan", "Report", "Spent", "StopReason", "Totals"]

R = TypeVar("R")

StopReason: TypeAlias = Literal[
    "",
    "input",
    "SIGINT",
    "SIGTERM",
    "max_units",
    "error",
    "account",
    "journal",
    "disk",
    "refusals",
    "unsent",
    "storage",
    "stop()",
    "closed",
]
"""Why a batch made no more tasks; see `Report.stopped`."""


class Outcome(Serializable, Generic[R], frozen=True, kw_only=True):
    """The end of one request of a batch: its result and files, or why there are none."""

    position: int
    """The request's place in the input, from 0."""
    key: str | None
    """The key that came with the request, if any."""
    request: TaskRequest[R]
    """The request; in a batch of `Client.resume` a `JournaledRequest`; where the input held something else,
    that: see `error`."""
    record: TaskRecord | None = None
    """The task as the vendor last described it; None if there is no task, or the journal dropped the record
    because files are stored."""
    result: R | None = None
    """The typed result, also where its files failed; None unless the task succeeded. Out of a journal, its
    addresses lack signatures."""
    files: tuple[Path, ...] = ()
    """The stored files, with ``download_to``."""
    units: float | None = None
    """Units that all attempts together took; None if the vendor has not said, as callbacks do not."""
    error: Exception | None = None
    """Why there is no result, or a file is missing; None if all went well."""
    label: str = ""
    """The label of its task."""
    attempts: int = 1
    """How many creates of this request were made, each with an id of its own."""
    resumed: bool = False
    """Whether an earlier run finished it: nothing was made or paid in this run."""
    started: float = 0.0
    """When the latest attempt's create was first sent, seconds since 1970; 0 if none was."""
    ended: float = 0.0
    """When the request was finished, seconds since 1970."""

    @property
    def seconds(self) -> float:
        """Seconds from the latest attempt's create to the end; 0 if none was sent."""
        return max(0.0, self.ended - self.started) if self.started else 0.0

    @property
    def status(self) -> Literal["succeeded", "failed", "running"]:
        """``succeeded``; ``running``: not ended within ``job_timeout``, and runs on; else ``failed``."""
        if self.error is None:
            return "succeeded"
        return "running" if isinstance(self.error, TaskTimeout) else "failed"

    def row(self) -> dict[str, Any]:
        """Return the outcome as one flat row of JSON types, for JSONL, CSV or a data frame."""
        error = self.error
        return {
            "key": self.key,
            "position": self.position,
            "status": self.status,
            "files": [str(file) for file in self.files],
            "units": self.units,
            "seconds": round(self.seconds, 3),
            "label": self.label,
            "error": None if error is None else type(error).__name__,
            "message": None if error is None else str(error),
        }

    @property
    def ok(self) -> bool:
        """Whether there is a result, with all files that were asked for."""
        return self.error is None

    async def embed(self, *, max_bytes: int = EMBED_MAX) -> Embedded:
        """Return the stored files, or those of the result, as Base64 copies that a notebook shows and keeps.

        Args:
            max_bytes: Most bytes of all files together; the notebook's file grows by four thirds of it.

        Raises:
            DownloadError: The files are larger, one cannot be read or fetched, or there are none.
        """
        if self.files:
            return await embedded_paths(self.key or str(self.position), self.files, max_bytes)
        if isinstance(self.result, Result):
            return await self.result.embed(max_bytes=max_bytes)
        raise DownloadError(f"this outcome has no files: {self.error or self.status}")

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        row = self.row()
        title = f"{self.position if self.key is None else self.key}: {self.status}"
        if self.files:
            shown = stored_players(self.files)
        else:
            shown = self.result.shown_files() if isinstance(self.result, Result) else joined()
        named = ("units", "seconds", "label", "error", "message")
        facts = rows((name, row[name]) for name in named if row[name] not in (None, "", 0.0))
        text = ", ".join([title, *(f"{name} {row[name]}" for name in named if row[name]), *row["files"]])
        return bundle(text, titled(title, shown, facts, fields_of(self.request)))


class Outcomes(list[Outcome[R]]):
    """The outcomes of a batch in the order of their ends; a table where a notebook shows them."""

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        lines = [outcome.row() for outcome in self]
        cells = [[_short(line, name) for name in _COLUMNS] for line in lines[:_SHOWN_MAX]]
        more = f"and {len(self) - _SHOWN_MAX} more" if len(self) > _SHOWN_MAX else ""
        text = "\n".join(filter(None, [text_rows([_COLUMNS, *cells]), more]))
        return bundle(text, titled(f"{len(self)} outcomes", grid(_COLUMNS, cells), more))

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        """Print the table: IPython's way for lists goes before the bundle."""
        printer.text(repr(self) if cycle else self._repr_mimebundle_()["text/plain"])


_COLUMNS: Final = ("key", "status", "units", "seconds", "files", "message")
_SHOWN_MAX: Final = 100
"""Most outcomes in one table."""


def _short(row: dict[str, Any], name: str) -> str:
    value = row["position"] if name == "key" and row[name] is None else row[name]
    text = ", ".join(value) if isinstance(value, list) else "" if value is None else f"{value}"
    return textwrap.shorten(text, 80, placeholder="...")


class Spent(Serializable, frozen=True, kw_only=True):
    """The cost of the tasks of one endpoint, model and label."""

    endpoint: str
    model: str
    label: str
    pool: str
    tasks: int
    units: float
    """Units by the vendor's word at the tasks' ends (``final_unit_deduction``)."""
    estimated: float
    """Units as estimated before the creates."""

    _repr_mimebundle_ = fields_bundle


class Totals(Serializable, frozen=True, kw_only=True):
    """The requests that a batch has finished, and their cost."""

    done: int
    """Requests with a result."""
    failed: int
    """Requests without a result, or without a file that was asked for."""
    units: dict[str, float]
    """Units spent, by pool. A task whose cost the vendor did not say counts with its reserved units."""

    def __str__(self) -> str:
        parts = [f"{self.done} done"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{units:.10g} units of {pool}" for pool, units in self.units.items()]
        return ", ".join(parts)

    _repr_mimebundle_ = fields_bundle


class Report(Serializable, frozen=True, kw_only=True):
    """The state of a batch, under way or at its end."""

    done: int
    """Requests with a result, those that earlier runs finished included."""
    failed: int
    """Requests without a result, or without a file that was asked for."""
    resumed: int
    """Requests among ``done`` and ``failed`` that earlier runs finished."""
    running: int
    """Tasks that exist, or may exist, and were not seen ended: they run on at the vendor's."""
    stopped: StopReason
    """Why no more tasks were made: empty (the input has ended), ``input`` (it raised an error), a signal's
    name, ``max_units``, ``error`` (with ``on_error`` "stop" or "raise"), ``account`` (the account may not
    create), ``journal`` (it cannot be written), ``disk`` (no room for files), ``storage`` (no file can be
    stored, or fetched), ``refusals`` (equal ones in a row), ``unsent`` (`Client.resume` lacks the requests),
    ``stop()``, ``closed``. After ``max_units``, ``account`` and ``refusals`` the rest of the input may have
    been made: see `skipped`."""
    skipped: tuple[Skipped, ...] = ()
    """Requests that were not made though others were: they cost more than the units left, their pool is used
    up, the vendor refuses their endpoint and model, or they are not at hand."""
    unclaimed: int = 0
    """Jobs that the journal knows and the input, once read to its end, did not name: a mended typo or an
    added key makes another job."""
    unclaimed_running: tuple[str, ...] = ()
    """The ids of the unfinished among the ``unclaimed``: their tasks may run, or have files to fetch."""
    units: dict[str, float]
    """Units spent, by pool; with a journal and ``max_units``, over all its runs. A task whose cost the vendor
    did not say counts with the units reserved for it."""
    spent: tuple[Spent, ...]
    """Costs of this run, by endpoint, model and label."""
    seconds: float
    """How long the batch has run."""
    advice: str
    """How to resume, and how to fetch ``unclaimed_running``; empty if nothing is left to do."""
    this_run: Totals
    """The requests finished by this run, and the units spent in it."""
    all_runs: Totals
    """The same over all runs with this journal, of the requests that the input has named so far."""

    def __str__(self) -> str:
        """Return the totals in words: of this run and of all runs apart, where earlier ones took part."""
        if self.this_run == self.all_runs:
            return str(self.this_run)
        return f"this run: {self.this_run}; all runs: {self.all_runs}"

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        words = [str(self), f"{self.running} running" if self.running else "", self.advice]
        text = "\n".join(filter(None, words))
        counts = (("done", self.done), ("failed", self.failed), ("running", self.running))
        facts = rows((*counts, ("seconds", round(self.seconds, 1)), ("stopped", self.stopped or "no")))
        units = rows((f"{pool} units", units) for pool, units in self.units.items())
        return bundle(f"Report: {text}", titled("Report", facts, units, self.advice))


class Plan(Serializable, frozen=True, kw_only=True):
    """The estimate of a batch by `Batch.dry_run`."""

    jobs: int
    """Requests in the input."""
    done: int
    """Requests that earlier runs finished."""
    fetched: int
    """Requests with a result whose files are missing."""
    running: int
    """Requests whose task an earlier run made; it may still run."""
    doubtful: int
    """Requests whose create an earlier run may have sent; ``units`` counts them in full."""
    refused: int
    """Invalid requests."""
    problems: tuple[str, ...]
    """The errors of the first twenty invalid requests."""
    units: dict[str, float]
    """Units expected to be spent on tasks yet to be made, by pool."""
    most: dict[str, float]
    """Units that these tasks cost at most, by pool, where a bound is known."""
    unknown: dict[str, int]
    """How many requests have no known price, by the reason."""
    usd: float
    """``units`` at list price, in US dollars."""
    seconds: float
    """Expected duration of the batch, at the pools' limits as known now."""
    models: tuple[Spent, ...]
    """By endpoint, model and label; ``units`` is 0."""
    unclaimed: int = 0
    """Jobs that the journal knows and the input does not name."""
    unsent: int = 0
    """By `Client.resume`: jobs without a task, whose requests only the batch's input holds."""

    _repr_mimebundle_ = fields_bundle


class OutcomeQueue(Generic[R]):
    """Outcomes on their way from the jobs to the caller, with the two waits on either side.

    A caller that takes nothing holds the input back, so that memory stays bounded.
    """

    def __init__(self) -> None:
        self._outcomes: deque[Outcome[R]] = deque()
        self._arrival = asyncio.Event()
        self._departure = asyncio.Event()

    def __len__(self) -> int:
        return len(self._outcomes)

    def put(self, outcome: Outcome[R]) -> None:
        """Add an outcome."""
        self._outcomes.append(outcome)
        self._arrival.set()

    def take(self) -> Outcome[R]:
        """Remove and return the oldest outcome.

        Raises:
            IndexError: The queue is empty.
        """
        outcome = self._outcomes.popleft()
        self._departure.set()
        return outcome

    def notify(self) -> None:
        """Wake both sides: a job has ended, or the batch has changed its state."""
        self._arrival.set()
        self._departure.set()

    async def arrival(self) -> None:
        """Wait for the next `put` or `notify`."""
        # no `put` is missed: callers have just seen the queue empty, with no await since
        self._arrival.clear()
        await self._arrival.wait()

    async def departure(self) -> None:
        """Wait for the next `take` or `notify`."""
        self._departure.clear()
        await self._departure.wait()
