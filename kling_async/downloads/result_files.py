"""Store the files of a task's result: several at once, under names of a template, dead addresses renewed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import anyio
import msgspec

from kling_async.display.stored import stored_files
from kling_async.downloads.fetch import fetch
from kling_async.downloads.partial import Partial, write_private
from kling_async.downloads.placing import Existing, KnownFile, digest, is_known, writing_error
from kling_async.downloads.result_addresses import ResultAddresses
from kling_async.errors import KlingError, ResultExpired
from kling_async.http.failures import value_or_error
from kling_async.runtime.input_files import read_regular
from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kling_async.downloads.result_addresses import DownloadContext
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.requests import File

__all__ = ["FileNamer", "KnownFile", "StoredFile", "fetch_all"]

_SIDECAR_MAX: Final = 16 * 1024**2
"""Bytes from which on a file is no sidecar: ours hold one task."""


class StoredFile(NamedTuple):
    """A file of a result on disk."""

    path: Path
    size: int
    """Bytes."""
    sha256: str = ""
    """Hash of the content in hexadecimal; empty without a journal if only the ends were compared."""


class FileNamer(Protocol):
    """Name the files of one result (`kling_async.downloads.naming.Template`)."""

    def names(
        self, values: Mapping[str, str | int], files: Sequence[File], *, watermarked: bool = False
    ) -> list[str]:
        """Return one name per file, all different."""
        ...


async def fetch_all(
    context: DownloadContext,
    task: TrackedTask,
    folder: Path,
    namer: FileNamer,
    values: Mapping[str, str | int],
    *,
    watermarked: bool = False,
    sidecar: bool = False,
    slots: asyncio.Semaphore | None = None,
    known: Sequence[KnownFile] | None = None,
) -> list[StoredFile]:
    """Store the files of a task that succeeded; return them in the order of its result.

    A file of somebody else's is never replaced: the new one gets ``-2`` (or ``-3``, ...) before its suffix.
    With a journal (``known``), a file that it knows is compared by length and content hash, without any
    request, and replaced if it differs; one that it does not know is adopted only if its content hash equals
    that of the file fetched. Without a journal a file of equal length, first 64 KiB and last 4 KiB counts as
    the same and is not fetched again.

    Once the vendor has deleted a result there is nothing to
    compare such a file with: it then counts as complete if it has its final name, which only complete files
    get, and the first bytes of its kind, unless a part beside it shows that it was being replaced by a file
    of another length. If some files fail, the others are stored all the same and the first failure is raised.

    Args:
        context: The client's connections, clock, slots and settings.
        task: A task whose record is known, possibly from a journal, with addresses without signatures.
        folder: Folder of the files; made if needed.
        namer: Makes the files' names.
        values: Fields of names beside those of the task itself: ``key`` and ``index``.
        watermarked: Store the watermarked copies instead.
        sidecar: Write the task's record beside each file, as ``<file>.json``.
        slots: Bound on simultaneous downloads; None for the client's own.
        known: Files that the journal knows of this task, in the order of its result; empty if it knows none
            yet; None if there is no journal.

    Raises:
        DownloadError: A file could not be fetched or stored, or there is none.
        ResultExpired: The vendor has deleted the files, and they are not on disk.
        BadResponse: The result is not of the documented form.
    """
    download = _ResultDownload(context, task, folder, known, watermarked=watermarked, sidecar=sidecar)
    fields = {**values, "task_id": task.task_id or "", "endpoint": task.endpoint.name}
    names = namer.names(fields, download.addresses.files, watermarked=watermarked)
    semaphore = context.download_slots.semaphore if slots is None else slots
    if len(names) == 1:
        return [await download.store(0, names[0], semaphore)]
    outcomes: dict[int, StoredFile | KlingError] = {}

    async def store(n: int, name: str) -> None:
        try:
            outcomes[n] = await download.store(n, name, semaphore)
        except KlingError as error:
            outcomes[n] = error

    async with anyio.create_task_group() as group:
        for n, name in enumerate(names):
            group.start_soon(store, n, name)
    in_order = [outcomes[n] for n in range(len(names))]
    for outcome in in_order:
        if isinstance(outcome, KlingError):
            raise outcome
    return [outcome for outcome in in_order if isinstance(outcome, StoredFile)]


class _ResultDownload:
    """Store the files of one result in a folder."""

    def __init__(
        self,
        context: DownloadContext,
        task: TrackedTask,
        folder: Path,
        known: Sequence[KnownFile] | None,
        *,
        watermarked: bool,
        sidecar: bool,
    ) -> None:
        self._context = context
        self._task = task
        self._folder = folder
        self._known = known
        self._watermarked = watermarked
        self._sidecar = sidecar
        self.addresses = ResultAddresses(context, task, watermarked=watermarked)

    async def store(self, n: int, name: str, slots: asyncio.Semaphore) -> StoredFile:
        """Store the n-th file, unless it is there already and unchanged."""
        url = self.addresses.files[n].url
        known = self._known_file(n, name)
        target = self._folder / (name if known is None else known.name)
        if known is not None and await in_thread(self._context.scope.enter(), is_known, target, known):
            stored = StoredFile(target, known.size, known.sha256)
        else:
            stored = await self._store(n, target, self._existing(known), slots)
        if self._known is not None and not stored.sha256:
            stored = await self._hashed(stored)
        for address in {url, self.addresses.files[n].url}:  # the second one where it was renewed
            stored_files.note(address, stored.path)
        if self._sidecar:
            await self._write_sidecar(stored)
        return stored

    def _known_file(self, n: int, name: str) -> KnownFile | None:
        """Return what the journal knows of the n-th file, if that has this name or a numbered one of it."""
        if self._known is None or n >= len(self._known):
            return None
        known = self._known[n]
        stem, dot, suffix = name.rpartition(".")
        numbered = re.compile(rf"{re.escape(stem)}-[0-9]+{re.escape(dot + suffix)}")
        return known if known.name == name or numbered.fullmatch(known.name) else None

    def _existing(self, known: KnownFile | None) -> Existing:
        """Return how to treat a file that is there under the name wanted."""
        if self._known is None:
            return Existing.COMPARE
        if known is None:
            return Existing.KEEP
        return Existing.RENEW if known.sha256 else Existing.REPLACE

    async def _store(self, n: int, target: Path, existing: Existing, slots: asyncio.Semaphore) -> StoredFile:
        """Fetch a file; once the vendor has deleted it, take the complete file on disk."""
        work = self.addresses.use(n, lambda url: self._fetch(url, n, target, existing, slots))
        outcome = await value_or_error(work, ResultExpired)
        if isinstance(outcome, ResultExpired):
            return await self._stored_earlier(n, target, existing, outcome)
        return outcome

    def _source(self, n: int) -> str:
        """Name the n-th file in the note of its part: notes written by earlier versions must match."""
        suffix = "/watermarked" if self._watermarked else ""
        return f"{self._task.endpoint.name}/{self._task.task_id or ''}/{n}{suffix}"

    async def _fetch(
        self, url: str, n: int, target: Path, existing: Existing, slots: asyncio.Semaphore
    ) -> StoredFile:
        context = self._context
        began = context.scope.time()
        fetched = await fetch(
            context.sessions,
            url,
            target,
            source=self._source(n),
            timeouts=context.timeouts,
            retry=context.retry,
            rng=context.rng,
            task_id=self._task.task_id or "",
            slots=slots,
            existing=existing,
        )
        if fetched.fresh:
            seconds = context.scope.time() - began
            name, size = fetched.path.name, fetched.size
            context.hooks.emit("downloaded", self._task, detail=name, size=size, seconds=seconds)
        return StoredFile(fetched.path, fetched.size, fetched.sha256)

    async def _stored_earlier(
        self, n: int, target: Path, existing: Existing, expired: ResultExpired
    ) -> StoredFile:
        """Return the complete file on disk of a result that the vendor deleted; remove its part."""
        part = Partial(target, self._source(n))
        size: int | None = None
        with contextlib.suppress(OSError):
            size = await in_thread(self._context.scope.enter(), part.discard)
        if size is None or existing is Existing.KEEP:  # nothing tells any more whose file it is
            raise expired
        return StoredFile(target, size)

    async def _hashed(self, stored: StoredFile) -> StoredFile:
        """Add the hash of a file that was only compared, for the journal."""

        def read() -> str:
            with stored.path.open("rb") as file:
                return digest(file)

        with contextlib.suppress(OSError):
            return stored._replace(sha256=await in_thread(self._context.scope.enter(), read))
        return stored

    async def _write_sidecar(self, stored: StoredFile) -> None:
        record, target = self._task.record, stored.path
        task = None if record is None else record.plain()
        content = {"file": target.name, "size": stored.size, "task": task}
        data = msgspec.json.format(msgspec.json.encode(content), indent=2)
        path = target.with_name(f"{target.name}.json")
        try:
            await in_thread(self._context.scope.enter(), _replace_sidecar, path, data)
        except OSError as error:
            raise writing_error(path, error, self._task.task_id or "") from None


def _replace_sidecar(path: Path, data: bytes) -> None:
    """Write a sidecar; a file of that name is replaced only if it is a sidecar.

    Raises:
        OSError: It cannot be written, or something else is there.
    """
    if os.path.lexists(path):
        try:
            there = msgspec.json.decode(read_regular(path, _SIDECAR_MAX))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            there = None
        if not isinstance(there, dict) or there.keys() != {"file", "size", "task"}:
            raise FileExistsError(errno.EISDIR, "another file is in its place")
    write_private(path, data)
