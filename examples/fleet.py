"""Run a fleet: three workers share one account, one of them is killed in the middle, and nothing is lost.

``python3 -m examples fleet`` needs neither key nor database: an emulator plays the vendor, and a PostgreSQL
comes from a wheel. ``--dsn`` names a database of yours, ``--live`` takes the account whose key is in the
environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async import Client, estimate, v1
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet
from kling_async.fleet.embedded import embedded_postgres
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENES = ("a paper boat in a gutter", "a fox in fresh snow", "bread rising in an oven", "a tram in the fog")
MOODS = ("at dawn", "in the rain", "in black and white", "seen from above", "close up", "at night")
REQUESTS = [
    v1.TextToVideo(prompt=f"{scene.capitalize()} {mood}", model_name="kling-v2-5-turbo", duration=5)
    for mood in MOODS
    for scene in SCENES
]
SLOTS, SPEED = 6, 10
"""Of the emulator: slots for videos, and how many times as fast as the vendor it is."""


@contextlib.contextmanager
def worker(number: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``kling fleet worker`` as a process of its own; on your machines you start it by hand."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kling_async", "fleet", "worker", "--name", f"worker-{number}"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this program, which then ends its workers
    )
    try:
        yield process
    finally:
        process.terminate()  # it takes nothing new, and leaves what runs to the next worker
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
