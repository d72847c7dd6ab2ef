"""Test runtime/input_files.py: what may block is refused before it is opened, what is too large unread."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from kling_async.runtime import input_files
from kling_async.runtime.input_files import open_regular, read_regular

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":
    pytest.skip("named pipes and devices of POSIX", allow_module_level=True)


def odd_files(folder: Path) -> dict[str, Path]:
    """Make a file of each kind that is not regular, and links to them."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
    (folder / "link").symlink_to(folder / "pipe")
    devices = {name: folder / f"to-{name}" for name in ("null", "zero")}
    for name, path in devices.items():
        path.symlink_to(f"/dev/{name}")
    found = {"pipe": folder / "pipe", "socket": folder / "socket", "link": folder / "link"}
    return {**found, **devices, "folder": folder}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pipe", "it is a named pipe, not a regular file; copy its content to one"),
        ("link", "it is a named pipe"),
        ("socket", "it is a socket"),
        ("null", "it is a device"),
        ("zero", "it is a device"),
        ("folder", os.strerror(errno.EISDIR)),
    ],
)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, says: str) -> None:
    """Anything else is named and refused at once, though the pipe has no writer and the device no end."""
    path = odd_files(tmp_path)[kind]
    for read in (open_regular, lambda path: read_regular(path, 10)):
        with pytest.raises(OSError, match=says):
            read(path)


def test_a_file_replaced_meanwhile_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that takes the file's place between the look and the opening is not waited for."""
    path = tmp_path / "file"
    os.mkfifo(path)
    looks: list[os.stat_result] = []
    real = input_files._refuse_others

    def second_only(found: os.stat_result) -> None:
        looks.append(found)
        if len(looks) > 1:
            real(found)

    monkeypatch.setattr(input_files, "_refuse_others", second_only)
    with pytest.raises(OSError, match="named pipe"):
        open_regular(path)


def test_the_size_is_looked_at_before_the_content(tmp_path: Path) -> None:
    """A file of the largest size allowed is read; one of six gigabytes is refused by its length."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(str(path), 10) == b"0123456789"
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        read_regular(path, 9)
    os.truncate(path, 6 * 1024**3)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        read_regular(path, 1024)
    with open_regular(path) as file:
        assert file.read(10) == b"0123456789"
