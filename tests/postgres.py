"""A PostgreSQL from a wheel: one server for each pytest process, one database for each test."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg

from kling_async.fleet.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Postgres", "served_postgres"]

Postgres = EmbeddedPostgres
"""A running server, of which databases are made."""


@contextlib.contextmanager
def served_postgres() -> Iterator[Postgres]:
    """Run a server that keeps nothing safe from a power cut, for speed.

    Its folder is not pytest's: each start of another pytest closes that to the server's user.
    """
    server = Postgres()
    try:
        with psycopg.connect(server.new_database(), autocommit=True) as db:
            db.execute("ALTER SYSTEM SET fsync = off")
            db.execute("ALTER SYSTEM SET full_page_writes = off")
            db.execute("ALTER SYSTEM SET synchronous_commit = off")
            db.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.close()
