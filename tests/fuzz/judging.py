"""Ask both sides about a drawn body: the client's check, and the emulator's judgement."""

from __future__ import annotations

import base64
import functools
import re
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import inspect as mi

from kling_async import catalog
from kling_async.emulator.judging.judge import judge_body, judge_query
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import check_rules
from kling_async.errors import KlingWarning, Problem, RequestInvalid
from kling_async.orchestrator.bodies import _judge_all
from kling_async.wire import checks
from kling_async.wire.checks import check, media_fields, to_wire
from kling_async.wire.fields import Field, fields
from tests.v1.test_reference import struct_of

if TYPE_CHECKING:
    from kling_async.wire.media import Media

Json = dict[str, Any]

CATALOG: Final[list[Any]] = [*catalog.TASKS, *catalog.CALLS]
ROWS: Final = {row.name: row for row in CATALOG if not row.name.startswith("v2.")}


def request_from(kind: type[msgspec.Struct], body: Json) -> Any:
    """Build the request that would send this body; a value no struct can hold is put in as it is."""
    known = {field.wire_name: field for field in fields(kind)}
    return kind(**{known[name].name: value_from(known[name], value) for name, value in body.items()})


def value_from(field: Field, value: Any) -> Any:
    """Return the value that the encoder would turn into this one; without such a value, this one."""
    inner = struct_of(field)
    if inner is not None:
        return parts_from(inner, value)
    match field.type:
        case mi.BoolType():
            return {"on": True, "yes": True, "off": False, "no": False, "": None}.get(str(value), value)
        case mi.LiteralType():
            return int(value) if str(value).isdecimal() else value
        case mi.IntType() | mi.FloatType() if isinstance(value, str):
            return number_from(value, whole=isinstance(field.type, mi.IntType))
        case _:
            return value


def parts_from(inner: type[msgspec.Struct], value: Any) -> Any:
    """Build the struct for an object, or the structs for the objects of an array."""
    if isinstance(value, list):
        entries: list[Any] = value
        return [parts_from(inner, entry) for entry in entries]
    return request_from(inner, value) if isinstance(value, dict) else value


def number_from(text: str, *, whole: bool) -> int | float | str | None:
    """Read a number from its text; an empty text is None, any other stays as it is."""
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text or None
    return int(text) if whole else float(text)


def ours(request: Any) -> str:
    """Return the refusal of the client's check; empty if it accepts."""
    checks._warned.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        try:
            check(request)
        except RequestInvalid as error:
            return str(error)
    items = [(path, media, limits) for path, media, limits in media_fields(request) if media.url is None]
    return "; ".join(
        f"{problem.field} {problem.text}" for problem in _judge_all(items) if isinstance(problem, Problem)
    )


def sent(request: Any) -> Json:
    """Encode a request as it goes over the wire, and read that back."""

    def text(media: Media) -> str:
        return media.url or base64.b64encode(media.data or b"").decode()

    body: Json = msgspec.json.decode(msgspec.json.encode(to_wire(request, text)))
    return body


def theirs(name: str, body: Json) -> str:
    """Return the refusal of the emulator; empty if it accepts."""
    endpoint = REFERENCE.endpoints[name]
    try:
        if endpoint.method == "GET":
            query = {key: str(value) for key, value in body.items()}
            judge_query(endpoint.params | endpoint.pages, query)
        else:
            kept, _ = judge_body(endpoint, body)
            check_rules(endpoint, kept)
    except Refusal as refusal:
        return repr(refusal.args)
    return ""


@functools.cache
def default_model(kind: type[msgspec.Struct]) -> Json:
    """Return the model that the client sends where a body names none."""
    found = {field.name: field.default for field in msgspec.structs.fields(kind)}
    model = found.get("model_name")
    return {} if model is None else {"model_name": model}


class Verdict(NamedTuple):
    """The refusals of the two sides; empty where a side accepts."""

    ours: str
    theirs: str


def verdict(name: str, body: Json) -> Verdict:
    """Have both sides judge a body. If the client accepts, the emulator gets what the client would send."""
    row = ROWS[name]
    drawn = {**default_model(row.request), **body}
    try:
        request = request_from(row.request, body)
    except (RequestInvalid, TypeError) as error:  # not a file, or a required field is missing
        return Verdict(str(error), theirs(name, drawn))
    mine = ours(request)
    return Verdict(mine, theirs(name, drawn if mine else sent(request)))
