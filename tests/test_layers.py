"""The check of imports: a planted violation of each kind is named, and the package itself has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import check_layers
from tests.check_layers import (
    ALLOWED,
    MAX_AT_THE_TOP,
    MAX_LEVELS,
    Allowances,
    House,
    needless,
    our_house,
    violations,
)
from tests.sources import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

TYPE_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def package(root: Path, files: dict[str, str]) -> House:
    """Write a made-up package and read it."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "kling_async" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return House(root / "kling_async")


def chain(length: int, **first: str) -> dict[str, str]:
    """Make modules of ``core`` each of which imports the next."""
    last = {f"core/m{length}.py": ""}
    return {f"core/m{n}.py": f"import kling_async.core.m{n + 1}" for n in range(1, length)} | last | first


# --- the package itself ---------------------------------------------------------------------------


def test_the_package_keeps_the_rules() -> None:
    """The check finds nothing wrong with kling_async, apart from what is still allowed."""
    assert violations(our_house(), ALLOWED) == []


def test_what_is_still_allowed_is_still_needed() -> None:
    """An allowance that nothing needs any more fails here, so that the list only shrinks."""
    assert needless(our_house(), ALLOWED) == []


def test_the_tables_name_what_exists() -> None:
    """Rooms and pure modules exist unless marked as later; a room that came is no longer marked."""

    def missing(names: set[str]) -> set[str]:
        paths = {name: PACKAGE / name.replace(".", "/") for name in names}
        return {
            name
            for name, path in paths.items()
            if not path.is_dir() and not path.with_suffix(".py").is_file()
        }

    rooms = {name for row in check_layers.ROOMS for name in row} | set(check_layers.BESIDE)
    assert missing(rooms) == check_layers.LATER
    assert missing(check_layers.PURE) <= check_layers.PURE_LATER


# --- one import ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("wire/checks.py", "import kling_async.client", "wire.checks imports client: upwards"),
        ("tasks.py", "from kling_async.batch.job import Job", "tasks imports batch.job: upwards"),
        (
            "orchestrator/poller.py",
            "from kling_async.tasks import Task",
            "orchestrator.poller imports tasks: upwards, tasks stands above orchestrator",
        ),
        ("core/verdict.py", "from kling_async import client", "core.verdict imports client: upwards"),
        ("core/verdict.py", "from .. import client", "core.verdict imports client: upwards"),
        ("core/verdict.py", "from ..client import Client", "core.verdict imports client: upwards"),
        ("core/__init__.py", "from ..client import Client", "core imports client: upwards"),
        ("errors.py", "from kling_async.wire import checks", "errors imports wire.checks: upwards"),
        ("wire/checks.py", "def f():\n    import kling_async.client", "wire.checks imports client: upwards"),
        (
            "wire/checks.py",
            TYPE_ONLY + "from kling_async.client import Client",
            "wire.checks imports client: upwards",
        ),
        ("client.py", "import kling_async.cli.demo", "client imports cli.demo: upwards"),
        ("client.py", "from kling_async import Client", "client imports the face"),
        ("client.py", TYPE_ONLY + "from kling_async import Client", "client imports the face"),
        ("core/verdict.py", "import time", "core.verdict is pure and imports time"),
        ("core/verdict.py", "from os import path", "core.verdict is pure and imports os"),
        ("core/verdict.py", "def f():\n    import random", "core.verdict is pure and imports random"),
        ("errors.py", "import asyncio.events", "errors is pure and imports asyncio"),
        ("batch/budget.py", "import pathlib", "batch.budget is pure and imports pathlib"),
        (
            "downloads/ranges.py",
            "import urllib.request",
            "downloads.ranges is pure and imports urllib.request",
        ),
        (
            "batch/entry.py",
            "from kling_async.batch import job",
            "batch.entry is pure and imports batch.job, which is not",
        ),
        ("v1/video/edit.py", "import aiohttp.client", "v1.video.edit describes requests and imports aiohttp"),
        ("catalog.py", "def f():\n    import aiohttp", "catalog describes requests and imports aiohttp"),
        (
            "emulator/state/tasks.py",
            "from kling_async.emulator.http import server",
            "emulator.state.tasks imports emulator.http.server: upwards within emulator",
        ),
        (
            "emulator/http/server.py",
            "from kling_async import errors",
            "emulator.http.server imports errors; emulator may",
        ),
        (
            "emulator/http/server.py",
            TYPE_ONLY + "from kling_async import errors",
            "emulator.http.server imports errors",
        ),
        ("testing.py", "import kling_async.client", "testing imports client; testing may import: emulator"),
        (
            "client.py",
            "import kling_async.emulator",
            "client imports emulator, which stands beside the rooms",
        ),
        ("notebook.py", "import kling_async.testing", "notebook imports testing, which stands beside"),
    ],
)
def test_a_forbidden_import_is_named_with_its_place(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    """Each breach, however the import is spelt, gives one complaint: file, line and the rule broken."""
    others = ("client.py", "tasks.py", "errors.py", "testing.py", "wire/checks.py", "emulator/__init__.py")
    rooms = ("cli/demo.py", "batch/job.py", "emulator/http/server.py")
    house = package(tmp_path, {**dict.fromkeys((*others, *rooms), ""), file: text})

    (found,) = violations(house)

    line = text.count("\n") + 1
    assert found.startswith(f"{tmp_path / 'kling_async' / file}:{line}: {complaint}")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("client.py", "import kling_async.wire.checks, asyncio, aiohttp"),
        ("cli/demo.py", "from kling_async.client import Client"),
        ("v1/video.py", "from kling_async.v1 import audio\nimport os"),
        ("v2/convert.py", "from kling_async.v1 import audio"),
        ("orchestrator/ledger/postgres.py", "from kling_async import events"),
        ("fleet/worker.py", "from kling_async.orchestrator.ledger import postgres"),
        ("wire/media.py", TYPE_ONLY + "import aiohttp"),
        ("core/verdict.py", TYPE_ONLY + "import random"),
        ("batch/entry.py", TYPE_ONLY + "from kling_async.batch import job"),
        ("cli/demo.py", "from kling_async.emulator.http import server"),
        ("cli/demo.py", "from importlib import import_module"),
        ("testing.py", "from kling_async.emulator.http import server"),
        ("emulator/http/app.py", "from kling_async.emulator.http.server import Server\nimport aiohttp"),
        ("__init__.py", "import kling_async.client, kling_async.cli, aiohttp\nimportlib.import_module('x')"),
    ],
)
def test_what_the_tables_allow_passes(tmp_path: Path, file: str, text: str) -> None:
    """Imports downwards, within a row, for types from outside, by listed exceptions and by the face pass."""
    names = (
        "client.py",
        "events.py",
        "wire/checks.py",
        "v1/__init__.py",
        "v1/audio.py",
        "emulator/http/server.py",
    )
    others = dict.fromkeys((*names, "batch/job.py", "orchestrator/ledger/postgres.py"), "")

    assert violations(package(tmp_path, {**others, file: text})) == []


def test_the_branch_without_type_checking_runs(tmp_path: Path) -> None:
    """The else of ``if TYPE_CHECKING:`` counts as run time; only its import is reported, by its line."""
    text = TYPE_ONLY + "import aiohttp\nelse:\n    import aiohttp"

    (found,) = violations(package(tmp_path, {"wire/media.py": text}))

    assert ":5: wire.media describes requests and imports aiohttp" in found


def test_a_module_without_a_room_is_asked_for_one(tmp_path: Path) -> None:
    """A file that the tables do not know is a breach, even if it imports nothing."""
    (found,) = violations(package(tmp_path, {"novelty.py": ""}))

    assert found.endswith("novelty.py: give it a room in tests/check_layers.py")


def test_a_module_of_the_emulator_is_asked_for_its_storey(tmp_path: Path) -> None:
    """Where the order within a room is fixed, a new part of it has to be given its place."""
    files = {"emulator/__init__.py": "", "emulator/state/tasks.py": "", "emulator/novelty.py": ""}

    (found,) = violations(package(tmp_path, files))

    assert found.endswith("novelty.py: give it a storey in tests/check_layers.py")


def test_loading_a_module_by_name_is_found(tmp_path: Path) -> None:
    """An import the check cannot follow is a breach outside the face and the command line."""
    text = "import importlib\ndef f():\n    return importlib.import_module('kling_async.client')"

    (found,) = violations(package(tmp_path, {"core/verdict.py": text}))

    assert found.endswith("verdict.py:3: core.verdict loads modules by name (import_module)")


# --- pure modules --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("async def f():\n    pass", "async code"),
        ("def f():\n    return [n async for n in g()]", "async code"),
        ("def f():\n    return open('file')", "a call of open()"),
        ("def f():\n    print('hello')", "a call of print()"),
        ("import datetime as dt\nNOW = dt.datetime.now()", "a call of datetime.now()"),
        ("from datetime import date\nNOW = date.today()", "a call of date.today()"),
    ],
)
def test_a_pure_module_that_waits_or_touches_the_world_is_named(tmp_path: Path, text: str, what: str) -> None:
    """Syntax counts as well as imports: a decision is a plain function of its arguments."""
    house = package(tmp_path, {"batch/failures.py": text})

    (found,) = violations(house)

    line = text.count("\n") + 1 if "async def" not in text else 1
    assert (
        found == f"{tmp_path / 'kling_async/batch/failures.py'}:{line}: batch.failures is pure and has {what}"
    )


def test_an_await_in_a_pure_module_is_named_beside_its_function(tmp_path: Path) -> None:
    """Every piece of async code is named by its line."""
    found = violations(package(tmp_path, {"core/queue.py": "async def f():\n    await g()"}))

    assert [line.rpartition("queue.py:")[2] for line in found] == [
        "1: core.queue is pure and has async code",
        "2: core.queue is pure and has an await",
    ]


# --- circles -------------------------------------------------------------------------------------


def test_a_circle_within_a_room_is_named(tmp_path: Path) -> None:
    """Three modules of a room, one importing inside a function, give one complaint that names all."""
    files = {
        "http/auth.py": "from kling_async.http import transport",
        "http/transport.py": "def f():\n    from kling_async.http.retry import again",
        "http/retry.py": "import kling_async.http.auth",
    }

    assert violations(package(tmp_path, files)) == [
        "imports in a circle: http.auth, http.retry, http.transport"
    ]


def test_a_circle_closed_by_types_alone_counts(tmp_path: Path) -> None:
    """Two modules that name each other are a circle, although one does so for type checkers only."""
    files = {"stats.py": TYPE_ONLY + "from .tasks import Task", "tasks.py": "from .stats import Stats"}

    assert violations(package(tmp_path, files)) == ["imports in a circle: stats, tasks"]


def test_a_circle_of_two_rooms_in_a_row_is_named(tmp_path: Path) -> None:
    """Two rooms of one row that import each other by different modules are a circle of rooms."""
    files = {
        "v1/old.py": "from kling_async.v2 import shared",
        "v1/other.py": "",
        "v2/shared.py": "",
        "v2/new.py": "from kling_async.v1 import other",
    }

    assert violations(package(tmp_path, files)) == ["a circle of parts of kling_async: v1, v2"]


def test_a_circle_of_sub_packages_is_named(tmp_path: Path) -> None:
    """Sub-packages of a room import each other one way only, also where no module closes a circle."""
    files = {
        "v1/__init__.py": "from kling_async.v1.video.edit import Edit",
        "v1/video/edit.py": "from kling_async.v1.image import sizes",
        "v1/video/scenes.py": "",
        "v1/image/sizes.py": "",
        "v1/image/expand.py": "from kling_async.v1.video import scenes",
    }

    assert violations(package(tmp_path, files)) == ["a circle of parts of v1: v1.image, v1.video"]


def test_an_allowed_circle_passes_until_it_is_gone(tmp_path: Path) -> None:
    """An allowance covers its modules only; without the circle, or part of it, it is called needless."""
    files = {"stats.py": "from .tasks import Task", "tasks.py": "from .stats import Stats"}
    allowed = Allowances(circles=(frozenset({"stats", "tasks", "account"}),))
    other = Allowances(circles=(frozenset({"tasks", "account"}),))
    house = package(tmp_path, files)

    assert (violations(house, allowed), needless(house, allowed)) == ([], [])
    assert violations(house, other) == ["imports in a circle: stats, tasks"]
    assert needless(package(tmp_path, {"stats.py": ""}), allowed) == [
        "no circle between account, stats, tasks: take it out of ALLOWED"
    ]


# --- counts ----------------------------------------------------------------------------------------


def test_a_chain_of_imports_that_is_too_long_is_named(tmp_path: Path) -> None:
    """One level more than allowed gives one complaint with the whole chain."""
    house = package(tmp_path, chain(MAX_LEVELS + 1))

    (found,) = violations(house)

    names = [f"core.m{n}" for n in range(1, MAX_LEVELS + 2)]
    assert found == f"20 levels of imports, at most 19 are allowed: {' > '.join(names)}"


def test_more_levels_are_allowed_until_they_are_not_needed(tmp_path: Path) -> None:
    """The allowance lifts the limit to its number, and is needless once the limit itself is kept."""
    house, allowed = package(tmp_path, chain(MAX_LEVELS + 1)), Allowances(levels=MAX_LEVELS + 1)

    assert (violations(house, allowed), needless(house, allowed)) == ([], [])

    house = package(tmp_path, {"core/m1.py": ""})
    assert needless(house, allowed) == ["no chain of imports is too long: take the levels out of ALLOWED"]


def test_type_only_imports_make_levels_and_the_emulator_counts_alone(tmp_path: Path) -> None:
    """A type-only import is a level like any other; what imports the emulator does not stand upon it."""
    files = chain(
        MAX_LEVELS,
        **{
            "batch/job.py": TYPE_ONLY + "import kling_async.core.m1",
            "testing.py": "import kling_async.emulator.state.m1",
        },
    )
    emulator = {
        name.replace("core", "emulator/state"): text.replace("core", "emulator.state")
        for name, text in chain(MAX_LEVELS).items()
    }

    (found,) = violations(package(tmp_path, files | emulator))

    assert found.startswith("20 levels of imports, at most 19 are allowed: batch.job > core.m1 > ")


def test_too_many_modules_at_the_top_are_counted(tmp_path: Path) -> None:
    """A new module at the top has to go into a room once the limit is reached."""
    rows = [name for row in check_layers.ROOMS for name in row]
    assert violations(package(tmp_path, {f"{name}.py": "" for name in rows[: MAX_AT_THE_TOP - 1]})) == []

    house = package(tmp_path, {"testing.py": ""})

    assert violations(house) == ["19 modules at the top of kling_async, at most 18 are allowed"]


# --- the command -----------------------------------------------------------------------------------


def test_the_command_prints_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rooms stand in their order, modules carry their levels, then come counts and violations."""
    files = {"cli/demo.py": "import kling_async.core.queue", "core/queue.py": "import kling_async.client"}
    house = package(tmp_path, files | {"client.py": ""})
    monkeypatch.setattr(check_layers, "our_house", lambda: house)
    monkeypatch.setattr(check_layers, "ALLOWED", Allowances())

    assert check_layers.main() == 1

    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[:3] == [["cli", "demo(3)"], ["client", "client(1)"], ["core", "queue(2)"]]
    assert " ".join(lines[3]).startswith(
        "4 modules, 2 at the top (limit 18); 3 levels of imports, emulator 0"
    )
    assert lines[4][1:4] == ["core.queue", "imports", "client:"]


def test_the_command_is_content_with_a_clean_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a violation the exit code is 0."""
    monkeypatch.setattr(check_layers, "our_house", lambda: package(tmp_path, {"client.py": ""}))
    monkeypatch.setattr(check_layers, "ALLOWED", Allowances())

    assert check_layers.main() == 0
    assert "2 modules" in capsys.readouterr().out
