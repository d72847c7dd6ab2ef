"""Make the tables of a fleet, bring them up to date, and refuse those of a version that is too new."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kling_async.errors import ConfigurationError
from kling_async.fleet import schema
from kling_async.fleet.database import connect, connection_options, shown_dsn
from kling_async.fleet.schema import (
    MIGRATIONS,
    Migration,
    Versions,
    need_fleet_tables,
    read_versions,
    upgrade,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ADDS = Migration(("ALTER TABLE jobs ADD COLUMN note text NOT NULL DEFAULT ''",), oldest_reader=1)
BREAKS = Migration(("ALTER TABLE jobs DROP COLUMN note",), oldest_reader=len(MIGRATIONS) + 2)


async def made(dsn: str, migrations: Sequence[Migration] = MIGRATIONS) -> tuple[Versions, Versions]:
    """Bring the tables to a version; return the versions before and after."""
    async with connect(dsn) as db:
        return await upgrade(db, migrations)


async def test_tables_are_made_once_by_many_at_once(dsn: str) -> None:
    """Four that make the tables together make them once, procrastinate's too, in a schema of their own."""
    versions = await asyncio.gather(*(made(dsn) for _ in range(4)))
    assert sorted(before.tables for before, _ in versions) == [0, *[len(MIGRATIONS)] * 3]
    async with connect(dsn) as db:
        found = await need_fleet_tables(db)
        query = "SELECT count(*) FROM pg_tables WHERE schemaname='public'"
        assert await (await db.execute(query)).fetchone() == (0,)
        await db.execute("SELECT 1 FROM jobs, procrastinate_jobs, workers, addresses LIMIT 1")
    assert found.tables == len(MIGRATIONS)
    assert found.procrastinate > "03"


async def test_an_older_program_goes_on_beside_tables_that_only_grew(dsn: str) -> None:
    """After a change that adds, programs of both versions may work; after one that breaks, only the newer."""
    await made(dsn)
    async with connect(dsn) as db:
        await db.execute("INSERT INTO batches (id, name) VALUES ('b', 'films')")
        newer = (*MIGRATIONS, ADDS)
        with pytest.raises(ConfigurationError, match="kling fleet init, which brings them up to date"):
            await need_fleet_tables(db, newer)
        await upgrade(db, newer)
        assert (await need_fleet_tables(db)).tables == len(newer)
        assert await upgrade(db) == ((await read_versions(db)),) * 2  # the older one changes nothing
        await upgrade(db, (*newer, BREAKS))
        for refused in (need_fleet_tables(db), upgrade(db)):
            with pytest.raises(ConfigurationError, match="upgrade kling-async here"):
                await refused
        assert await (await db.execute("SELECT name FROM batches")).fetchone() == ("films",)


async def test_a_database_without_tables_is_told_what_to_do(dsn: str) -> None:
    """Nothing is made silently in a database that may be another program's."""
    async with connect(dsn) as db:
        with pytest.raises(ConfigurationError, match="kling fleet init"):
            await need_fleet_tables(db)


async def test_a_step_that_fails_changes_nothing(dsn: str) -> None:
    """The steps of one upgrade are one transaction."""
    wrong = Migration(("ALTER TABLE jobs ADD COLUMN a int", "SELECT nothing FROM nowhere"), 1)
    async with connect(dsn) as db:
        with pytest.raises(Exception, match="nowhere"):
            await upgrade(db, (*MIGRATIONS, wrong))
        assert await read_versions(db) == Versions()
        await upgrade(db)  # and the lock is free again


async def test_procrastinate_s_own_steps_are_taken_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer procrastinate asks for its steps and takes them; an older one undoes nothing."""
    steps = schema._procrastinate_steps()
    step = steps[-1].parent / "99.00.00_01_pre_new.sql"

    class Step:
        stem = step.stem

        def read_bytes(self) -> bytes:
            return b"CREATE TABLE procrastinate_new (number int)"

    await made(dsn)
    async with connect(dsn) as db:
        with monkeypatch.context() as newer:
            newer.setattr(schema, "_procrastinate_steps", lambda: [*steps, Step()])
            with pytest.raises(ConfigurationError, match=r"procrastinate's tables .* run: kling fleet init"):
                await need_fleet_tables(db)
            before, after = await upgrade(db)
            assert (before.procrastinate, after.procrastinate) == (steps[-1].stem, step.stem)
        assert await upgrade(db) == (after, after)
        assert await need_fleet_tables(db) == after
        with monkeypatch.context() as newer:  # taken twice, the step would fail
            newer.setattr(schema, "_procrastinate_steps", lambda: [*steps, Step()])
            assert await upgrade(db) == (after, after)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:s3cret@127.0.0.1:1/jobs",
        "host=127.0.0.1 port=1 user=me password=s3cret dbname=jobs",
        "host=127.0.0.1 port=1 user=me password=x#s3cret dbname=jobs",
        "postgresql://me@127.0.0.1:1/jobs?password=s3cret&sslpassword=s3cret#team",
        "postgresql://me:s3cret@[nowhere/jobs",
        "s3cret",
        "",
    ],
)
async def test_no_password_is_shown(dsn: str) -> None:
    """Neither the words for people nor any error hold it, whatever form the DSN has."""
    assert "s3cret" not in shown_dsn(dsn)
    with pytest.raises(ConfigurationError) as caught:
        async with connect(dsn):
            pass
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_options_of_the_dsn_stay() -> None:
    """A DSN's own options are kept; the name of an account is not the server's business."""
    options = connection_options("postgresql://h/db?options=-c%20jit%3Doff&application_name=mine#team")
    assert options["options"] == "-c jit=off"
    assert options["application_name"] == "mine"
    assert options["dbname"] == "db"
    assert connection_options("host=h password=a#b dbname=db")["password"] == "a#b"
