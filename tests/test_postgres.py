"""Try the server that other tests use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.postgres import Postgres

pytestmark = pytest.mark.real


def test_each_test_has_a_database_and_the_server_can_be_stopped(postgres: Postgres, dsn: str) -> None:
    """A new database is empty, and is there still after a stop and a start."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (a integer)")
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn).close()
    postgres.start()
    with psycopg.connect(dsn) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert postgres.new_database() != dsn
