"""Open the database that a command of ``kling fleet`` works with."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from kling_async.cli.config import read_configuration
from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from kling_async.cli.output import Output
    from kling_async.fleet.fleet import Fleet

__all__ = ["dsn_of", "new_fleet", "open_fleet"]

_PASSWORD: Final = re.compile(r"://[^/@]*:[^/@]+@|\bpassword\s*=")


def dsn_of(options: argparse.Namespace, output: Output) -> str:
    """Return the database that a command works with.

    Raises:
        ConfigurationError: Nothing names one.
    """
    if options.dsn:
        if _PASSWORD.search(options.dsn):
            output.warn(
                "others on this machine can see the password in --dsn; give it by PGPASSWORD or ~/.pgpass"
            )
        return str(options.dsn)
    configuration = read_configuration(options)
    if not (dsn := configuration.get("fleet_dsn")):
        raise ConfigurationError(
            "no database: give --dsn postgresql://user@host/name, or set KLING_FLEET_DSN"
        )
    return str(dsn)


@contextlib.asynccontextmanager
async def open_fleet(options: argparse.Namespace, output: Output) -> AsyncIterator[Fleet]:
    """Open the fleet that a command works with.

    Raises:
        ConfigurationError: There is no database, the extra is not installed, or the tables are not right.
    """
    async with new_fleet(options, output) as fleet:
        yield fleet


def new_fleet(options: argparse.Namespace, output: Output) -> Fleet:
    """Return the fleet that a command works with, not opened."""
    from kling_async.fleet import Fleet  # noqa: PLC0415 - an extra

    return Fleet(dsn_of(options, output))
