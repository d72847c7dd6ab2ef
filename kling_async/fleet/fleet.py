"""`Fleet`: the jobs of many machines, as one program sees them."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from kling_async.errors import Problem, RequestInvalid
from kling_async.fleet.database import connect, connection_options, shown_dsn
from kling_async.fleet.schema import need_tables, upgrade
from kling_async.fleet.submit import submit
from kling_async.fleet.writing import batch_named

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from psycopg import AsyncConnection

    from kling_async.batch.source import Requests
    from kling_async.fleet.schema import Versions
    from kling_async.fleet.submit import Submitted
    from kling_async.wire.requests import TaskRequest

__all__ = ["Fleet"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Fleet:
    """The jobs of a fleet, in one PostgreSQL database. Enter it with ``async with``; many programs may.

    Args:
        dsn: The database: ``postgresql://user@host:5432/name``, or ``host=... dbname=...``. The password is
            best given by ``PGPASSWORD`` or ``~/.pgpass``. PostgreSQL 14 or newer.

    Raises:
        ConfigurationError: The DSN cannot be read, or the extra ``fleet`` is not installed; on entering: the
            server cannot be reached, or its tables are of another version.
    """

    def __init__(self, dsn: str) -> None:
        connection_options(dsn)
        self._dsn = dsn
        self._stack = AsyncExitStack()
        self._db: AsyncConnection[Any] | None = None

    def __repr__(self) -> str:
        return f"<Fleet {shown_dsn(self._dsn)}>"

    async def init(self) -> tuple[Versions, Versions]:
        """Make the tables, or bring them up to date; return the versions before and after.

        Harmless to repeat, also by many at once and beside workers. The `Fleet` need not be entered.

        Raises:
            ConfigurationError: The server cannot be reached, or its tables need a newer program.
        """
        async with connect(self._dsn) as db:
            return await upgrade(db)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            db = await stack.enter_async_context(connect(self._dsn))
            await need_tables(db)
            self._db, self._stack = db, stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db = None
        await self._stack.aclose()

    def _need_open(self) -> None:
        if self._db is None:
            raise RuntimeError("a fleet is entered first: async with Fleet(dsn) as fleet")

    async def submit(
        self,
        requests: Requests[Any],
        *,
        batch: str,
        priority: int = 0,
        label: str | Callable[[TaskRequest[Any]], str] = "",
        on_bad: Callable[[RequestInvalid], object] | None = None,
    ) -> Submitted:
        """Write jobs, each once, and hand the new ones to the queue, 10,000 at a time.

        The same request under the same key is the same job, whoever submits it how often; two equal ones in
        one input are two jobs. Files are read and stored with their jobs, since these run on any machine.
        Cut short, it can be repeated. Nothing is sent to the vendor.

        Args:
            requests: Requests, or pairs of a key and a request; any iterable or async iterable, also one that
                never ends.
            batch: The name that the jobs are found by: 1 to 64 letters, digits, dots, dashes, underscores.
            priority: Jobs of higher priority go first, -32768 to 32767.
            label: Labels take turns within a priority; or a function of the request that returns one.
            on_bad: Called with the error of each wrong request, which is left out. Default: it is raised.

        Raises:
            RequestInvalid: A request, or the batch's name, is wrong. Of a sequence nothing was written then;
                of other inputs the requests before may have been.
        """
        self._need_open()
        check_batch_name(batch)
        async with connect(self._dsn) as db:
            row = await batch_named(db, batch)
            return await submit(db, requests, row, priority=priority, label=label, on_bad=on_bad)


def check_batch_name(name: str) -> None:
    """Check the name of a batch.

    Raises:
        RequestInvalid: It is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = f"must be 1 to 64 letters, digits, dots, dashes or underscores, not {name!r:.80}"
        raise RequestInvalid("fleet", [Problem("batch", text)])
