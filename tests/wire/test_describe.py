"""Descriptions of fields stand once, in the docstring, and agree with what is checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from msgspec import inspect as mi

from kling_async import RawTask, catalog, v1
from kling_async.wire.describe import attribute_docs, field_docs, summary
from kling_async.wire.fields import Field, fields
from kling_async.wire.media import Media
from kling_async.wire.requests import Part, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS: Final = {"s": "seconds", "ms": "milliseconds", "px": "pixels", "characters/s": "characters a second"}
BOUNDS: Final = ("ge", "le", "min_length", "max_length")


def parts_of(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """The parts that a request holds, at every depth."""
    for field in fields(kind):
        node = field.type.item_type if isinstance(field.type, mi.VarTupleType) else field.type
        if isinstance(node, mi.StructType) and node.cls is not Media:
            yield node.cls
            yield from parts_of(node.cls)


ROWS: Final[list[Any]] = [*catalog.TASKS, *catalog.CALLS]
REQUESTS: Final[list[Any]] = [RawTask, *(row.request for row in ROWS)]
KINDS: Final = list(dict.fromkeys([*REQUESTS, *(part for kind in REQUESTS for part in parts_of(kind))]))
FIELDS: Final = [(kind, field) for kind in KINDS for field in fields(kind)]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
each_field = pytest.mark.parametrize(
    ("kind", "field"), FIELDS, ids=[f"{kind.__name__}.{field.name}" for kind, field in FIELDS]
)


# --- the parser --------------------------------------------------------------------------------


class Described:
    """First line.

    More words.

    Args:
        one: In one line.
        two: Begins here: and goes on
            there, and
            there.

        three: After an empty line, with ``code``.

    Raises:
        ValueError: Not a field.
    """


def test_entries_are_read_each_in_one_line() -> None:
    """Continuations are joined, empty lines skipped, and the section ends where the next one begins."""
    assert field_docs(Described) == {
        "one": "In one line.",
        "two": "Begins here: and goes on there, and there.",
        "three": "After an empty line, with ``code``.",
    }


def test_without_a_section_there_are_none() -> None:
    """No docstring, one without Args, and one of a base describe nothing."""

    class Silent(Described):
        pass

    class Short:
        """Args are not here."""

    assert field_docs(Silent) == field_docs(Short) == {}


def test_a_line_that_is_no_entry_is_refused() -> None:
    """A text without a name would be lost in silence."""

    class Broken:
        """First line.

        Args:
            nameless text
        """

    with pytest.raises(ValueError, match="Broken: not an entry of Args: 'nameless text'"):
        field_docs(Broken)


# --- our docstrings ----------------------------------------------------------------------------


@each_kind
def test_every_field_is_described_in_the_order_of_the_signature(kind: type[msgspec.Struct]) -> None:
    """Every field has an entry, and no entry names anything else."""
    assert tuple(field_docs(kind)) == kind.__struct_fields__


@each_kind
def test_no_description_stands_twice(kind: type[msgspec.Struct]) -> None:
    """``Meta`` holds bounds and wire forms; the prose is in the docstring alone."""
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    nodes = [node for field in info.fields for node in (field.type, *getattr(field.type, "types", ()))]
    said = [node.extra_json_schema for node in nodes if isinstance(node, mi.Metadata)]
    assert [words for words in said if words] == []


@each_field
def test_a_description_tells_bounds_default_unit_and_models(kind: type[msgspec.Struct], field: Field) -> None:
    """The numbers and words that the check reads are in the text that a user reads."""
    text = field_docs(kind)[field.name]
    bounds = {getattr(field.type, bound, None) for bound in BOUNDS} - {None}
    words = {str(bound) for bound in bounds} | set(field.extra.get("models", ()))
    if "unit" in field.extra:
        words.add(UNITS.get(field.extra["unit"], field.extra["unit"]))
    if "default" in field.extra:
        words.add(f"Default: {field.extra['default']}.")
    assert [word for word in words if not re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", text)] == []


@each_field
def test_a_description_tells_the_default_of_our_own(kind: type[msgspec.Struct], field: Field) -> None:
    """A model that is sent unless another one is named is named in the text."""
    text = field_docs(kind)[field.name]
    (default,) = (f.default for f in info_of(kind).fields if f.name == field.name)
    if default not in (None, msgspec.NODEFAULT):
        assert f"Default: {default}." in text
    assert ("Default: " in text) is (default not in (None, msgspec.NODEFAULT) or "default" in field.extra)


def info_of(kind: type[msgspec.Struct]) -> mi.StructType:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return info


@each_kind
def test_a_summary_is_what_stands_before_the_fields(kind: type[msgspec.Struct]) -> None:
    """It has the words of the docstring up to the fields, each paragraph in one line."""
    text = summary(kind)
    assert text.split() == (kind.__doc__ or "").partition("Args:")[0].split()
    assert not any("\n" in part for part in text.split("\n\n"))


def test_docstrings_below_fields_are_found_and_missed_without_source() -> None:
    """Those of bases count too; a class made at run time has none, and raises nothing."""
    docs = attribute_docs(v1.DerivedVideos)
    assert docs["videos"] == "The videos." and docs["parent_video"].startswith("The input video")
    assert attribute_docs(type("Made", (), {"__module__": "kling_async.made"})) == {}


def test_a_class_without_docstring_has_an_empty_summary() -> None:
    """Nothing is inherited."""
    assert summary(type("Mute", (Part,), {})) == ""


@each_kind
def test_descriptions_are_sentences(kind: type[msgspec.Struct]) -> None:
    """They begin with a capital, a number or a word of the API, and end with a full stop."""
    odd = [text for text in field_docs(kind).values() if not re.match(r"([A-Z0-9]|``).*\.$", text)]
    assert odd == []


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_requests_end_with_extra(kind: type[Request]) -> None:
    """The way around a missing field is not the first that an editor shows."""
    assert issubclass(kind, Request) and kind.__struct_fields__[-1] == "extra"


def test_parts_take_nothing_extra() -> None:
    """Only a request has fields that this package does not know."""
    parts = [kind for kind in KINDS if not issubclass(kind, Request)]
    assert all(issubclass(part, Part) and "extra" not in part.__struct_fields__ for part in parts)
    assert len(parts) > 15
