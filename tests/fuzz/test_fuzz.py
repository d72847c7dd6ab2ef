"""Thousands of bodies drawn from the reference: both our check and the emulator judge them, and agree.

Neither side sees the other's code. Every difference is listed below with its reason; one that is not listed
fails the test, and so does one that is listed and never met.
"""

from __future__ import annotations

import base64
import collections
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec import inspect as mi

from kling_async import catalog, checks
from kling_async.checks import Field, check, fields, media_fields, to_wire
from kling_async.emulator.answers import Refusal
from kling_async.emulator.judge import judge
from kling_async.emulator.reference import REFERENCE
from kling_async.emulator.rules import check_rules
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.files import _judge_all
from tests.fuzz.bodies import bodies
from tests.v1.test_reference import struct_of

if TYPE_CHECKING:
    from kling_async.inputs import Media

Json = dict[str, Any]

ROWS: Final[dict[str, Any]] = {row.name: row for row in (*catalog.TASKS, *catalog.CALLS)}
POSTED: Final = [name for name, row in ROWS.items() if getattr(row, "method", "POST") == "POST"]
CASES: Final = int(os.environ.get("KLING_FUZZ_CASES", "150"))


class Difference(NamedTuple):
    """One way in which the two sides differ, and why that is right."""

    endpoints: str
    """A pattern of names."""
    says: str
    """A pattern of what the refusing side says."""
    reason: str


ONLY_OURS: Final = (
    Difference(
        ".*",
        r"must be (True or False|a (whole )?number|a text|a list|a )|must not be (empty|None)|not a number",
        "a struct cannot hold it: the type checker and our check refuse what the server might read leniently",
    ),
)
"""What our check refuses and the emulator accepts."""

ONLY_THEIRS: Final[tuple[Difference, ...]] = ()
"""What the emulator refuses and our check lets pass, with a warning or without."""

MET: collections.Counter[Difference] = collections.Counter()


def request_from(kind: type[msgspec.Struct], body: Json) -> Any:
    """The request that would send this body; what no struct can hold is put in as it is."""
    known = {field.wire_name: field for field in fields(kind)}
    return kind(**{known[name].name: value_from(known[name], value) for name, value in body.items()})


def value_from(field: Field, value: Any) -> Any:
    inner = struct_of(field)
    if inner is not None and isinstance(value, dict):
        return request_from(inner, value)
    if inner is not None and isinstance(value, list):
        entries: list[Any] = value
        return [request_from(inner, item) if isinstance(item, dict) else item for item in entries]
    if isinstance(field.type, mi.BoolType):
        return {"on": True, "yes": True, "off": False, "no": False, "": None}.get(str(value), value)
    if isinstance(value, str) and isinstance(field.type, mi.IntType | mi.FloatType):
        if not re.fullmatch(r"-?\d+(\.\d+)?", value):
            return None if value == "" else value
        return float(value) if isinstance(field.type, mi.FloatType) else int(value)
    return value


def ours(request: Any) -> str:
    """What our check says; empty: accepted."""
    checks._warned.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        try:
            check(request)
        except RequestInvalid as error:
            return str(error)
    items = [(path, media, limits) for path, media, limits in media_fields(request) if media.url is None]
    return "; ".join(f"{problem.field} {problem.text}" for problem in _judge_all(items))


def sent(request: Any) -> Json:
    """The body as it goes over the wire."""

    def text(media: Media) -> str:
        return media.url or base64.b64encode(media.data or b"").decode()

    body: Json = msgspec.json.decode(msgspec.json.encode(to_wire(request, text)))
    return body


def theirs(name: str, body: Json) -> str:
    """What the emulator says; empty: accepted."""
    endpoint = REFERENCE.endpoints[name]
    try:
        kept, _ = judge(endpoint, body)
        check_rules(endpoint, kept)
    except Refusal as refusal:
        return str(refusal) or repr(refusal.args)
    return ""


def listed(differences: tuple[Difference, ...], name: str, said: str) -> bool:
    for difference in differences:
        if re.fullmatch(difference.endpoints, name) and re.search(difference.says, said):
            MET[difference] += 1
            return True
    return False


@pytest.mark.parametrize("name", POSTED)
def test_both_sides_judge_alike(name: str) -> None:
    """Whatever body is drawn, both accept it or both refuse it, but for what is listed."""

    @settings(
        max_examples=CASES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(body=bodies(name))
    def judged(body: Json) -> None:
        try:
            request = request_from(ROWS[name].request, body)
        except RequestInvalid:
            return  # a file that is none: refused where it is given
        except TypeError as error:
            request = str(error)
        if isinstance(request, str):
            assert "Missing required argument" in request
            assert theirs(name, body), f"only a struct refuses: {request}\n{body}"
            return
        body = sent(request)
        mine, other = ours(request), theirs(name, body)
        if mine and not other:
            assert listed(ONLY_OURS, name, mine), f"only ours refuses: {mine}\n{body}"
        if other and not mine:
            assert listed(ONLY_THEIRS, name, other), f"only theirs refuses: {other}\n{body}"

    judged()
