"""The import-layer check: each kind of breach is caught, and the package itself has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.check_layers import violations

TYPE_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def package(root: Path, files: dict[str, str]) -> Path:
    """Write a made-up package."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "kling_async" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "kling_async"


def test_the_package_keeps_its_layers() -> None:
    """The check finds nothing wrong with kling_async as it is."""
    assert violations(Path(__file__).resolve().parent.parent / "kling_async") == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("wire.py", "import kling_async.client", "wire (layer 0) imports client (layer 2): upwards"),
        (
            "poller.py",
            "from kling_async.tasks import Task",
            "poller (layer 1) imports tasks (layer 2): upwards",
        ),
        (
            "core/verdict.py",
            "from kling_async import client",
            "core (layer 0) imports client (layer 2): upwards",
        ),
        ("core/verdict.py", "from .. import client", "core (layer 0) imports client (layer 2): upwards"),
        (
            "core/verdict.py",
            "from ..client import Client",
            "core (layer 0) imports client (layer 2): upwards",
        ),
        (
            "core/__init__.py",
            "from ..client import Client",
            "core (layer 0) imports client (layer 2): upwards",
        ),
        (
            "wire.py",
            "def f():\n    import kling_async.client",
            "wire (layer 0) imports client (layer 2): upwards",
        ),
        ("wire.py", TYPE_ONLY + "from kling_async.client import Client", "wire (layer 0) imports client"),
        ("client.py", "from kling_async import Client", "client imports the face"),
        ("core/verdict.py", "import time", "core is pure and imports time"),
        ("core/verdict.py", "from os import path", "core is pure and imports os"),
        ("errors.py", "import asyncio.events", "errors is pure and imports asyncio"),
        ("v1/video.py", "import aiohttp.client", "v1 (layer 0) imports aiohttp"),
        ("emulator/server.py", "from kling_async import errors", "emulator imports errors; allowed: nothing"),
        ("emulator/server.py", TYPE_ONLY + "from kling_async import wire", "emulator imports wire"),
        ("testing.py", "import kling_async.client", "testing imports client; allowed: emulator"),
        (
            "client.py",
            "import kling_async.emulator",
            "client imports emulator, which stands beside the layers",
        ),
        ("notebook.py", "import kling_async.testing", "notebook imports testing, which stands beside"),
    ],
)
def test_a_forbidden_import_is_named_with_its_place(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    """Each breach, however the import is spelt, gives one complaint: file, line and the rule broken."""
    others = dict.fromkeys(("client.py", "tasks.py", "wire.py", "errors.py", "testing.py"), "")
    tree = package(tmp_path, {**others, "emulator/__init__.py": "", file: text})

    (found,) = violations(tree)

    line = text.count("\n") + 1
    assert found.startswith(f"{tree / file}:{line}: {complaint}")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("client.py", "import kling_async.wire, asyncio, aiohttp"),
        ("batch.py", "from kling_async.client import Client"),
        ("v1/video.py", "from kling_async.v1 import audio\nimport os"),
        ("wire.py", TYPE_ONLY + "import aiohttp"),
        ("core/verdict.py", TYPE_ONLY + "import asyncio"),
        ("cli/demo.py", "from kling_async.emulator import server"),
        ("testing.py", "from kling_async.emulator import server"),
        ("emulator/app.py", "from kling_async.emulator.server import Server\nimport aiohttp"),
        ("__init__.py", "import kling_async.client, kling_async.cli, aiohttp"),
    ],
)
def test_what_the_table_allows_passes(tmp_path: Path, file: str, text: str) -> None:
    """Imports downwards, sideways, for types alone, by listed exceptions and by the face are not reported."""
    others = dict.fromkeys(
        ("client.py", "wire.py", "v1/__init__.py", "v1/audio.py", "emulator/server.py"), ""
    )

    assert violations(package(tmp_path, {**others, file: text})) == []


def test_the_branch_without_type_checking_runs(tmp_path: Path) -> None:
    """The else of ``if TYPE_CHECKING:`` counts as run time; only its import is reported, by its line."""
    text = TYPE_ONLY + "import aiohttp\nelse:\n    import aiohttp"

    (found,) = violations(package(tmp_path, {"wire.py": text}))

    assert ":5: wire (layer 0) imports aiohttp" in found


def test_a_module_without_a_layer_is_asked_for_one(tmp_path: Path) -> None:
    """A file that the table does not know is a breach, even if it imports nothing."""
    (found,) = violations(package(tmp_path, {"novelty.py": ""}))

    assert found.endswith("novelty.py: give it a layer in tests/check_layers.py")


def test_a_circle_within_a_layer_is_named(tmp_path: Path) -> None:
    """Three modules of a layer, one importing inside a function, give one complaint that names all."""
    tree = package(
        tmp_path,
        {
            "auth.py": "from kling_async import transport",
            "transport.py": "def f():\n    from kling_async.http.retry import again",
            "retry.py": "import kling_async.http.auth",
        },
    )

    (found,) = violations(tree)

    assert found.startswith("imports in a circle: ")
    assert {"auth", "transport", "retry"} <= {name.removeprefix("kling_async.") for name in found.split()}


def test_a_circle_closed_by_types_alone_is_none(tmp_path: Path) -> None:
    """Two modules of one layer may name each other if one does so only under ``if TYPE_CHECKING:``."""
    files = {"tasks.py": TYPE_ONLY + "from .client import Client", "client.py": "from .tasks import Task"}

    assert violations(package(tmp_path, files)) == []
