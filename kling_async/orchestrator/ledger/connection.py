"""Connection: the few calls by which the ledger's tables are used, whatever database they lie in.

Queries are SQL that SQLite and PostgreSQL read alike, with ``?`` for values; `sqlite3.Connection` is such a
connection as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["LedgerConnection", "LedgerLost", "LedgerRows", "LedgerUnreachable"]


class LedgerUnreachable(Exception):
    """Raised where the ledger's server cannot be reached, or does not work, at the moment."""


class LedgerLost(Exception):
    """Raised where the file was removed or replaced: open a new one, then give this one up."""


class LedgerRows(Protocol):
    """The rows that a query has found."""

    @property
    def rowcount(self) -> int:
        """How many rows a change has touched."""
        ...

    def fetchone(self) -> Any:
        """Return the next row; None: there is none."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows."""
        ...


class LedgerConnection(Protocol):
    """A connection to the ledger's database, within a transaction."""

    def execute(self, query: str, values: Sequence[Any] = ..., /) -> LedgerRows:
        """Run a query."""
        ...

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> LedgerRows:
        """Run a change once for each row of values."""
        ...
