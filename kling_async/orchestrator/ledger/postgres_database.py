"""A connection to the PostgreSQL that holds a shared ledger: queries, transactions, news, and faults."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import conninfo

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.connecting import (
    MARK,
    MARKED,
    need_encoding,
    need_own_session,
    wanted_server,
)
from kling_async.orchestrator.ledger.connection import LedgerLost, LedgerUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg import Cursor, Pipeline

__all__ = ["SCHEMA", "PostgresDatabase", "checked_dsn", "faults"]

SCHEMA: Final = "kling_slots"
"""Holds the tables."""
_CONNECT: Final[dict[str, int | str]] = {
    "connect_timeout": 3,  # seconds; the messenger tries again
    "tcp_user_timeout": 5000,  # milliseconds until a peer that does not acknowledge is given up
    "keepalives_idle": 5,
    "application_name": "kling_async slot ledger",
}
"""Parameters of connections, where the DSN does not set them."""
_SETTINGS: Final = (
    # a process that is stopped within its transaction must not hold up the others
    *(("idle_in_transaction_session_timeout", "2s"), ("lock_timeout", "3s"), ("statement_timeout", "5s")),
    # a few rows through an index, of tables that were empty when the planner last looked
    *(("enable_seqscan", "off"), ("jit", "off")),
    ("search_path", SCHEMA),
)
_PATIENCE: Final = 3.5
"""Seconds to wait for an answer, longer than the server waits for a lock: then the connection is cut."""
_READS: Final = 10
"""How often what a server has said meanwhile is read before it is asked something."""
_WRONG: Final = (
    *("password authentication failed", "no password supplied", "authentication failed", "does not exist"),
    *("permission denied", "no pg_hba.conf entry", "is not permitted to log in", "pg_hba.conf rejects"),
    *(
        "certificate verify failed",
        "server does not support SSL",
        "not currently accepting connections",
    ),
)
"""Words of refusals that another try does not change."""


class _Waits:
    """Takes the time for which an answer of the server is waited for; a context."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    @property
    def seconds(self) -> float:
        """How long it has been waited for; 0: it is not."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


class _Trip:
    """Queries that were sent and not yet waited for.

    Args:
        pipeline: In which they are sent.
        waits: Takes the time of each answer.
    """

    def __init__(self, pipeline: Pipeline, waits: _Waits) -> None:
        self._pipeline = pipeline
        self._waits = waits
        self._sent = self._answered = 0

    def add(self) -> int:
        """Count a query that was sent; return its number."""
        self._sent += 1
        return self._sent

    def wait(self, number: int) -> None:
        """Wait for the answer to a query, and to all others that were sent.

        Each time with a synchronisation: without it a session whose client has stopped does not count as idle
        in its transaction, and the server never ends it.
        """
        if number > self._answered:
            self._answered = self._sent
            with self._waits:
                self._pipeline.sync()


class _Rows:
    """The rows of a query; they are waited for when they are read.

    Args:
        cursor: Of the query.
        trip: With which it was sent; None: its answer is here.
    """

    def __init__(self, cursor: Cursor[Any], trip: _Trip | None) -> None:
        self._cursor = cursor
        self._trip = trip
        self._number = 0 if trip is None else trip.add()

    def _answered(self) -> Cursor[Any]:
        if self._trip is not None:
            self._trip.wait(self._number)
        return self._cursor

    @property
    def rowcount(self) -> int:
        """How many rows a change has touched."""
        return self._answered().rowcount

    def fetchone(self) -> Any:
        """Return the next row; None: there is none."""
        return self._answered().fetchone()

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self._answered().fetchall()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows."""
        return iter(self.fetchall())


class PostgresDatabase:
    """An open connection (`ledger.connection.LedgerConnection`).

    Args:
        dsn: Where to connect to.

    Raises:
        psycopg.Error: That is not possible; see `faults`.
    """

    def __init__(self, dsn: str) -> None:
        given = conninfo.conninfo_to_dict(dsn)
        self._guard = threading.Lock()
        self._trip: _Trip | None = None
        self._waits = _Waits()
        self._notified = False
        defaults = {**_CONNECT, **wanted_server(given)}
        ours = {name: value for name, value in defaults.items() if name not in given}
        self._whole = conninfo.make_conninfo(dsn, **ours, client_encoding="utf8")
        self._connection: psycopg.Connection[Any] = psycopg.connect(self._whole, autocommit=True)
        self._connection.add_notify_handler(self._on_notify)

    def begin(self) -> None:
        """Make the settings of the session, once the database was looked at.

        Raises:
            ConfigurationError: The database cannot hold all texts, or a pooler gives each transaction another
                session.
        """
        info = self._connection.info
        need_encoding(info.parameter_status("server_encoding"))
        values = [value for setting in _SETTINGS for value in setting]
        settings = ", ".join(["set_config(?, ?, false)"] * len(_SETTINGS))
        if self.execute(f"SELECT pg_backend_pid(), {settings}", values).fetchone()[0] != info.backend_pid:
            mark = secrets.token_hex(8)
            self.execute(MARK, (mark,))
            # the pooler may have no place for another one: then nothing is known
            with contextlib.suppress(psycopg.OperationalError), self._waits:
                with psycopg.connect(self._whole, autocommit=True) as other:
                    (found,) = other.execute(MARKED).fetchone() or (None,)
                need_own_session(mark, found)

    def _on_notify(self, _: object) -> None:
        self._notified = True

    def take_notified(self) -> bool:
        """Tell whether the server has said meanwhile that there are news."""
        found, self._notified = self._notified, False
        return found

    def fileno(self) -> int | None:
        """Return the descriptor that becomes readable when the server has something to say."""
        return None if self._connection.closed else self._connection.fileno()

    # -- queries

    def execute(self, query: str, values: Sequence[Any] = (), /) -> _Rows:
        """Run a query; within a transaction its answer is waited for when it is read."""
        text, plain = _translated(query), [*map(_plain, values)]
        if self._trip is not None:
            return _Rows(self._connection.execute(text, plain), self._trip)
        with self._waits:
            return _Rows(self._connection.execute(text, plain), None)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> _Rows:
        """Run a change once for each row of values."""
        cursor = self._connection.cursor()
        cursor.executemany(_translated(query), [[*map(_plain, row)] for row in rows])
        return _Rows(cursor, self._trip)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction; commit it at the end, or roll it back after an error.

        Changes are sent without waiting for an answer: what fails shows with the next query that is read.
        """
        try:
            with self._connection.pipeline() as pipeline:
                self._trip = _Trip(pipeline, self._waits)
                try:
                    self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                    yield
                    self.execute("COMMIT").rowcount  # noqa: B018 - waits for it
                finally:
                    self._trip = None
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                self._connection.rollback()
            raise

    # -- ends

    def is_cut(self) -> bool:
        """Tell whether the connection is of no use any more: the server may have ended it long ago."""
        with contextlib.suppress(psycopg.Error):
            for _ in range(_READS):  # a farewell of the server comes before the end
                if self._connection.closed or not select.select([self._connection], [], [], 0)[0]:
                    return self._connection.closed
                self._connection.pgconn.consume_input()
            return False
        self.close()
        return True

    def interrupt(self) -> None:
        """Cut the connection if an answer is overdue, from another thread."""
        if self._waits.seconds < _PATIENCE:
            return
        with self._guard, contextlib.suppress(OSError, psycopg.Error):
            if not self._connection.closed:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as cut:
                    cut.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection: its locks are free at once."""
        with self._guard:
            self._connection.close()


@functools.lru_cache(maxsize=256)
def _translated(query: str) -> bytes:
    return query.replace("?", "%s").encode()


def _plain(value: Any) -> Any:
    """Return a value as the database takes it: it knows neither NUL nor half of a surrogate pair in text."""
    if isinstance(value, str) and not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def checked_dsn(dsn: str) -> str:
    """Return a DSN if it can be read, and its password has not become something else.

    Raises:
        ConfigurationError: It cannot; the message does not show it.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeError):
        given = {"port": "unreadable"}
    ports = str(given.get("port") or "")
    if not dsn or (ports and not ports.replace(",", "").isdigit()):  # outside: the error shows the DSN
        raise ConfigurationError(
            'slots: the address is not as in "postgresql://user:password@host/database", where a password has'
            " %23, %2F and %40 for the signs #, / and @"
        )
    return dsn


@contextlib.contextmanager
def faults(dsn: str, *, joined: bool) -> Iterator[None]:
    """Say what a fault of the database means for the ledger, without the DSN's password.

    Args:
        dsn: Where the ledger is.
        joined: Whether it could be used before: then an outage, however odd, is waited for.

    Raises:
        LedgerUnreachable: It may be different in a moment.
        LedgerLost: The tables were removed.
        ConfigurationError: The database cannot be used.
    """
    try:
        yield
    except psycopg.Error as error:
        failure = _meaning(error, _without_password(str(error), dsn), joined=joined)
    else:
        return
    raise failure


def _meaning(error: psycopg.Error, text: str, *, joined: bool) -> Exception:
    lost = psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName
    if joined and isinstance(error, lost):
        return LedgerLost("the tables of the slot ledger were removed in use; they are made anew")
    passing = isinstance(error, psycopg.OperationalError | psycopg.InternalError | psycopg.InterfaceError)
    if passing and (joined or not any(words in text for words in _WRONG)):
        return LedgerUnreachable(text)
    if joined:
        return error
    return ConfigurationError(f"slots: the ledger in PostgreSQL cannot be used: {text}")


def _without_password(text: str, dsn: str) -> str:
    """Return an error's text in one line; it should not show the password, and must not."""
    raw = urlsplit(dsn).password or ""
    given = cast("str", conninfo.conninfo_to_dict(dsn).get("password") or "")
    for secret in {raw, unquote(raw), given} - {""}:
        text = text.replace(secret, "...")
    return " ".join(text.split())
