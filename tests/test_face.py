"""Test the face of the package: equal for readers, type checkers and the running program, and light."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import kling_async
from kling_async import convert, errors, notebook, v1, v2

ROOT = Path(__file__).parents[1]
SOURCE = Path(kling_async.__file__).read_text(encoding="utf-8")


def sorted_as_ruff_does(names: list[str]) -> list[str]:
    """Sort names as RUF022 does: constants, then classes, then the rest, each by name."""
    return sorted(names, key=lambda name: (not name.isupper(), name[0].islower() or name[0] == "_", name))


def promised() -> dict[str, str]:
    """Return the names imported for readers and type checkers, with their modules."""
    found: dict[str, str] = {}
    for node in ast.parse(SOURCE).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                found |= {alias.name: statement.module or "" for alias in statement.names}
    return found


def fresh(code: str) -> Any:
    """Return the JSON that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SUBMODULES: Final = {"notebook": notebook, "v1": v1, "v2": v2, "convert": convert}
"""Names of the face that are modules."""

# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [kling_async, v1], ids=["face", "v1"])
def test_all_is_sorted_and_without_doubles(module: Any) -> None:
    """``__all__`` is in ruff's order and holds each name once."""
    assert list(module.__all__) == sorted_as_ruff_does(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_readers_checkers_and_the_program_see_the_same_names() -> None:
    """``__all__`` holds the names imported under TYPE_CHECKING, and the version."""
    assert set(kling_async.__all__) == set(promised()) | {"__version__"}


@pytest.mark.parametrize("name", sorted(promised()))
def test_a_name_is_the_object_that_type_checkers_see(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At run time a name is the object of the module from which it is imported for type checkers."""
    home = importlib.import_module(promised()[name])
    expected = SUBMODULES.get(name) or getattr(home, name)
    monkeypatch.setitem(vars(kling_async), name, None)  # what loading it leaves there is undone
    assert vars(kling_async)["__getattr__"](name) is expected
    assert vars(kling_async)[name] is (None if name in SUBMODULES else expected)


@pytest.mark.real
@pytest.mark.parametrize(
    "first",
    ["", "import kling_async.v1", "import kling_async.client"],
    ids=["one after another", "v1", "client"],
)
def test_a_name_does_not_depend_on_earlier_imports(first: str) -> None:
    """``from kling_async import name`` gives the promised object, whatever is loaded already."""
    code = f"""
{first}
import importlib, json, kling_async
wrong = []
for name, home in {promised()}.items():
    value = getattr(kling_async, name)
    if name not in ("convert", "v1", "v2") and value is not getattr(importlib.import_module(home), name):
        wrong.append(name)
print(json.dumps(wrong))
"""
    assert fresh(code) == []


def test_the_pinned_names_are_there() -> None:
    """The names that documentation and users' programs rely on are in the face."""
    pinned = {"Client", "v1", "Task", "TaskRequest", "CallRequest", "RawTask", "Polling", "Retry", "Timeouts"}
    assert pinned | {"media", "Media", "TaskRecord", "KlingError", "KlingWarning"} <= set(kling_async.__all__)
    assert {"TextToVideo", "ImageGeneration", "AccountCosts"} <= set(v1.__all__)


def test_every_error_is_in_the_face() -> None:
    """Every class of the error tree can be imported from the face."""
    tree = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.KlingError)}
    assert tree <= set(kling_async.__all__)


@pytest.mark.parametrize(
    "name", ["Clinet", "CODES", "api_error", "submit", "_MODULES_", "__path", "TextToVideo"]
)
def test_a_misspelt_name_is_an_attribute_error(name: str) -> None:
    """An unknown name raises Python's usual message, also for names of modules that are not in the face."""
    with pytest.raises(AttributeError) as caught:
        getattr(kling_async, name)
    assert str(caught.value) == f"module 'kling_async' has no attribute {name!r}"


def test_a_misspelt_import_is_an_import_error() -> None:
    """``from kling_async import Clinet`` raises ImportError as for any module."""
    with pytest.raises(ImportError, match="cannot import name 'Clinet'"):
        exec("from kling_async import Clinet", {})


def test_dir_shows_the_face() -> None:
    """``dir()`` offers every name, loaded or not, sorted."""
    shown = dir(kling_async)
    assert set(kling_async.__all__) <= set(shown)
    assert shown == sorted(shown)


# --- weight ------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import kling_async", ["aiohttp", "msgspec", "asyncio", "jwt", "anyio"]),
        ("import kling_async; dir(kling_async)", ["aiohttp", "msgspec"]),
        ("from kling_async import KlingError, TaskFailed", ["aiohttp", "msgspec"]),
        ("import kling_async.v1", ["aiohttp", "asyncio", "jwt"]),
        ("from kling_async import v1, media, Media, RawTask, TaskRecord", ["aiohttp", "asyncio"]),
        ("import kling_async.catalog, kling_async.options, kling_async.core.verdict", ["aiohttp", "asyncio"]),
    ],
    ids=["face", "dir", "errors", "v1", "requests", "core"],
)
def test_an_import_loads_only_what_it_needs(statement: str, never: list[str]) -> None:
    """Requests can be made and stored without loading the transport."""
    loaded = fresh(f"{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))")
    assert [name for name in never if name in loaded] == []


@pytest.mark.real
def test_names_are_loaded_when_first_used_and_then_kept() -> None:
    """The first use of a name imports its module; the second finds it in place."""
    code = """
import json, kling_async
before = "kling_async.options" in sys.modules, "Polling" in vars(kling_async)
kling_async.Polling
after = "kling_async.options" in sys.modules, "Polling" in vars(kling_async)
from kling_async import *
print(json.dumps([before, after, "aiohttp" in sys.modules, Client.__name__, v1.__name__]))
"""
    assert fresh(code) == [[False, False], [True, True], True, "Client", "kling_async.v1"]
