"""Put a snapshot of a fleet into words: one line, or lines and tables that fit a terminal."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from kling_async.cli.formats import clock, counted
from kling_async.cli.messages import printable
from kling_async.cli.output import Column, plain_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kling_async.fleet.status import FleetBatch, FleetMember, FleetStatus

__all__ = ["head_line", "status_lines"]

_LATE: Final = 3.0
"""Seconds without a sign of life from which on a process is called late."""
_DEAD: Final = 5.0
"""Seconds without one from which on it is called dead: others have taken over what it had."""
_NARROW: Final = 90
"""Columns of a terminal below which less important columns are left out."""
_SHOWN: Final = 8
"""Most rows of queue and batches; `--json` has more."""


def head_line(status: FleetStatus | None) -> str:
    """Return the most important numbers in one line."""
    if status is None:
        return "no snapshot yet"
    return ", ".join(_head(status))


def _head(status: FleetStatus) -> list[str]:
    parts = [f"{status.ended:,} of {status.total:,} ended"]
    parts += [f"{status.running + status.storing:,} running", f"{status.queued:,} queued"]
    parts += [f"{status.failed:,} failed"] if status.failed else []
    parts += [f"{status.per_minute:.1f} a minute"] if status.per_minute else []
    parts += [f"about {clock(status.seconds_left)} left"] if status.seconds_left is not None else []
    return parts


def status_lines(status: FleetStatus, width: int | None) -> list[str]:
    """Return a snapshot as lines: numbers first, then pools, processes, orphans, queue, batches, failures.

    Args:
        status: The snapshot.
        width: Columns of the terminal; None: nothing is cut.
    """
    narrow = width is not None and width < _NARROW
    sections = [
        _summary(status, width),
        _pools(status, width, narrow=narrow),
        _members(status, width, narrow=narrow),
        _orphans(status, width, narrow=narrow),
        _queue(status, width),
        _batches(status, width, narrow=narrow),
        _failures(status, width),
    ]
    return [line for section in sections if section for line in ("", *section)][1:]


def _summary(status: FleetStatus, width: int | None) -> list[str]:
    at = dt.datetime.fromtimestamp(status.at).astimezone()
    workers = [member for member in status.members if member.concurrency is not None]
    living = sum(member.beat <= _DEAD for member in workers)
    crew = counted(living, "worker") + (f", {len(workers) - living} dead" if living < len(workers) else "")
    counts = {"running": status.running, "storing": status.storing, "queued": status.queued}
    counts |= {"done": status.succeeded, "failed": status.failed, "cancelled": status.cancelled}
    jobs = [f"{name} {n:,}" for name, n in counts.items() if n or name in ("running", "queued", "done")]
    rate = [f"{status.per_minute:.1f} a minute"] if status.per_minute else []
    rate += [f"{status.last_minute:,} in the last minute"] if status.per_minute else []
    rate += [f"about {clock(status.seconds_left)} left"] if status.seconds_left is not None else []
    rate += [f"{status.units:,.10g} units"] if status.units else []
    head = [f"{at:%H:%M:%S}", crew, f"{status.ended:,} of {status.total:,} jobs ended"]
    return [*_packed(head, width), *_packed(jobs, width), *_packed(rate, width)]


def _packed(parts: Iterable[str], width: int | None) -> list[str]:
    """Return parts beside each other, in as few lines as hold them."""
    lines: list[str] = []
    for part in parts:
        if lines and (width is None or len(lines[-1]) + 3 + len(part) <= width):
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return lines


def _table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None) -> list[str]:
    cells = [[printable(cell) for cell in row] for row in rows]
    return plain_table(columns, cells, width).split("\n") if cells else []


def _pools(status: FleetStatus, width: int | None, *, narrow: bool) -> list[str]:
    columns = [Column("pool", wide=True), Column("slots", right=True), Column("waiting", right=True)]
    columns += [] if narrow else [Column("limit from")]
    rows = [
        [pool.name, f"{pool.held}/{pool.limit}", f"{pool.queued:,}", *(() if narrow else (pool.source,))]
        for pool in status.pools
    ]
    reasons = [f"{pool.name}: {printable(pool.reason)}" for pool in status.pools if pool.reason]
    return _table(columns, rows, width) + [_cut(reason, width) for reason in reasons]


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def _members(status: FleetStatus, width: int | None, *, narrow: bool) -> list[str]:
    columns = [Column("process", wide=True), Column("slots"), Column("jobs", right=True)]
    columns += [] if narrow else [Column("at most", right=True)]
    columns += [Column("last beat", right=True)]
    columns += [] if narrow else [Column("")]
    return _table(columns, (_member(member, narrow=narrow) for member in status.members), width)


def _member(member: FleetMember, *, narrow: bool) -> list[str]:
    slots = ", ".join(f"{pool} {n}" for pool, n in sorted(member.slots.items())) or "0"
    beat = f"{member.beat:.1f} s" + (
        " DEAD" if member.beat > _DEAD else " LATE" if member.beat > _LATE else ""
    )
    jobs = "-" if member.jobs is None else f"{member.jobs:,}"
    if narrow:
        return [member.name, slots, jobs, beat]
    most = "-" if member.concurrency is None else f"{member.concurrency:,}"
    note = "asks for all" if member.asks else "no worker" if member.concurrency is None else ""
    return [member.name, slots, jobs, most, beat, note]


def _orphans(status: FleetStatus, width: int | None, *, narrow: bool) -> list[str]:
    columns = [Column("orphan", wide=True), Column("pool", wide=True), Column("slots", right=True)]
    columns += [] if narrow else [Column("endpoint", wide=True)]
    columns += [Column("for", right=True)]
    rows = [
        [
            *(orphan.task_id or orphan.external_task_id, orphan.pool, str(orphan.slots)),
            *(() if narrow else (orphan.endpoint,)),
            f"{orphan.seconds:.0f} s",
        ]
        for orphan in status.orphans
    ]
    return _table(columns, rows, width)


def _queue(status: FleetStatus, width: int | None) -> list[str]:
    columns = [Column("priority", right=True), Column("label", wide=True), Column("queued", right=True)]
    shown = status.queue[:_SHOWN]
    rows = [[str(share.priority), share.label or "-", f"{share.jobs:,}"] for share in shown]
    return _table(columns, rows, width) + _more(status.queue_more + len(status.queue) - len(shown), "label")


def _more(number: int, name: str) -> list[str]:
    return [f"and {counted(number, name)} more"] if number > 0 else []


def _batches(status: FleetStatus, width: int | None, *, narrow: bool) -> list[str]:
    columns = [Column("batch", wide=True), Column("ended", right=True), Column("failed", right=True)]
    columns += [] if narrow else [Column("running", right=True), Column("queued", right=True)]
    columns += [Column("units", right=True)]
    shown = status.batches[:_SHOWN]
    rows = [_batch(batch, narrow=narrow) for batch in shown]
    more = status.batches_more + len(status.batches) - len(shown)
    return _table(columns, rows, width) + ([f"and {more} older batches"] if more > 0 else [])


def _batch(batch: FleetBatch, *, narrow: bool) -> list[str]:
    ended = batch.succeeded + batch.failed + batch.cancelled
    state = () if narrow else (f"{batch.running + batch.storing:,}", f"{batch.queued:,}")
    return [batch.name, f"{ended:,}/{batch.total:,}", f"{batch.failed:,}", *state, f"{batch.units:,.10g}"]


def _failures(status: FleetStatus, width: int | None) -> list[str]:
    columns = [Column("failed by", wide=True), Column("jobs", right=True)]
    return _table(columns, ([name, f"{n:,}"] for name, n in status.failures.items()), width)
