"""Open the client that a command works with: of the configured account, or of an emulator of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

from kling_async.cli.config import read_configuration
from kling_async.cli.output import Output
from kling_async.client import Client
from kling_async.options import Polling

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Awaitable, Callable

    from kling_async.emulator import Emulator
    from kling_async.events import Event

__all__ = ["open_client", "with_client"]

ClientCommand: TypeAlias = "Callable[[argparse.Namespace, Client, Output], Awaitable[int]]"


async def with_client(options: argparse.Namespace, run: ClientCommand) -> int:
    """Run a command that needs a client; return its exit status."""
    output = Output(json_lines=options.json)
    async with open_client(options, output) as client:
        return await run(options, client, output)


@contextlib.asynccontextmanager
async def open_client(
    options: argparse.Namespace,
    output: Output,
    *,
    on_event: Callable[[Event], object] | None = None,
    slots: str | None = None,
) -> AsyncIterator[Client]:
    """Open the client of a command.

    Args:
        options: Those of `kling_async.cli.arguments.add_account_arguments`.
        output: Where warnings about the settings are printed.
        on_event: Called with every event of the client.
        slots: Where the account's slots are kept, unless the settings say so.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    if options.emulator:
        from kling_async.emulator import Emulator  # noqa: PLC0415 - loaded where it is asked for

        async with (
            Emulator(speed=options.speed) as emulator,
            _of(emulator, options.speed, on_event, slots) as client,
        ):
            yield client
        return
    configuration = read_configuration(options)
    for note in configuration.notes:
        output.warn(note)
    given = configuration.client_options()
    given.setdefault("slots", slots)
    async with Client(**given, on_event=on_event) as client:
        yield client


def _of(
    emulator: Emulator, speed: float, on_event: Callable[[Event], object] | None, slots: str | None
) -> Client:
    """Return a client of an emulator, with a pace of status queries that fits its speed."""
    pace = Polling(
        min_interval=0.05,
        max_interval=max(0.05, 5 / speed),
        request_cost=0.2 / speed,
        requests_per_second=100,
    )
    own = emulator.api_key, emulator.url
    return Client(api_key=own[0], base_url=own[1], polling=pace, on_event=on_event, slots=slots)
