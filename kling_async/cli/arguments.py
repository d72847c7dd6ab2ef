"""Options that commands share, and those of the commands whose modules are slow to load."""

from __future__ import annotations

import argparse
import base64
import math
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    Arguments: TypeAlias = ArgumentParser | _ArgumentGroup

__all__ = [
    "KNOWN",
    "POOLS",
    "add_account_arguments",
    "add_demo_arguments",
    "add_emulator_arguments",
    "add_json_argument",
    "add_progress_argument",
    "add_settings_file_arguments",
    "add_storing_arguments",
    "by_pool",
    "count",
    "port_number",
    "positive",
    "seconds_above_0",
    "speed_factor",
]

_T = TypeVar("_T")

# these two repeat facts of the emulator, which must not be imported before its command was chosen
POOLS: Final = {"video": 5, "image": 9, "virtual_try_on": 1}
"""The emulator's pools and their default sizes."""
KNOWN: Final = ("clip", "audio", "faces", "editing", "voice", "element")
"""Kinds of earlier results that ``--know`` gives to the emulator."""


def add_account_arguments(parser: ArgumentParser) -> None:
    """Add the options that tell which account is used: `kling_async.cli.session` reads them."""
    account = parser.add_argument_group("account")
    add_settings_file_arguments(account)
    account.add_argument(
        "--emulator", action="store_true", help="use an emulator of its own instead; nothing is paid"
    )
    account.add_argument(
        "--speed",
        type=speed_factor,
        default=20.0,
        metavar="X",
        help="how much faster than the vendor that emulator is (default: 20)",
    )


def add_settings_file_arguments(parser: Arguments) -> None:
    """Add the options that `kling_async.cli.config.read_configuration` reads."""
    parser.add_argument(
        "--env-file", metavar="FILE", help="a file of KLING_NAME=VALUE lines with keys and settings"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the TOML file with keys and settings (kling help environment)"
    )
    parser.add_argument("--profile", metavar="NAME", help="the table [profile.NAME] of that file")


def add_json_argument(parser: Arguments) -> None:
    """Add ``--json``: lines for machines on stdout."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object a line, for machines; addresses of files are whole",
    )


def add_progress_argument(parser: Arguments) -> None:
    """Add ``--progress``: how a command that waits shows it, on stderr."""
    parser.add_argument(
        "--progress",
        choices=("auto", "plain", "none"),
        default="auto",
        help="redraw a block on a terminal (auto), print a line for each change, or nothing",
    )


def add_storing_arguments(parser: Arguments, *, out: str) -> None:
    """Add the options of a command that stores the files of results.

    Args:
        parser: Gets the options.
        out: The help of ``--out``.
    """
    parser.add_argument("--out", metavar="DIR", help=out)
    parser.add_argument(
        "--name",
        default="{task_id}",
        metavar="TEMPLATE",
        help="names of files, with {task_id}, {key}, {endpoint}, {n} or {name} (default: {task_id})",
    )
    parser.add_argument(
        "--watermarked",
        action="store_true",
        help="store the watermarked copies, if the request asked for them",
    )
    parser.add_argument(
        "--sidecar", action="store_true", help="store a JSON file about the task beside each file"
    )


def add_demo_arguments(demo: ArgumentParser) -> None:
    """Add the options of ``kling demo``."""
    demo.description = (
        "Run a batch of video and image prompts through the whole client and store the files. "
        "By default a local emulator plays the vendor and nothing is paid."
    )
    demo.add_argument("--out", default="out", metavar="DIR", help="where the files go (default: out)")
    demo.add_argument("--count", type=positive, default=None, metavar="N", help="only the first N prompts")
    demo.add_argument(
        "--speed",
        type=speed_factor,
        default=20.0,
        metavar="X",
        help="how much faster than the vendor the emulator is (default: 20)",
    )
    where = demo.add_mutually_exclusive_group()
    where.add_argument(
        "--emulator", action="store_true", help="use a local emulator, which costs nothing (the default)"
    )
    where.add_argument(
        "--live", action="store_true", help="use your account (kling help environment); costs units"
    )
    demo.add_argument("--yes", action="store_true", help="with --live: do not ask for confirmation")
    add_settings_file_arguments(demo)


def add_emulator_arguments(serve: ArgumentParser) -> None:
    """Add the options of ``kling emulator``."""
    serve.description = (
        "Serve an emulator of the API on this machine until interrupted. Prompts that contain "
        "emulator:refuse are refused at once, those with emulator:fail fail in the end."
    )
    serve.add_argument(
        "--port", type=port_number, default=0, metavar="N", help="0 takes a free one (default: 0)"
    )
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
        "--speed",
        type=speed_factor,
        default=1.0,
        metavar="X",
        help="how much faster than the vendor (default: 1)",
    )
    serve.add_argument(
        "--gateway",
        choices=("new-api", "envelope", "flat"),
        help="answer as a gateway of this dialect in front of the vendor (default: none)",
    )
    _add_contents(serve)


def _add_contents(serve: ArgumentParser) -> None:
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


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def count(text: str) -> int:
    """Read a whole number from 0."""
    return 0 if text == "0" else positive(text)


def seconds_above_0(text: str) -> float:
    """Read a number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def by_pool(text: str, read: Callable[[str], _T], known: Iterable[str] = ()) -> dict[str, _T]:
    """Read numbers by pool, ``video=20,image=9``.

    Args:
        text: What the user wrote.
        read: Reads one number.
        known: The pools that may be named; empty for any.

    Raises:
        argparse.ArgumentTypeError: The text has another form.
    """
    found: dict[str, _T] = {}
    for part in text.split(","):
        pool, sep, number = (word.strip() for word in part.partition("="))
        if not pool or not sep or (known and pool not in known):
            right = ", ".join(f"{name}=N" for name in known) or "POOL=N, such as video=20,image=9"
            raise argparse.ArgumentTypeError(f"{part!r}: use {right}")
        found[pool] = read(number)
    return found


def port_number(text: str) -> int:
    """Read a port, 0 to 65535."""
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def speed_factor(text: str) -> float:
    """Read how much faster than the vendor an emulator is."""
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
    return by_pool(text, positive, POOLS)
