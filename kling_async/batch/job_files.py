"""Store the files of a job's task in the batch's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.batch.entry import JournaledFile
from kling_async.downloads.result_files import KnownFile, fetch_all

if TYPE_CHECKING:
    import asyncio

    from kling_async.batch.entry import Entry
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.source import Item
    from kling_async.downloads.result_addresses import DownloadContext
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import Result

__all__ = ["store_files"]


async def store_files(
    context: DownloadContext,
    options: BatchOptions,
    item: Item,
    entry: Entry,
    task: TrackedTask,
    result: Result,
    *,
    slots: asyncio.Semaphore | None,
) -> tuple[JournaledFile, ...]:
    """Store the files of a task that succeeded; results of some kinds have none.

    Args:
        context: The client's connections, clock, slots and settings.
        options: Of the batch; they name the folder.
        item: The request and its place in the input.
        entry: What the journal knows of the job.
        task: The task.
        result: Its result.
        slots: Bounds how many files come at once; None: the client's own bound.

    Raises:
        DownloadError: A file cannot be fetched or stored.
    """
    if not result.has_files or options.folder is None:
        return ()
    index = f"{entry.position}-{entry.identity[:12]}" if entry.position_taken else str(entry.position)
    stored = await fetch_all(
        context,
        task,
        options.folder,
        options.template,
        {"key": item.key or index, "index": index},
        watermarked=options.watermarked,
        sidecar=options.sidecar,
        slots=slots,
        known=_known_files(options, entry),
    )
    return tuple(
        JournaledFile(str(file.path.relative_to(options.folder)), file.size, file.sha256) for file in stored
    )


def _known_files(options: BatchOptions, entry: Entry) -> list[KnownFile] | None:
    """Return the files that the journal knows of the task; None without a journal."""
    if options.journal is None:
        return None
    return [KnownFile(file.name, file.size, file.sha256) for file in entry.files or ()]
