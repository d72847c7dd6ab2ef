"""Run ``kling listen``: receive callbacks on loopback, verify them, and print what arrives."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from kling_async import v1
from kling_async.cli.arguments import add_account_arguments, add_json_argument, port_number
from kling_async.cli.config import read_configuration
from kling_async.cli.output import Output
from kling_async.client import Client
from kling_async.emulator import Emulator
from kling_async.webhooks.app import CallbackApp
from kling_async.webhooks.gate import CallbackGate, Trust

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from kling_async.cli.commands import LazyParser
    from kling_async.webhooks.gate import AcceptedCallback

__all__ = ["add_listen_arguments", "run_listen"]

_TRUST: Final = {Trust.BELIEVED: "signed", Trust.HINT: "by its path token"}
_EMULATOR_SECRET: Final = "whsec_ZW11bGF0b3I="  # noqa: S105 - opens nothing


def add_listen_arguments(parser: LazyParser) -> None:
    """Add the options of ``kling listen``."""
    parser.description = (
        "Receive callbacks on this machine and print what arrives, until interrupted. Signatures are "
        "verified with KLING_WEBHOOK_SECRET; unsigned callbacks need the token that ends the address: "
        "KLING_WEBHOOK_TOKEN, or a random one. The vendor reaches the address only through a tunnel."
    )
    parser.add_argument(
        "--port", type=port_number, default=0, metavar="N", help="0 takes a free one (default: 0)"
    )
    add_json_argument(parser)
    add_account_arguments(parser)


async def run_listen(options: argparse.Namespace) -> int:
    """Listen until interrupted."""
    output = Output(json_lines=options.json)
    secret, token = _credentials(options, output)
    app = CallbackApp(CallbackGate(secret=secret, path_token=token), _Printer(output))
    async with _serving(app, options.port) as port, contextlib.AsyncExitStack() as stack:
        stack.enter_context(_dropped_shown(output))
        address = f"http://127.0.0.1:{port}/kling/{token}"
        output.say(f"callbacks go to {address}")
        output.say(
            f"{'signatures are verified' if secret else 'no secret: none is verified'}; Ctrl-C ends it"
        )
        if options.emulator:
            await stack.enter_async_context(_example(options, address))
        await asyncio.Event().wait()
    return 0


def _credentials(options: argparse.Namespace, output: Output) -> tuple[str | None, str]:
    """Return the webhook secret, and the token that ends the address."""
    token = secrets.token_urlsafe(16)
    if options.emulator:
        return _EMULATOR_SECRET, token
    configuration = read_configuration(options)
    for note in configuration.notes:
        output.warn(note)
    return configuration.get("webhook_secret"), configuration.get("webhook_token") or token


@contextlib.asynccontextmanager
async def _serving(app: CallbackApp, port: int) -> AsyncIterator[int]:
    """Serve callbacks on loopback; yield the port."""
    server = web.Application()
    server.router.add_post("/kling/{token}", app.aiohttp)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise OSError(error.errno, "the port is in use; choose another --port", f"port {port}") from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class _Printer:
    """Prints each callback that comes in."""

    def __init__(self, output: Output) -> None:
        self._output = output

    async def __call__(self, accepted: AcceptedCallback, /) -> None:
        record, trust = accepted.callback.record, _TRUST[accepted.trust]
        if self._output.json_lines:
            self._output.record({**record.to_dict(), "trust": accepted.trust.value})
            return
        now = f"{dt.datetime.now().astimezone():%H:%M:%S}"
        words: list[Any] = [now, record.task_id, record.status, f"({trust})"]
        words += [f"{record.units} units"] if record.units else []
        words += [record.message] if record.message else []
        self._output.line("  ".join(words))


@contextlib.contextmanager
def _dropped_shown(output: Output) -> Any:
    """Show on stderr which callbacks are dropped, and why."""
    log = logging.getLogger("kling_async.webhooks")
    handler, before = _Shown(output), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Shown(logging.Handler):
    """Prints the messages of the log."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say(record.getMessage())


@contextlib.asynccontextmanager
async def _example(options: argparse.Namespace, address: str) -> AsyncIterator[None]:
    """Make one task at an emulator that posts its changes to the address."""
    async with (
        Emulator(speed=options.speed, webhook_secret=_EMULATOR_SECRET) as emulator,
        Client(api_key=emulator.api_key, base_url=emulator.url) as client,
    ):
        await client.submit(v1.TextToVideo(prompt="A paper boat"), callback_url=address)
        yield
