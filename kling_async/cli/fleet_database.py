"""Open the database that a command of ``kling fleet`` works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.cli.fleet_dsn import dsn_of

if TYPE_CHECKING:
    import argparse

    from kling_async.cli.output import Output
    from kling_async.fleet.fleet import Fleet

__all__ = ["new_fleet"]


def new_fleet(options: argparse.Namespace, output: Output) -> Fleet:
    """Return the fleet that a command works with, not entered.

    Raises:
        ConfigurationError: Nothing names a database, or the extra is not installed.
    """
    from kling_async.fleet.database import need_extra  # noqa: PLC0415 - an extra

    need_extra()
    from kling_async.fleet.fleet import Fleet  # noqa: PLC0415 - as above

    return Fleet(dsn_of(options, output))
