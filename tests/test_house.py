"""The counts of the house: each kind is counted in a small made-up package."""

from __future__ import annotations

import ast
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests import house
from tests.house import Size

if TYPE_CHECKING:
    from pathlib import Path


def tree(text: str) -> ast.Module:
    return ast.parse(textwrap.dedent(text))


CLASSES = tree(
    """
    class Slotted:
        __slots__ = ("a", "b")
        limit: ClassVar[int] = 3
        def move(self): self.a = 1

    class Grown(Slotted):
        def __init__(self):
            self.c, self._d = 1, 2
            self.b: int = 3
            self.c.e = 4
        def later(self): self.f += 1

    @dataclass
    class Fields:
        x: int
        y: int = 0
        def total(self): return self.x + self.y

    @dataclass
    class Row:
        x: int

    class Request(msgspec.Struct, frozen=True):
        prompt: str
        def check(self): ...

    class Derived(Request):
        def more(self): self.cache = 1

    class Pair(typing.NamedTuple):
        first: int
        def swap(self): ...
    """
)


def test_attributes_of_behaviour_are_counted_apart_from_data() -> None:
    """Slots, fields and what methods set on ``self`` count once, with those of a base in the package."""
    trees = {"core.queue": CLASSES}

    assert house.attribute_counts(trees, data=False) == [
        Size("core.queue:Slotted", 2),
        Size("core.queue:Grown", 5),
        Size("core.queue:Fields", 2),
    ]
    assert house.attribute_counts(trees, data=True) == [
        Size("core.queue:Row", 1),
        Size("core.queue:Request", 1),
        Size("core.queue:Derived", 2),
        Size("core.queue:Pair", 1),
    ]


def test_a_base_whose_name_exists_twice_is_not_guessed() -> None:
    """A class gets nothing from a base that could be either of two."""
    trees = {"a": tree("class Base:\n  def f(self): self.x = 1"), "b": tree("class Base:\n  def f(self): 1")}
    trees["c"] = tree("class Child(Base):\n  def f(self): self.y = 1")

    assert Size("c:Child", 1) in house.attribute_counts(trees, data=False)


def test_functions_are_measured_without_their_docstrings() -> None:
    """Lines of the body count, also blank ones between; signature and docstring do not."""
    code = tree(
        '''
        def f(
            a,
        ):
            """Say something.

            At length.
            """
            first = 1

            return first

        class C:
            async def g(self):
                """Do nothing."""
        '''
    )

    assert house.function_sizes({"m": code}) == [Size("m:f", 3), Size("m:g", 0)]


@pytest.mark.parametrize(
    ("first_line", "bad"),
    [
        ("Start no new tasks.", False),
        ("Whatever is queued keeps its place.", False),
        ("Item of the list.", False),
        ("", False),
        ("What queues has its units.", True),
        ("It is made.", True),
        ("Not worth waiting for.", True),
        ("Start no new", True),
    ],
)
def test_first_lines_that_read_badly_are_found(first_line: str, bad: bool) -> None:
    """Words that point at something unseen are matched as whole words; a sentence has an end."""
    found = house.bad_first_lines({"core.queue": tree(f'def _f():\n    """{first_line}"""')})

    assert found == ({"core": [f"core.queue:1: {first_line}"]} if bad else {})


def test_public_names_of_two_modules_are_found() -> None:
    """Classes and functions count, at the level of modules; private ones and methods do not."""
    trees = {
        "a": tree("class Task: ...\ndef f(): ...\ndef _g(): ..."),
        "b": tree("def Task(): ...\nclass C:\n  def f(self): ...\ndef _g(): ..."),
    }

    assert house.names_defined_twice(trees) == {"Task": ["a", "b"]}


def test_the_command_prints_the_counts_of_any_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a folder it counts that package, so that two states of the code can be compared."""
    for name, text in {"__init__.py": "", "core.py": "# why\ndef f():\n    return 1\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    assert house.main([str(tmp_path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "modules             2, 2 at the top, 3 lines",
        "comment lines       33.3%",
        "levels of imports   1, emulator 0; 0 circles",
        "functions           1: median 1 lines, p90 1, longest 1",
    ]
    assert "docstrings          0.0% of 1 public classes, functions and methods" in lines
