"""A fleet behind PgBouncer: it works where each connection has its session, and is refused otherwise."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from kling_async import Client
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet
from tests.fleet.support import film
from tests.fleet.working import at_work, read, site

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.skipif(BOUNCER is None, reason="pgbouncer is not installed"),
]


@contextlib.contextmanager
def pooler(dsn: str, mode: str, folder: Path) -> Iterator[str]:
    """Run a PgBouncer in front of a database; yield the DSN by it."""
    facts = conninfo_to_dict(dsn)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    owner = Path(str(facts["host"])).stat().st_uid  # it refuses to run as root, and must reach the socket
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
        "user": pwd.getpwuid(owner).pw_name,
    }
    lines = ["[databases]", f"* = host={facts['host']} user=postgres", "[pgbouncer]"]
    config = folder / "pgbouncer.ini"
    config.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]))
    by_it = f"postgresql://postgres@127.0.0.1:{port}/{facts['dbname']}"
    with subprocess.Popen([str(BOUNCER), "-q", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(by_it).close()
                    break
                threading.Event().wait(0.1)
            yield by_it
        finally:
            process.kill()


async def test_a_fleet_works_behind_a_pooler_of_sessions(dsn: str, tmp_path: Path) -> None:
    """Tables, jobs, slots and results, all by the pooler."""
    with pooler(dsn, "session", tmp_path) as by_it:
        async with site(by_it, slots=2) as (fleet, emu):
            await fleet.submit([film(f"shot {n}") for n in range(6)], batch="films")
            async with at_work(fleet, emu, client={"slots": by_it}):
                assert {outcome.status for outcome in await read(fleet)} == {"succeeded"}
        assert len(emu.tasks) == 6


async def test_a_pooler_of_transactions_is_refused(dsn: str, tmp_path: Path) -> None:
    """It would lose locks and notifications, and mix up settings: nobody begins to work with it."""
    await Fleet(dsn).init()
    with pooler(dsn, "transaction", tmp_path) as by_it:
        refused = pytest.raises(ConfigurationError, match="pool_mode=transaction")
        with refused:
            await Fleet(by_it).init()
        with refused:
            async with Fleet(by_it):
                pass
        async with Client(api_key="key", base_url="http://127.0.0.1:9", slots=by_it) as client:
            with refused:
                await client.submit(film("a shot"))
