"""Run the command ``kling``: parse the arguments, then load the command that was asked for.

`demo` runs a batch through the whole client, `progress` draws its progress, `serve` serves the emulator.

From outside: `main`, the entry point of the console script. Commands are loaded by name from the table
`_COMMANDS`, so that ``kling --help`` answers without loading aiohttp or msgspec. Arguments go in, an exit
status comes out.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from kling_async._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

# these two repeat facts of the emulator, which must not be imported before its command was chosen
POOLS: Final = {"video": 5, "image": 9, "virtual_try_on": 1}
"""The emulator's pools and their default sizes."""
KNOWN: Final = ("clip", "audio", "faces", "editing", "voice", "element")
"""Kinds of earlier results that ``--know`` gives to the emulator."""

_COMMANDS: Final = {
    "demo": ("kling_async.cli.demo", "run_demo"),
    "emulator": ("kling_async.cli.serve", "run_emulator"),
}
"""Command: the module and function that run it, loaded only when it is asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status. Ctrl-C ends it without a traceback.

    Args:
        argv: Arguments; None for those of the process.
    """
    options = _parser().parse_args(argv)
    try:
        return _load(options.command)(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (BrokenPipeError, BaseExceptionGroup) as error:
        # a task group wraps the broken pipe; a group with any other error in it is a real failure
        if isinstance(error, BaseExceptionGroup) and error.split(BrokenPipeError)[1] is not None:
            raise
        # the reader of our output has gone; Python flushes stdout at exit and would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _load(command: str) -> Callable[[argparse.Namespace], int]:
    module, function = _COMMANDS[command]
    run: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kling", description="Asyncio client for the Kling AI media API: demo and emulator."
    )
    parser.add_argument("--version", action="version", version=f"kling-async {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_demo(commands)
    _add_emulator(commands)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="run a batch of prompts, against the emulator or, with --live, your account",
        description="Run a batch of video and image prompts through the whole client and store the files. "
        "By default a local emulator plays the vendor and nothing is paid.",
    )
    demo.add_argument("--out", default="out", metavar="DIR", help="where the files go (default: out)")
    demo.add_argument("--count", type=_positive, default=None, metavar="N", help="only the first N prompts")
    demo.add_argument(
        "--speed",
        type=_speed,
        default=20.0,
        metavar="X",
        help="how much faster than the vendor the emulator is (default: 20)",
    )
    demo.add_argument(
        "--live", action="store_true", help="use the account whose key is in the environment; costs units"
    )
    demo.add_argument("--yes", action="store_true", help="with --live: do not ask for confirmation")


def _add_emulator(commands: Any) -> None:
    serve = commands.add_parser(
        "emulator",
        help="serve a local emulator of the API",
        description="Serve an emulator of the API on this machine until interrupted. Prompts that contain "
        "emulator:refuse are refused at once, those with emulator:fail fail in the end.",
    )
    serve.add_argument("--port", type=_port, default=0, metavar="N", help="0 takes a free one (default: 0)")
    serve.add_argument(
        "--slots",
        type=_slots,
        default=dict(POOLS),
        metavar="POOL=N,...",
        help="sizes of the pools (default: video=5,image=9,virtual_try_on=1)",
    )
    serve.add_argument(
        "--foreign",
        type=_foreign,
        default={},
        metavar="POOL=N,...",
        help="slots held by other programs of the same account (default: none)",
    )
    serve.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="how much faster than the vendor (default: 1)"
    )
    _add_contents(serve)


def _add_contents(serve: Any) -> None:
    """Add the options that tell what the emulated account holds: earlier results, webhook secrets."""
    serve.add_argument(
        "--know",
        type=_known,
        action="append",
        default=[],
        metavar="KIND=ID[:SECONDS]",
        help="an earlier result that requests may name, such as clip=743211632612511839:10 for an extension; "
        f"repeatable; KIND is {', '.join(KNOWN)}; SECONDS (default: 5) is the length of media",
    )
    serve.add_argument(
        "--webhook-secret",
        type=_webhook_secret,
        action="append",
        default=[],
        metavar="whsec_...",
        help="sign callbacks with this secret; twice: as during a rotation (default: they are not signed)",
    )


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, at most 100000")
    return speed


def _known(text: str) -> tuple[str, str, float]:
    kind, _, rest = text.partition("=")
    item_id, _, length = rest.partition(":")
    if kind not in KNOWN or not item_id:
        raise argparse.ArgumentTypeError(f"{text!r}: use {', '.join(f'{k}=ID[:SECONDS]' for k in KNOWN)}")
    if kind == "element" and not (item_id.isascii() and item_id.isdigit()):
        raise argparse.ArgumentTypeError(f"{item_id!r} is not the id of an element: these are whole numbers")
    try:
        seconds = float(length or 5)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{length!r} is not a length in seconds above 0, at most 3600")
    return kind, item_id, seconds


def _webhook_secret(text: str) -> str:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key or not text.startswith("whsec_"):
        raise argparse.ArgumentTypeError("a webhook secret is whsec_ and Base64; this one is not")
    return text


def _slots(text: str) -> dict[str, int]:
    return {**POOLS, **_foreign(text)}


def _foreign(text: str) -> dict[str, int]:
    slots: dict[str, int] = {}
    for part in text.split(","):
        name, sep, size = part.partition("=")
        if name not in POOLS or not sep:
            raise argparse.ArgumentTypeError(f"{part!r}: use {', '.join(f'{p}=N' for p in POOLS)}")
        slots[name] = _positive(size)
    return slots
