"""Run ``kling fleet dashboard``: serve the page until interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kling_async.cli.exit_codes import ExitCode
from kling_async.cli.fleet_dsn import dsn_of
from kling_async.fleet.database import need_extra

if TYPE_CHECKING:
    import argparse

    from kling_async.cli.output import Output

__all__ = ["fleet_dashboard"]


async def fleet_dashboard(options: argparse.Namespace, output: Output) -> int:
    """Serve until interrupted."""
    dsn = dsn_of(options, output)
    need_extra()
    from kling_async.fleet.dashboard import Dashboard  # noqa: PLC0415 - with the extra only
    from kling_async.fleet.looking import look_once  # noqa: PLC0415

    await look_once(dsn)  # says what is wrong with the database before anything is served
    try:
        async with Dashboard(dsn, port=options.port) as dashboard:
            if output.json_lines:
                output.record({"url": dashboard.url})
            else:
                output.line(dashboard.url)
            output.say("only this machine can open it; Ctrl-C ends it")
            await dashboard.serve()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        output.say(f"kling: cannot serve on port {options.port}: {reason}; choose another --port")
        return ExitCode.FAILED
    return ExitCode.DONE
