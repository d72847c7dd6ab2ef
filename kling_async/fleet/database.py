"""Connect to the database of a fleet: one schema, no password in sight, errors in plain words."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.places import without_account
from kling_async.orchestrator.ledger.primary import wanted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from psycopg import AsyncConnection

__all__ = ["SCHEMA", "connect", "connection_options", "need_extra", "refusals", "server_time", "shown_dsn"]

SCHEMA: Final = "kling_fleet"
"""The schema of PostgreSQL that holds the tables, procrastinate's own among them."""
_CONNECTING: Final = 5
"""Seconds that a new connection to one host may take."""
_CUT_OFF: Final = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is noticed within ten seconds, not hours."""


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
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - with the extra only

    try:
        facts = conninfo_to_dict(without_account(dsn)[0])
    except Exception:  # noqa: BLE001 - its message may repeat the DSN
        return "a DSN that cannot be read"
    secret = ("password", "sslpassword", "passfile")
    shown = {name: value for name, value in facts.items() if name not in secret}
    return make_conninfo("", **shown)


def connection_options(dsn: str) -> dict[str, Any]:
    """Return the keywords that connect to a fleet's schema.

    Raises:
        ConfigurationError: The DSN cannot be read; the message does not repeat it.
    """
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - with the extra only

    try:
        facts: dict[str, Any] = dict(conninfo_to_dict(without_account(dsn)[0]))
    except Exception:  # noqa: BLE001 - its message may repeat the DSN
        facts = {}
    if not facts:
        raise ConfigurationError(
            "dsn: cannot be read; give an address as postgresql://user@host:5432/database, and the password"
            " in PGPASSWORD or ~/.pgpass"
        )
    given = str(facts.get("options") or "")
    facts["options"] = f"{given} -c search_path={SCHEMA}".strip()
    defaults = {"connect_timeout": _CONNECTING, "application_name": "kling_async fleet", **_CUT_OFF}
    return {**defaults, **wanted_server(facts), **facts}


@contextlib.contextmanager
def refusals(dsn: str) -> Iterator[None]:
    """Turn errors that no waiting mends, of missing rights or tables, into `ConfigurationError`, in one line.

    Raises:
        ConfigurationError: The server refuses a statement.
    """
    import psycopg  # noqa: PLC0415 - with the extra only

    try:
        yield
    except psycopg.ProgrammingError as error:
        reason = error.diag.message_primary or str(error).partition("\n")[0]
        text = f"the fleet's database {shown_dsn(dsn)} refuses: {reason} ({type(error).__name__})"
    else:
        return
    raise ConfigurationError(text)


@contextlib.contextmanager
def connection_errors(dsn: str) -> Iterator[None]:
    """Turn errors of connecting into `ConfigurationError`, without the password."""
    import psycopg  # noqa: PLC0415 - with the extra only

    try:
        yield
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    else:
        return
    raise ConfigurationError(f"dsn: cannot connect to {shown_dsn(dsn)!r}: {reason}")


@contextlib.asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[AsyncConnection[Any]]:
    """Connect to a fleet's schema for a while; each statement commits by itself outside of transactions.

    Raises:
        ConfigurationError: The server cannot be reached, or refuses.
    """
    from psycopg import AsyncConnection  # noqa: PLC0415 - with the extra only

    options = connection_options(dsn)
    with connection_errors(dsn):
        db = await AsyncConnection.connect(**options, autocommit=True)
    async with db:
        yield db


async def server_time(db: AsyncConnection[Any]) -> float:
    """Return the time by the server's clock, seconds since 1970."""
    row = await (
        await db.execute("SELECT extract(epoch FROM clock_timestamp())::double precision")
    ).fetchone()
    assert row is not None  # noqa: S101 - the query has no condition
    return float(row[0])
