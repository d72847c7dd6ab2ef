"""Places: which file a ledger lies in, which run of the machine this is, and whether locks hold there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import unquote, urlsplit

from kling_async.errors import ConfigurationError

__all__ = [
    "boot_id",
    "file_system",
    "is_misread",
    "is_server",
    "ledger_path",
    "refuse_network",
    "without_account",
]

_USERINFO: Final = re.compile(r"//[^/]*@")
"""Name and password in an address."""
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "ocfs2", "gfs2", "ncpfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.cephfs", "fuse.s3fs", "fuse.rclone", "glusterfs", "beegfs"}
)
"""File systems whose locks and shared memory do not hold between machines, or not at all."""


def is_server(slots: str) -> bool:
    """Tell whether a client's option names a database server, by an address or as ``host=... dbname=...``."""
    scheme = slots.partition(":")[0].lower()
    return scheme in ("postgresql", "postgres") or (scheme != "sqlite" and "=" in slots)


def without_account(dsn: str) -> tuple[str, str]:
    """Split off the name of the account behind the address of a server: ``postgresql://...#NAME``."""
    # in the other form, name=value, a # is a part of a value, such as a password
    address, _, name = dsn.partition("#") if "://" in dsn else (dsn, "", "")
    return address, name


def is_misread(dsn: str) -> bool:
    """Tell whether an address is split elsewhere than meant, by a sign of its password: a #, / or @ as it is.

    Parts of the password would then be shown, as the name of a host or a database.
    """
    address, name = without_account(dsn)
    rest, _, query = address.partition("://")[2].partition("?")
    authority, _, path = rest.partition("/")
    swallowed = name + path + query.partition("=")[0]
    hosts = [host for host in authority.rpartition("@")[2].split(",") if ":" in host and host[-1] != "]"]
    ports = [host.rpartition(":")[2] for host in hosts]
    return "@" in swallowed or authority.count("@") > 1 or not all(map(str.isdigit, filter(None, ports)))


def ledger_path(slots: str) -> Path:
    """Return the file that a client's option names: ``sqlite:///run/kling.db`` is ``/run/kling.db``.

    Raises:
        ConfigurationError: It names no file of this machine.
    """
    parts = urlsplit(slots)
    wrong = parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment
    path = unquote(parts.path)
    if wrong or not path.strip("/"):
        raise ConfigurationError(
            'slots must be "sqlite:///folder/file.db", "sqlite:file.db" or "postgresql://user@host/database",'
            f" not {_USERINFO.sub('//', slots)!r}"
        )
    if path.startswith("//"):
        path = f"/{path.lstrip('/')}"
    if sys.platform == "win32" and path[2:3] == ":":  # /C:/folder/file.db
        path = path[1:]
    return Path(path).absolute()


def boot_id() -> str:
    """Name this run of the machine: times of its clock mean nothing in another one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def file_system(path: PurePath, mounts: str) -> str:
    """Return the type of the file system that a path lies on.

    Args:
        path: An absolute path, links resolved.
        mounts: The text of ``/proc/self/mountinfo``.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if "-" not in fields[:-1]:
            continue
        point = fields[4].encode().decode("unicode_escape")  # spaces are written as \\040
        if path.is_relative_to(point) and len(point) >= best:  # a later mount hides an earlier one
            best, kind = len(point), fields[fields.index("-") + 1]
    return kind


def refuse_network(folder: Path) -> None:
    """Refuse a folder on a network file system.

    Raises:
        ConfigurationError: It is on one, as far as the system says.
    """
    kind = ""
    if os.path.exists("/proc/self/mountinfo"):  # noqa: PTH110 - no path of the user's
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        kind = file_system(folder.resolve(), mounts)
    if kind in _NETWORK or str(folder).startswith("\\\\"):
        raise ConfigurationError(
            f"slots: {str(folder)!r} is on a network file system ({kind or 'a share'}), where locks do not"
            " hold; name a file on a disk of this machine"
        )
