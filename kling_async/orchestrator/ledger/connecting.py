"""Say what a connection to a server needs, be it for slots or for a fleet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MARK", "MARKED", "need_encoding", "need_own_session", "wanted_server"]

MARK: Final = "SELECT set_config('kling.session', %s, false)"
"""Marks the session of a connection behind a pooler."""
MARKED: Final = "SELECT current_setting('kling.session', true)"
"""Reads the mark of a session."""


def need_encoding(server_encoding: str | None) -> None:
    """Check that a database can hold any text.

    Raises:
        ConfigurationError: It cannot.
    """
    if server_encoding not in ("UTF8", "SQL_ASCII"):
        raise ConfigurationError(
            f"the database has the encoding {server_encoding}, which cannot hold all texts; make one with"
            " ENCODING 'UTF8' TEMPLATE template0"
        )


def need_own_session(mark: str, other: str | None) -> None:
    """Check that a connection behind a pooler has a session of its own, with its locks and settings.

    Args:
        mark: Of the connection's session.
        other: What another connection reads as the mark of its own.

    Raises:
        ConfigurationError: The pooler gives each transaction another session.
    """
    if other == mark:
        raise ConfigurationError(
            "the database is reached by a pooler that gives each transaction another session (PgBouncer's"
            " pool_mode=transaction), where locks and notifications are lost; connect directly, or with"
            " pool_mode=session"
        )


def wanted_server(given: Mapping[str, object]) -> dict[str, str]:
    """Return the parameter that finds the server to write to, among those of ``host=a,b``: others follow it.

    A single server is taken as it is: what is wrong with it shows when it is used.

    Args:
        given: The parameters of a connection; what they choose themselves counts.
    """
    several = any("," in str(given.get(name) or "") for name in ("host", "hostaddr"))
    return {"target_session_attrs": "read-write"} if several else {}
