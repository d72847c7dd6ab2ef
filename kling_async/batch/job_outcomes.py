"""Make the outcome of a job from its journal entry, whether it ran in this run or an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.batch.entry import load_record
from kling_async.batch.failures import error_of
from kling_async.batch.outcomes import Outcome
from kling_async.catalog import endpoint_of
from kling_async.errors import BadResponse
from kling_async.orchestrator.results import whole_result_of

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.batch.entry import Entry
    from kling_async.batch.planned import PlannedJob
    from kling_async.batch.source import Item

__all__ = ["outcome_of", "refused_outcome", "remembered_outcome"]


def refused_outcome(
    planned: PlannedJob, folder: Path | None, error: Exception, *, now: float
) -> Outcome[Any]:
    """Return the outcome of a job that did not begin."""
    ended = planned.entry.times.done or now
    return outcome_of(planned.item, planned.entry, folder, ended=ended, error=error)


def remembered_outcome(planned: PlannedJob, folder: Path | None) -> Outcome[Any]:
    """Return the outcome of a job that an earlier run finished; ``folder`` holds its files."""
    entry = planned.entry
    ended = entry.times.done or entry.times.ended or 0.0
    if entry.error is None and entry.record is None:
        return outcome_of(planned.item, entry, folder, ended=ended, resumed=True)
    facts: dict[str, Any] = {}
    if entry.error is not None:
        facts["error"] = error_of(entry)
    elif (record := load_record(entry)) is not None:
        facts["record"] = record
        try:
            facts["result"] = whole_result_of(endpoint_of(planned.item.request), record)
        except BadResponse as error:
            facts["error"] = error
    return outcome_of(planned.item, entry, folder, ended=ended, resumed=True, **facts)


def outcome_of(
    item: Item,
    entry: Entry,
    folder: Path | None,
    *,
    ended: float,
    resumed: bool = False,
    files: tuple[Path, ...] | None = None,
    **facts: Any,
) -> Outcome[Any]:
    """Return a job's outcome, made of its entry and further facts."""
    if files is None:
        files = tuple([folder / file.name for file in entry.files]) if folder and entry.files else ()
    return Outcome(
        position=item.position,
        key=item.key,
        request=item.request,
        files=files,
        label=entry.label,
        units=None if entry.units is None else float(entry.units) + entry.earlier_units,
        attempts=entry.attempt + 1,
        resumed=resumed,
        started=entry.times.planned or 0.0,
        ended=ended,
        **facts,
    )
