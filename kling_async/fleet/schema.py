"""The tables of a fleet: made, and brought up to date, one version after the other.

A program reads the number of the version that it finds. It works with older tables after `upgrade`, with
newer ones as long as these say that programs of its version may (``oldest_reader``): a change that only adds
keeps older workers at work while a fleet is upgraded, one machine after the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from procrastinate.schema import SchemaManager

from kling_async.errors import ConfigurationError
from kling_async.fleet.database import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

__all__ = ["MIGRATIONS", "Migration", "Versions", "need_fleet_tables", "read_versions", "upgrade"]

_LOCK: Final = 0x6B6C666C
"""Names the advisory lock under which tables are made ("klfl")."""


class Migration(NamedTuple):
    """One step from a version of the tables to the next."""

    statements: tuple[str, ...]
    oldest_reader: int
    """The oldest version of programs that may work with the tables after this step."""


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(
        (
            """CREATE TABLE batches (
                id text PRIMARY KEY, name text NOT NULL UNIQUE, created timestamptz NOT NULL DEFAULT now(),
                total bigint NOT NULL DEFAULT 0, done bigint NOT NULL DEFAULT 0,
                succeeded bigint NOT NULL DEFAULT 0, failed bigint NOT NULL DEFAULT 0,
                cancelled bigint NOT NULL DEFAULT 0, units double precision NOT NULL DEFAULT 0)""",
            """CREATE TABLE keys (
                address text NOT NULL, account text NOT NULL, since timestamptz NOT NULL DEFAULT now(),
                PRIMARY KEY (address, account))""",
            """CREATE TABLE jobs (
                number bigint GENERATED ALWAYS AS IDENTITY, batch text NOT NULL REFERENCES batches,
                identity bytea NOT NULL, position bigint NOT NULL, state smallint NOT NULL,
                attempt integer NOT NULL, priority integer NOT NULL, label text NOT NULL, key text,
                pool text NOT NULL, endpoint text NOT NULL, entry bytea NOT NULL, request bytea,
                fence bigint NOT NULL DEFAULT 0, worker text, taken_at timestamptz, planned_at timestamptz,
                ended_at timestamptz, done bigint, cancelled boolean NOT NULL DEFAULT false, reason text,
                units double precision, PRIMARY KEY (batch, identity))""",
            "CREATE UNIQUE INDEX jobs_done ON jobs (batch, done) WHERE done IS NOT NULL",
            """CREATE INDEX jobs_unfinished ON jobs (number) INCLUDE (batch, identity, priority, pool)
                WHERE done IS NULL""",
            "CREATE INDEX jobs_open ON jobs (batch, priority, label, state) WHERE done IS NULL",
            "CREATE INDEX jobs_ended ON jobs (ended_at) WHERE ended_at IS NOT NULL",
            "CREATE INDEX jobs_failed ON jobs (batch, reason) WHERE reason IS NOT NULL",
            """CREATE TABLE addresses (
                batch text NOT NULL, identity bytea NOT NULL, record bytea NOT NULL,
                PRIMARY KEY (batch, identity))""",
            """CREATE TABLE workers (
                token text PRIMARY KEY, name text NOT NULL, started timestamptz NOT NULL DEFAULT now(),
                beat timestamptz NOT NULL DEFAULT now(), concurrency integer NOT NULL,
                running integer NOT NULL DEFAULT 0, version integer NOT NULL)""",
        ),
        oldest_reader=1,
    ),
)
"""All steps, in order; the number of a version is how many were taken."""


class Versions(NamedTuple):
    """The versions of the tables in a database; 0: there are none."""

    tables: int = 0
    oldest_reader: int = 0
    procrastinate: str = ""
    """The last of procrastinate's own migrations that was taken."""


async def read_versions(db: AsyncConnection[Any]) -> Versions:
    """Read the versions of the tables."""
    found = await (await db.execute(f"SELECT to_regclass('{SCHEMA}.schema')")).fetchone()
    if found is None or found[0] is None:
        return Versions()
    query = f"SELECT version, oldest_reader, procrastinate FROM {SCHEMA}.schema"  # noqa: S608 - our name
    row = await (await db.execute(query)).fetchone()
    return Versions() if row is None else Versions(*row)


async def need_fleet_tables(
    db: AsyncConnection[Any], migrations: Sequence[Migration] = MIGRATIONS
) -> Versions:
    """Check that this program may work with the tables.

    Raises:
        ConfigurationError: There are none, or they are of a version that this program must not use.
    """
    found = await read_versions(db)
    if not found.tables:
        raise ConfigurationError("the database has no tables of a fleet yet; run: kling fleet init")
    if found.tables < len(migrations):
        raise ConfigurationError(
            f"the fleet's tables have version {found.tables}, this program needs {len(migrations)}; run:"
            " kling fleet init, which brings them up to date"
        )
    _need_reader(found, migrations)
    if found.procrastinate < (needed := _procrastinate_steps()[-1].stem):
        raise ConfigurationError(
            f"procrastinate's tables are at {found.procrastinate}, this program needs {needed}; run:"
            " kling fleet init, which brings them up to date"
        )
    return found


def _need_reader(found: Versions, migrations: Sequence[Migration]) -> None:
    if found.oldest_reader > len(migrations):
        raise ConfigurationError(
            f"the fleet's tables have version {found.tables}, which needs a program of version"
            f" {found.oldest_reader} or newer, and this one is {len(migrations)}; upgrade kling-async here"
        )


async def upgrade(
    db: AsyncConnection[Any], migrations: Sequence[Migration] = MIGRATIONS
) -> tuple[Versions, Versions]:
    """Make the tables, or bring them up to date; harmless to repeat, also by many at once.

    Args:
        db: A connection of its own.
        migrations: The steps to be taken.

    Returns:
        The versions before and after.

    Raises:
        ConfigurationError: The tables are of a version that this program must not use.
    """
    await db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    try:
        before = await read_versions(db)
        _need_reader(before, migrations)
        async with db.transaction():
            await db.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            await _take_steps(db, before, migrations)
            await _upgrade_procrastinate(db, before)
        return before, await read_versions(db)
    finally:
        await db.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


async def _take_steps(db: AsyncConnection[Any], before: Versions, migrations: Sequence[Migration]) -> None:
    if not before.tables:
        await db.execute(
            "CREATE TABLE schema (version integer NOT NULL, oldest_reader integer NOT NULL,"
            " procrastinate text NOT NULL)"
        )
        await db.execute("INSERT INTO schema VALUES (0, 0, '')")
    for number, migration in enumerate(migrations[before.tables :], before.tables + 1):
        for statement in migration.statements:
            await db.execute(statement.encode())
        oldest = max(migration.oldest_reader, before.oldest_reader)
        await db.execute("UPDATE schema SET version=%s, oldest_reader=%s", (number, oldest))


def _procrastinate_steps() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))


async def _upgrade_procrastinate(db: AsyncConnection[Any], before: Versions) -> None:
    """Make procrastinate's tables, or take those of its migrations that came since."""
    steps = _procrastinate_steps()
    if not before.procrastinate:
        await db.execute(SchemaManager.get_schema().encode())
    else:
        for step in steps:
            if step.stem > before.procrastinate:
                await db.execute(step.read_bytes())
    # a program with an older procrastinate must not set it back: the next one would take steps twice
    latest = max(steps[-1].stem, before.procrastinate)
    await db.execute("UPDATE schema SET procrastinate=%s", (latest,))
