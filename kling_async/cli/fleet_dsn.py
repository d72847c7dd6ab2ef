"""Find the database that a command of ``kling fleet`` works with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kling_async.cli.config import read_configuration
from kling_async.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from kling_async.cli.output import Output

__all__ = ["dsn_of"]

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
