"""Connect to the database of a fleet: one schema, no password in sight, errors in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
from typing import TYPE_CHECKING, Any, Final

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.connecting import (
    MARK,
    MARKED,
    need_encoding,
    need_own_session,
    wanted_server,
)
from kling_async.orchestrator.ledger.places import is_misread, without_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from psycopg import AsyncConnection

__all__ = [
    "SCHEMA",
    "connect",
    "connection_options",
    "need_extra",
    "open_connection",
    "refusals",
    "server_time",
    "shown_dsn",
    "telling_line",
]

SCHEMA: Final = "kling_fleet"
"""The schema of PostgreSQL that holds the tables, procrastinate's own among them."""
_SETTINGS: Final = f"""
    SELECT pg_backend_pid(), set_config('search_path', '{SCHEMA}', false),
        set_config('standard_conforming_strings', 'on', false)"""
_CONNECTING: Final = 5
"""Seconds that a new connection to one host may take."""
_SETTLING: Final = 10.0
"""Seconds that its first statements may take."""
_CUT_OFF: Final = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is noticed within ten seconds, not hours."""
_SECRET: Final = frozenset(
    {"password", "sslpassword", "passfile", "scram_client_key", "scram_server_key", "oauth_client_secret"}
)
"""Parts of a DSN that nobody is shown."""


def need_extra() -> None:
    """Check that the packages of the extra ``fleet`` are there.

    Raises:
        ConfigurationError: One is missing; the message says how to install it.
    """
    for package in ("psycopg", "procrastinate"):
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(f"a fleet needs the package {package}: pip install 'kling-async[fleet]'")


def shown_dsn(dsn: str) -> str:
    """Return a DSN as people may see it: without the password, and without a part that cannot be read."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - with the extra only

    facts = _read(dsn)
    if not facts:
        return "a DSN that cannot be read"
    return make_conninfo("", **{name: value for name, value in facts.items() if name not in _SECRET})


def _read(dsn: str) -> dict[str, Any]:
    """Return the parts of a DSN; none: it cannot be read, or is read otherwise than it was meant."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - with the extra only

    facts: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # its message may repeat the DSN
        facts = {} if is_misread(dsn) else dict(conninfo_to_dict(without_account(dsn)[0]))
    ports = str(facts.get("port") or "").replace(",", "")
    return facts if not ports or ports.isdigit() else {}


def connection_options(dsn: str) -> dict[str, Any]:
    """Return the keywords that connect to a fleet's database.

    Raises:
        ConfigurationError: The DSN cannot be read; the message does not repeat it.
    """
    facts = _read(dsn)
    if not facts:
        raise ConfigurationError(
            "dsn: cannot be read; give an address as postgresql://user@host:5432/database, and the password"
            " in PGPASSWORD or ~/.pgpass; within an address a password has %23, %2F and %40 for #, / and @"
        )
    defaults = {"connect_timeout": _CONNECTING, "application_name": "kling_async fleet", **_CUT_OFF}
    return {**defaults, **wanted_server(facts), **facts, "client_encoding": "utf8"}


async def open_connection(options: Mapping[str, Any]) -> AsyncConnection[Any]:
    """Connect to a fleet's schema; each statement commits by itself outside of transactions.

    Args:
        options: Of `connection_options`.

    Raises:
        psycopg.Error: The server cannot be reached, or refuses.
        ConfigurationError: The database cannot hold all texts, or a pooler stands between that keeps no
            sessions.
    """
    import psycopg  # noqa: PLC0415 - with the extra only
    from psycopg import AsyncConnection  # noqa: PLC0415 - as above

    async with contextlib.AsyncExitStack() as on_error:
        db = await AsyncConnection.connect(**options, autocommit=True)
        on_error.push_async_callback(db.close)
        need_encoding(db.info.parameter_status("server_encoding"))
        try:
            async with asyncio.timeout(_SETTLING):
                # not among the options: a pooler may refuse, or ignore, what it does not know
                row = await (await db.execute(_SETTINGS.encode())).fetchone()
                if row is not None and row[0] != db.info.backend_pid:
                    await _need_own_session(db, options)
        except TimeoutError:
            raise psycopg.OperationalError(f"no answer within {_SETTLING:g} s") from None
        on_error.pop_all()
    return db


async def _need_own_session(db: AsyncConnection[Any], options: Mapping[str, Any]) -> None:
    """Check that a connection behind a pooler has a session of its own.

    Raises:
        ConfigurationError: It has none.
    """
    import psycopg  # noqa: PLC0415 - with the extra only
    from psycopg import AsyncConnection  # noqa: PLC0415 - as above

    mark = secrets.token_hex(8)
    await db.execute(MARK, (mark,))
    with contextlib.suppress(psycopg.OperationalError):  # the pooler has no place for it: nothing is known
        async with await AsyncConnection.connect(**options, autocommit=True) as other:
            (found,) = await (await other.execute(MARKED)).fetchone() or (None,)
        need_own_session(mark, found)


@contextlib.contextmanager
def refusals(dsn: str, *, entering: bool = False) -> Iterator[None]:
    """Turn errors that no waiting mends, of missing rights or tables, into `ConfigurationError`, in one line.

    Args:
        dsn: The database.
        entering: Whether nobody waits yet: then all errors of the database are turned, such as that it is
            read-only.

    Raises:
        ConfigurationError: The server refuses a statement.
    """
    import psycopg  # noqa: PLC0415 - with the extra only

    try:
        yield
    except psycopg.Error as error:
        if not (entering or isinstance(error, psycopg.ProgrammingError)):
            raise
        text = (
            f"the fleet's database {shown_dsn(dsn)} refuses: {telling_line(error)} ({type(error).__name__})"
        )
    else:
        return
    raise ConfigurationError(text)


@contextlib.asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[AsyncConnection[Any]]:
    """Connect to a fleet's schema for a while; each statement commits by itself outside of transactions.

    Raises:
        ConfigurationError: The server cannot be reached, or refuses; the message has no password.
    """
    import psycopg  # noqa: PLC0415 - with the extra only

    db, reason = None, ""
    try:
        db = await open_connection(connection_options(dsn))
    except psycopg.OperationalError as error:
        reason = telling_line(error)
    if db is None:
        raise ConfigurationError(f"dsn: cannot connect to {shown_dsn(dsn)!r}: {reason}")
    async with db:
        yield db


def telling_line(error: Exception) -> str:
    """Return the line of an error's text that says most: connection errors list all they have tried."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = [line.strip() for line in str(primary or error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.endswith("?") and not line.startswith("DETAIL:")]
    return (telling or lines or [type(error).__name__])[-1]


async def server_time(db: AsyncConnection[Any]) -> float:
    """Return the time by the server's clock, seconds since 1970."""
    row = await (
        await db.execute("SELECT extract(epoch FROM clock_timestamp())::double precision")
    ).fetchone()
    assert row is not None  # noqa: S101 - the query has no condition
    return float(row[0])
