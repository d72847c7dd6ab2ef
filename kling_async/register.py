"""What is known of each request of a batch: its name in the journal, how far an earlier run came with it."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async.catalog import endpoint_of
from kling_async.core.identity import defaults_of, external_id, fingerprint, identity
from kling_async.core.record import Entry
from kling_async.errors import Problem, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.engine import Engine
    from kling_async.intake import Item
    from kling_async.journal import Journal
    from kling_async.wire import TaskRequest

__all__ = ["Known", "Register"]


class Known(NamedTuple):
    """One request and its entry."""

    item: Item
    entry: Entry
    old: bool = False
    """Whether an earlier run wrote the entry."""
    error: RequestInvalid | None = None
    """Why it cannot even be begun with."""


class Register:
    """Finds what is known of requests; where there is no journal, all are new."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal | None,
        label: str | Callable[[TaskRequest[Any]], str],
        *,
        sole_keys: bool,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._label = label
        self._sole_keys = sole_keys
        """Whether keys alone name the files, so that none may come twice."""
        self._keys: set[bytes] = set()

    def begin(self) -> None:
        """The input begins, perhaps again."""
        self._keys.clear()

    async def find(self, items: list[Item]) -> list[Known]:
        """Return what is known of these, in order; asked for together they cost few turns of a thread."""
        if self._journal is None:
            found = [Known(item, self._new(item, uuid.uuid4().hex, uuid.uuid4().hex)) for item in items]
        else:
            found = await self._in_journal(self._journal, items)
        return [self._refused_if_again(job) for job in found] if self._sole_keys else found

    async def _in_journal(self, journal: Journal, items: list[Item]) -> list[Known]:
        prints = [await self._print(journal, item) for item in items]
        pairs = [(item.key, p) for item, p in zip(items, prints, strict=True) if isinstance(p, str)]
        places = iter(await journal.occurrences(pairs))
        found: list[Known] = []
        for item, print_ in zip(items, prints, strict=True):
            if isinstance(print_, RequestInvalid):
                found.append(Known(item, self._new(item, "", ""), error=print_))
                continue
            name = identity(item.key, print_, next(places))
            entry = await journal.get(name)
            new = self._new(item, name, external_id(journal.id, name, 0)) if entry is None else entry
            found.append(Known(item, new, old=entry is not None))
        return found

    async def _print(self, journal: Journal, item: Item) -> str | RequestInvalid:
        """Return a request's fingerprint; a file that cannot be read is this job's affair alone."""
        try:
            digests = await journal.digests(item.request)
        except RequestInvalid as error:
            return error
        return fingerprint(endpoint_of(item.request).name, item.request, digests)

    def _refused_if_again(self, job: Known) -> Known:
        """Keys that name files may come once: the second file would take the place of the first."""
        mark = hashlib.blake2b((job.item.key or "").encode(), digest_size=12).digest()
        if job.item.key is None:
            where = f"requests[{job.item.position}]"
            problem = Problem("name", f"{{key}} alone names the files, and {where} has no key")
        elif mark in self._keys:
            problem = Problem("key", f"{job.item.key!r:.60} came before; {{key}} alone names the files")
        else:
            self._keys.add(mark)
            return job
        return job._replace(error=RequestInvalid("batch", [problem]))

    def _new(self, item: Item, name: str, external: str) -> Entry:
        label = self._label if isinstance(self._label, str) else self._label(item.request)
        endpoint = endpoint_of(item.request)
        return Entry(
            identity=name,
            position=item.position,
            endpoint=endpoint.name,
            pool=endpoint.pool,
            external_task_id=external,
            key=item.key,
            label=label,
            account=self._engine.account,
            defaults=defaults_of(item.request),
        )
