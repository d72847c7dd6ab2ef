"""Provide tasks with files to download, for the tests of result files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.orchestrator.tracked import TrackedTask
from kling_async.redaction import without_query
from tests.support import clip

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.tasks import Task
    from kling_async.testing import Emulator

LARGE = 3_000_000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tracked(task: Task[Any]) -> TrackedTask:
    return task.tracked


def with_dead_addresses(task: TrackedTask) -> TrackedTask:
    """Return the same task as a journal stores it, with addresses without signatures."""
    assert task.record is not None
    result = msgspec.json.decode(task.record.result_data)
    for file in result["images"]:
        file["url"] = without_query(file["url"])
    data = msgspec.Raw(msgspec.json.encode(result))
    record = msgspec.structs.replace(task.record, result_data=data)
    return TrackedTask(task.endpoint, record.task_id, record=record)


async def large(emu: Emulator, client: Any) -> tuple[Task[Any], bytes]:
    """Return a task with a video of three megabytes, and its bytes."""
    emu.pad_files(LARGE)
    task = await client.submit(clip())
    videos = await task.wait()
    session = await client._engine.sessions.get("files")
    async with session.get(videos.videos[0].url) as response:
        body = await response.read()
    emu.ledger.rows.clear()
    return task, body
