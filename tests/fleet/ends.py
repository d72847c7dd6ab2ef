"""End jobs as a worker does, without one: for tests of what reads their rows."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.batch.entry import Failure, JobState, Times, advance, dump_record, pack, unpack
from kling_async.fleet.database import connect
from kling_async.fleet.rows import dump_addresses
from kling_async.fleet.writing import end_jobs
from kling_async.records import TaskRecord

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["ADDRESS", "end", "record_of"]

ADDRESS = "https://files.example/a.mp4?sign=5ecre7"


def record_of(task_id: str) -> TaskRecord:
    """Return the record of a film that is ready."""
    found = {"videos": [{"id": "1", "url": ADDRESS, "duration": "5"}]}
    return TaskRecord(
        endpoint="text_to_video",
        task_id=task_id,
        status="succeed",
        units="1.5",
        result_data=msgspec.Raw(msgspec.json.encode(found)),
    )


async def end(dsn: str, *positions: int, failure: Failure | None = None, batch: str = "films") -> None:
    """End jobs of a batch, one transaction each, in that order."""
    async with connect(dsn) as db:
        for position in positions:
            await _end(db, batch, position, failure)


async def _end(db: AsyncConnection[Any], batch: str, position: int, failure: Failure | None) -> None:
    query = "SELECT j.batch, j.identity, j.entry FROM jobs j JOIN batches b ON b.id=j.batch"
    query += " WHERE b.name=%s AND j.position=%s AND j.done IS NULL"
    async with db.transaction():
        row = await (await db.execute(query, (batch, position))).fetchone()
        assert row is not None
        name, identity, entry = row[0], row[1], unpack(row[2])
        record = record_of(f"task-{position}")
        times = Times(planned=time.time(), done=time.time())
        if failure is not None:
            entry = advance(entry, JobState.FAILED, error=failure, task_id=record.task_id, times=times)
        else:
            facts: dict[str, Any] = {"record": dump_record(record), "units": record.units, "times": times}
            entry = advance(entry, JobState.DONE, task_id=record.task_id, **facts)
            insert = "INSERT INTO addresses VALUES (%s, %s, %s)"
            await db.execute(insert, (name, identity, dump_addresses(record)))
        change = "UPDATE jobs SET entry=%s, state=%s WHERE batch=%s AND identity=%s"
        await db.execute(change, (pack(entry), int(entry.state), name, identity))
        good = failure is None
        await end_jobs(db, name, [identity], succeeded=int(good), failed=int(not good))
    await asyncio.sleep(0)
