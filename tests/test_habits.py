"""Habits that no other tool checks: lengths, sizes, first lines of docstrings, no real sleep."""

from __future__ import annotations

import ast
from typing import Final

import pytest

from tests import house
from tests.check_layers import House, our_house
from tests.house import MAX_ATTRIBUTES, MAX_FILE_LINES, MAX_FUNCTION_LINES, OPENINGS, Size
from tests.sources import ROOT

LONG_FILES: Final[dict[str, str]] = {
    "client": "two thirds are docstrings: the public methods, with every option",
    "errors": "the tree of errors is looked at as a whole",
}
LONG_FUNCTIONS: Final[dict[str, str]] = {}
LARGE_CLASSES: Final = {
    "events:ClientCounts": "one field for each counter, as Stats shows them",
    "orchestrator.ledger.leases:Lease": "one attribute for each column of its row",
    "orchestrator.ledger.passive:PassiveSchedule": "the attributes of a schedule, and who asks instead",
    "orchestrator.ledger.shared:SharedLimiter": "those of its pools, and of the tickets of this process",
}
"""Each above its limit, with the reason. A test fails when one is no longer needed."""

BAD_FIRST_LINES: Final[dict[str, int]] = {}
"""How many docstrings of a room still begin with a riddle. Only ever lower a number; the aim is none."""


@pytest.fixture(scope="module")
def package() -> House:
    """All modules of the package."""
    return our_house()


@pytest.fixture(scope="module")
def trees(package: House) -> house.Trees:
    """The package's syntax trees, by module."""
    return house.trees_of(package)


@pytest.fixture(scope="module")
def tests() -> house.Trees:
    """The tests' syntax trees, by file."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_bytes())
        for path in sorted((ROOT / "tests").rglob("*.py"))
    }


def too_large(sizes: list[Size], limit: int, excepted: dict[str, str]) -> tuple[list[str], set[str]]:
    """Find what is above the limit without a reason, and the reasons that are not needed."""
    found = house.largest(sizes, limit)
    return [str(size) for size in found if size.of not in excepted], set(excepted) - {
        size.of for size in found
    }


def test_every_test_says_what_it_proves(tests: house.Trees) -> None:
    """A test function without a docstring is found."""
    silent = [
        f"{name}:{function.name}"
        for name, tree in tests.items()
        for function in house.functions(tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_files_stay_small(package: House) -> None:
    """About 400 lines hold what one file is about."""
    assert too_large(house.file_sizes(package), MAX_FILE_LINES, LONG_FILES) == ([], set())


def test_functions_stay_small(trees: house.Trees) -> None:
    """A function is seen at one look; its docstring is not counted."""
    assert too_large(house.function_sizes(trees), MAX_FUNCTION_LINES, LONG_FUNCTIONS) == ([], set())


def test_classes_stay_small(trees: house.Trees) -> None:
    """A class whose state changes has few attributes; requests and plain data have what the API has."""
    sizes = house.attribute_counts(trees, data=False)
    assert too_large(sizes, MAX_ATTRIBUTES, LARGE_CLASSES) == ([], set())


def test_docstrings_begin_with_what_is_meant(trees: house.Trees) -> None:
    """First lines do not open with "What", "It" or "Not", and end as sentences do."""
    found = house.bad_first_lines(trees)
    more = {room: lines for room, lines in found.items() if len(lines) > BAD_FIRST_LINES.get(room, 0)}
    assert more == {}, f"begin with subject and verb, not with {', '.join(OPENINGS)}; end with a full stop"
    fewer = {
        room: len(found.get(room, ()))
        for room, number in BAD_FIRST_LINES.items()
        if len(found.get(room, ())) < number
    }
    assert fewer == {}, "lower these numbers in BAD_FIRST_LINES; take out those that are 0"


def test_nobody_sleeps_on_the_real_clock(trees: house.Trees, tests: house.Trees) -> None:
    """``time.sleep`` is nowhere; tests let virtual time pass instead."""
    sleepers = [
        name
        for name, tree in {**trees, **tests}.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert sleepers == []


def test_modules_say_what_they_are(trees: house.Trees) -> None:
    """Every module begins with a docstring."""
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_the_tests_stand_as_the_rooms_do(package: House) -> None:
    """Every room that is a package has a folder of tests, named alike."""
    rooms = {
        name for name in map(package.short, package.files) if package.is_package(name) and "." not in name
    }
    assert {room for room in rooms if not (ROOT / "tests" / room / "__init__.py").is_file()} == set()
