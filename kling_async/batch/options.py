"""What a batch is asked for: its options, and what is wrong with them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from kling_async.batch.budget import is_amount
from kling_async.core.pool_sizes import POOLS
from kling_async.downloads.naming import Template
from kling_async.errors import Problem, RequestInvalid
from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BatchOptions", "OnError", "Order", "check_options", "ready_folder", "template_of"]

OnError = Literal["collect", "raise", "stop"]
Order = Literal["given", "longest"]


class BatchOptions(NamedTuple):
    """What a batch was asked for, of every one of its requests."""

    folder: Path | None
    template: Template
    watermarked: bool
    sidecar: bool
    refetch: bool
    """Whether files of earlier runs that are gone, or are others, are fetched again."""
    retries: int
    priority: int
    places: asyncio.Semaphore | None
    """Bounds how many files come at once."""


def check_options(on_error: object, order: object, max_units: object, **counts: object) -> None:
    """Refuse options that mean nothing.

    Raises:
        RequestInvalid: With every wrong one.
    """
    wrong: list[Problem] = []
    if on_error not in ("collect", "raise", "stop"):
        wrong.append(Problem("on_error", f"{on_error!r:.40} is not one of 'collect', 'raise', 'stop'"))
    if order not in ("given", "longest"):
        wrong.append(Problem("order", f"{order!r:.40} is not one of 'given', 'longest'"))
    for name, count in counts.items():
        least = 0 if name == "retries" else 1
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < least):
            wrong.append(Problem(name, f"must be a whole number from {least}, not {count!r:.40}"))
    amounts = max_units.values() if isinstance(max_units, Mapping) else [max_units]
    wrong += [
        Problem("max_units", f"must be units from 0, or such by pool, not {amount!r:.40}")
        for amount in amounts
        if amount is not None and not is_amount(amount)
    ]
    if isinstance(max_units, Mapping):
        known = ", ".join(POOLS)
        wrong += [
            Problem(f"max_units[{pool!r:.40}]", f"is none of {known}")  # a slip of the pen would be no limit
            for pool in max_units
            if pool not in POOLS
        ]
    if wrong:
        raise RequestInvalid("batch", wrong)


def template_of(name: str) -> Template:
    """Return the template of the files' names.

    Raises:
        RequestInvalid: It cannot be one, or would give two jobs one name.
    """
    template = Template(name)
    if not template.fields & {"index", "task_id", "key"}:
        raise RequestInvalid("batch", [Problem("name", "needs {index}, {task_id} or {key}")])
    return template


async def ready_folder(folder: Path | None) -> None:
    """Make the folder now: whoever pays for files must be able to store them.

    Raises:
        RequestInvalid: It cannot be made, or nothing can be stored in it.
    """
    if folder is None:
        return
    try:
        await in_thread(asyncio.get_running_loop(), _make, folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        return
    raise RequestInvalid("batch", [Problem("download_to", f"{str(folder)!r} cannot be used: {reason}")])


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
