"""Test the wheel: the typed package with its command and data, and no tests."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from kling_async import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel that ``pip install .`` would install, without any network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.real
def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """The wheel holds the typed package with the emulator's data, no tests, examples or bootstrap."""
    names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"kling_async", f"kling_async-{__version__}.dist-info"}
    needed = (
        "py.typed",
        "testing.py",
        "emulator/judging/reference.json",
        "emulator/footage/clips.py",
        "cli/demo.py",
    )
    assert {f"kling_async/{name}" for name in needed} <= names
    assert not [name for name in names if "test_" in name or "__pycache__" in name]


@pytest.mark.real
def test_the_wheel_gives_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """``kling`` runs kling_async.cli:main; version, Python and licence are stated."""
    info = f"kling_async-{__version__}.dist-info"
    assert "kling = kling_async.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert f"Version: {__version__}" in metadata and "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_the_run_time_dependencies_are_fixed() -> None:
    """The package needs five others; extras do not slip in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {need.split(">")[0].split("[")[0] for need in project["dependencies"]}
    assert names == {"aiohttp", "anyio", "backoff", "msgspec", "pyjwt"}
