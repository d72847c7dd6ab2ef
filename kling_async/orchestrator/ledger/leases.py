"""Leases: rows of a shared ledger that stand for tickets, read when needed, written back when changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.core.queue import Kind, Phase, Ticket
from kling_async.core.waiting_line import ASIDE
from kling_async.orchestrator.ledger.facts import NewsKind, Stage, TaskFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kling_async.orchestrator.ledger.connection import LedgerConnection, LedgerRows

__all__ = ["LEASE_TABLES", "Lease", "LeaseTable"]


_PHASES: Final = {
    Stage.GONE: Phase.GONE,
    Stage.QUEUED: Phase.QUEUED,
    Stage.ASIDE: Phase.ASIDE,
    Stage.SENT: Phase.SENT,
    Stage.HELD: Phase.HELD,
    Stage.LAPSED: Phase.SENT,
    Stage.ASLEEP: Phase.SENT,
    Stage.HEIR: Phase.SENT,
    Stage.PARKED: Phase.PARKED,
}
"""The phase of a ticket whose row is read; lapsed and sleeping ones, and heirs, are out of line."""

_COLUMNS: Final = (
    *("owner", "number", "pool", "stage", "weight", "priority", "label", "turn", "epoch", "probe", "since"),
    *("aside", "back_at", "granted_at", "orphan", "wanted", "news", "error"),
    *("catalog_name", "model", "kind_pool", "endpoint", "external_task_id", "task_id", "kind"),
)

LEASE_TABLES: Final = (
    """CREATE TABLE leases (
        owner INTEGER NOT NULL, number INTEGER NOT NULL, pool INTEGER NOT NULL, stage INTEGER NOT NULL,
        weight INTEGER NOT NULL, priority INTEGER NOT NULL, label TEXT NOT NULL, turn INTEGER NOT NULL,
        epoch INTEGER NOT NULL, probe INTEGER NOT NULL, since REAL NOT NULL, aside REAL NOT NULL,
        back_at REAL, granted_at REAL, orphan REAL, wanted INTEGER NOT NULL, news INTEGER NOT NULL,
        error TEXT, catalog_name TEXT, model TEXT, kind_pool TEXT,
        endpoint TEXT NOT NULL, external_task_id TEXT NOT NULL, task_id TEXT NOT NULL,
        kind TEXT NOT NULL, PRIMARY KEY (owner, number)) WITHOUT ROWID""",
    "CREATE INDEX lease_places ON leases (pool, stage, priority, label, number)",
    "CREATE INDEX lease_news ON leases (owner, news) WHERE news > 0",
    "CREATE INDEX lease_tasks ON leases (task_id) WHERE task_id <> ''",
    "CREATE INDEX lease_names ON leases (external_task_id) WHERE external_task_id <> ''",
)

_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM leases"  # noqa: S608 - names of this module
_CHANGES: Final = ", ".join(f"{name}=excluded.{name}" for name in _COLUMNS[2:])
_REPLACE: Final = (
    f"INSERT INTO leases ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (owner, number) DO UPDATE SET {_CHANGES}"
)


class Owned(NamedTuple):
    """The name of a lease: the process that owns it, and its number there."""

    owner: int
    number: int


class Lease(Ticket):
    """A ticket whose state lies in the ledger."""

    __slots__ = (
        "about",
        "aside",
        "back_at",
        "error",
        "granted_at",
        "news",
        "off",
        "orphan",
        "owner",
        "pool_id",
        "stalled",
        "wanted",
        "written",
    )

    def __init__(
        self,
        owner: int,
        number: int,
        weight: int,
        *,
        about: TaskFacts,
        priority: int = 0,
        label: str = "",
        kind: Kind | None = None,
        phase: Phase = Phase.NEW,
    ) -> None:
        super().__init__(weight, priority=priority, label=label, kind=kind, phase=phase)
        self.owner = owner
        self.sequence = number
        self.about = about
        self.pool_id = 0
        self.off: Stage | None = None
        """LAPSED, ASLEEP or HEIR: out of line, and without slots."""
        self.stalled = False
        """In flight in a process that does not react: its slots are held, and nobody waits for its answer."""
        self.aside = ASIDE
        """Seconds for which it would step aside next."""
        self.back_at: float | None = None
        """When it comes back, if it stepped aside."""
        self.granted_at: float | None = None
        """When its slots were granted; None: they are in use, or it has none."""
        self.orphan: float | None = None
        """Since when its process is dead."""
        self.wanted = False
        self.news = NewsKind.NONE
        self.error: str | None = None
        self.written: tuple[Any, ...] | None = None
        """The row as it stands in the table."""

    @property
    def name(self) -> Owned:
        """Its name in the table."""
        return Owned(self.owner, self.sequence)

    @property
    def granted(self) -> bool:
        """Whether its slots are taken, and its process has not begun to use them."""
        return self.phase is Phase.SENT and self.off is None and self.granted_at is not None

    @property
    def holds(self) -> bool:
        """Whether it has its slots."""
        return self.off is None and self.phase in (Phase.SENT, Phase.HELD)

    @property
    def in_flight(self) -> bool:
        """Whether its create is on its way, or granted."""
        return self.off is None and (self.phase is Phase.SENT or (self.stalled and self.phase is Phase.HELD))

    def tell(self, news: NewsKind, error: str | None = None) -> None:
        """Leave a message for its process; an orphan has nobody to hear it."""
        if self.orphan is None:
            self.news, self.error = news, error

    def row(self) -> tuple[Any, ...]:
        """Return its row."""
        stage = self.off if self.off is not None and self.phase is Phase.SENT else Stage[self.phase.name]
        if self.stalled and self.phase is Phase.HELD:
            stage = Stage.SENT
        return (
            *(self.owner, self.sequence, self.pool_id, int(stage), self.weight, self.priority, self.label),
            *(self.turn, self.epoch, int(self.probe), self.since, self.aside, self.back_at),
            *(self.granted_at, self.orphan, int(self.wanted), int(self.news), self.error),
            *((None, None, None) if self.kind is None else self.kind),
            *self.about,
        )


def _lease(row: tuple[Any, ...], late: frozenset[int]) -> Lease:
    """Make the lease of a row."""
    (owner, number, pool, code, weight, priority, label, turn, epoch, probe, since, *more) = row
    (aside, back_at, granted_at, orphan, wanted, news, error, *kind) = more
    about = kind[3:]
    stage = Stage(code)
    stalled = stage is Stage.SENT and granted_at is None and owner in late
    phase = Phase.HELD if stalled else _PHASES[stage]
    lease = Lease(
        owner,
        number,
        weight,
        about=TaskFacts(*about),
        priority=priority,
        label=label,
        kind=None if kind[0] is None else Kind(*kind[:3]),
        phase=phase,
    )
    lease.pool_id, lease.turn, lease.epoch, lease.probe, lease.since = pool, turn, epoch, bool(probe), since
    lease.entered = number / 1e9
    lease.aside, lease.back_at, lease.granted_at, lease.orphan = aside, back_at, granted_at, orphan
    lease.wanted, lease.news, lease.error, lease.stalled = bool(wanted), NewsKind(news), error, stalled
    lease.off = stage if stage in (Stage.LAPSED, Stage.ASLEEP, Stage.HEIR) else None
    lease.written = row
    return lease


class LeaseTable:
    """The leases that one transaction has read, each once.

    Args:
        db: Within a transaction.
        late: The processes that have not shown themselves for long.
    """

    def __init__(self, db: LedgerConnection, late: frozenset[int]) -> None:
        self._db = db
        self.late = late
        self._read: dict[Owned, Lease] = {}
        self._absent: set[Owned] = set()
        """Names that no row has."""
        self.told: set[int] = set()
        """The processes for which news were written."""

    def add(self, lease: Lease, pool: int) -> None:
        """Add a new lease."""
        lease.pool_id = pool
        self._read[lease.name] = lease
        self._absent.discard(lease.name)

    def find(self, owner: int, number: int) -> Lease | None:
        """Return the lease of that name."""
        self.fetch(owner, [number])
        return self._read.get(Owned(owner, number))

    def fetch(self, owner: int, numbers: Iterable[int]) -> None:
        """Read the leases of these names, as far as there are any, in one go."""
        names = {Owned(owner, number) for number in numbers} - self._read.keys() - self._absent
        asked = [self.ask("owner=? AND number=?", *name) for name in names]
        for rows in asked:
            for _ in self.read(rows):
                pass
        self._absent |= names - self._read.keys()

    def select(self, condition: str, *values: Any) -> Iterator[Lease]:
        """Yield the leases whose rows, as last written, meet a condition."""
        return self.read(self.ask(condition, *values))

    def ask(self, condition: str, *values: Any) -> LedgerRows:
        """Begin to look for rows that meet a condition; `read` yields their leases."""
        return self._db.execute(f"{_SELECT} WHERE {condition}", values)

    def read(self, rows: LedgerRows) -> Iterator[Lease]:
        """Yield the leases of rows."""
        for row in rows.fetchall():
            name = Owned(row[0], row[1])
            if name not in self._read:
                self._read[name] = _lease(row, self.late)
            yield self._read[name]

    def mark(self, lease: Lease, stage: Stage) -> None:
        """Write at once where a lease stands, so that queries see it; `write` writes the rest."""
        values = (int(stage), *lease.name)
        self._db.execute("UPDATE leases SET stage=? WHERE owner=? AND number=?", values)
        lease.written = None

    def write(self, *leases: Lease) -> None:
        """Write rows that have changed; those of leases that are over and have nothing to tell go."""
        for lease in leases or list(self._read.values()):
            row = lease.row()
            if lease.phase is Phase.GONE and lease.news is NewsKind.NONE:
                self._db.execute("DELETE FROM leases WHERE owner=? AND number=?", lease.name)
                lease.written = None
            elif row != lease.written:
                self._db.execute(_REPLACE, row)
                lease.written = row
                if lease.news is not NewsKind.NONE:
                    self.told.add(lease.owner)
