"""One name, one meaning: public names of modules, and the names of loggers."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import pytest

from tests.check_layers import our_house, room
from tests.house import names_defined_twice, trees_of

if TYPE_CHECKING:
    from tests.house import Trees

_TESTING: Final = (
    "in `kling_async.testing`, what an account of the emulator holds: named as the client names it"
)

TWICE: Final = {
    "Audio": _TESTING,
    "Element": _TESTING,
    "Face": _TESTING,
    "Faces": _TESTING,
    "Pack": _TESTING,
    "Task": _TESTING,
    "Voice": _TESTING,
}
"""Names that two modules may define, and why."""

LOGGERS: Final = {
    "kling_async",
    "kling_async.batch",
    "kling_async.downloads",
    "kling_async.fleet",
    "kling_async.http",
    "kling_async.orchestrator",
    "kling_async.polling",
    "kling_async.webhooks",
    "procrastinate",  # its lines about each job are kept from the command's output
    "psycopg",  # likewise, about each connection that breaks
}
"""Users filter by these; they stay when modules are moved."""


@pytest.fixture(scope="module")
def trees() -> Trees:
    """The package's syntax trees, by module."""
    return trees_of(our_house())


def test_no_two_things_have_one_name(trees: Trees) -> None:
    """A public class or function of a module has its name alone, unless `TWICE` says why not."""
    twice = {
        name: modules
        for name, modules in names_defined_twice(trees).items()
        if sorted(map(room, modules)) != ["v1", "v2"]  # the same thing in both generations of the API
    }
    unexplained = {name: modules for name, modules in twice.items() if name not in TWICE}
    assert unexplained == {}, "rename one of each, or add a reason to TWICE"
    assert set(TWICE) - set(twice) == set(), "no longer defined twice: take them out of TWICE"


def test_loggers_have_fixed_names(trees: Trees) -> None:
    """Every ``getLogger`` gets one of the documented names as text, never ``__name__``."""
    asked = {
        ast.unparse(node.args[0]) if node.args else ""
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger")
    }
    assert asked <= {repr(name) for name in LOGGERS}
    assert "'kling_async'" in asked
