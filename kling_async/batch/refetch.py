"""Find the finished jobs whose files are gone, so that they are fetched again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kling_async.batch.entry import ResumeAction
from kling_async.downloads.placing import KnownFile, is_known
from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    from kling_async.batch.entry import JournaledFile
    from kling_async.batch.planned import PlannedJob

__all__ = ["refetch_missing"]


async def refetch_missing(jobs: list[PlannedJob], folder: Path | None) -> list[PlannedJob]:
    """Plan to fetch again the files of finished jobs that are gone, or have another length or content."""
    if folder is None:
        return jobs
    stored = [(n, job.entry.files) for n, job in enumerate(jobs) if job.is_finished and job.entry.files]
    if stored:
        loop = asyncio.get_running_loop()
        complete = await in_thread(loop, _are_complete, folder, [files for _, files in stored])
        for (n, _), is_complete in zip(stored, complete, strict=True):
            if not is_complete:
                jobs[n] = jobs[n]._replace(action=ResumeAction.FETCH)
    return jobs


def _are_complete(folder: Path, jobs: list[tuple[JournaledFile, ...]]) -> list[bool]:
    """Tell of each job whether all of its files lie where they were stored, unchanged."""
    return [all(_is_there(f"{folder}{os.sep}{file.name}", file) for file in files) for files in jobs]


def _is_there(path: str, file: JournaledFile) -> bool:
    try:
        if os.stat(path).st_size != file.size:  # noqa: PTH116 - 100,000 times; Path.stat() takes three times as long
            return False
    except OSError:
        return False
    return not file.sha256 or is_known(Path(path), KnownFile(file.name, file.size, file.sha256))
