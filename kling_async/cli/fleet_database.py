"""Open the database that a command of ``kling fleet`` works with."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kling_async.cli.fleet_dsn import dsn_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from kling_async.cli.output import Output
    from kling_async.fleet.fleet import Fleet

__all__ = ["new_fleet", "open_fleet"]


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
    from kling_async.fleet.database import need_extra  # noqa: PLC0415 - an extra

    need_extra()
    from kling_async.fleet.fleet import Fleet  # noqa: PLC0415 - as above

    return Fleet(dsn_of(options, output))
