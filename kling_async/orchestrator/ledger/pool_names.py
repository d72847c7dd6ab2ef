"""Pool names: which pools an account has, and for which of them something is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_async.orchestrator.ledger.connection import LedgerConnection, LedgerRows

__all__ = ["PoolNames"]


class PoolNames:
    """The pools of an account as they were when a transaction began, read when first needed.

    Args:
        db: Within a transaction.
        account: The row of the account.
        now: The time.
    """

    def __init__(self, db: LedgerConnection, account: int, now: float) -> None:
        self._db = db
        self._account = account
        self._now = now
        self._names: dict[int, str] | None = None
        self._due: list[str] = []

    def ask(self) -> LedgerRows:
        """Begin to read; `take` takes the rows."""
        return self._db.execute("SELECT id, name, next_time FROM pools WHERE account=?", (self._account,))

    def take(self, rows: LedgerRows) -> dict[int, str]:
        """Take what was read; return the names of pools by their rows."""
        found = rows.fetchall()
        self._due = [name for _, name, when in found if when is not None and when <= self._now]
        self._names = {row: name for row, name, _ in found}
        return self._names

    def add(self, row: int, name: str) -> None:
        """Take a pool that was made meanwhile."""
        if self._names is not None:
            self._names[row] = name

    @property
    def all(self) -> dict[int, str]:
        """The names of pools by their rows."""
        return self.take(self.ask()) if self._names is None else self._names

    @property
    def due(self) -> list[str]:
        """The pools whose time had come."""
        return self._due if self.all else []
