"""Test values of every type in every field of every request: coerced or named, and never another error."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import RequestInvalid
from kling_async.batch.identity import fingerprint
from kling_async.orchestrator.bodies import encode
from kling_async.runtime.loop import LoopScope
from kling_async.wire.checks import check, media_fields
from kling_async.wire.media import Media
from tests.fuzz.bodies import bodies, drawing
from tests.fuzz.judging import ROWS, ours, request_from, sent
from tests.reference import V1
from tests.support import clip, pair, still
from tests.v1.test_reference import EXAMPLES, OF_THE_CALL, filled, from_wire
from tests.wire.test_plain import Fields, Int64, Real, Text, Whole, member, strange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CASES: Final = 15


def fields_of(value: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a request or part that are set."""
    return {
        name: item for name in value.__struct_fields__ if (item := getattr(value, name)) not in (None, {}, "")
    }


def disguised(value: Any) -> st.SearchStrategy[Any]:
    """Draw the same value with every scalar in it of another type, requests and parts included."""
    match value:
        case Media(url=str(url)):
            return strange(url)
        case Media():
            return st.just(value)
        case msgspec.Struct():
            made = {name: disguised(item) for name, item in fields_of(value).items()}
            return st.fixed_dictionaries(made).map(lambda given_: type(value)(**given_))
        case tuple():
            return st.tuples(*map(disguised, value)) | st.tuples(*map(disguised, value)).map(list)
        case _:
            return strange(value)


@pytest.mark.parametrize("name", ROWS)
def test_values_that_mean_the_same_make_the_same_request(name: str) -> None:
    """Subclasses, numbers of libraries and members of enums in any field: same body, same fingerprint."""

    @drawing(CASES)
    @given(data=st.data())
    def same(data: st.DataObject) -> None:
        try:
            wanted = request_from(ROWS[name].request, data.draw(bodies(name)))
        except (RequestInvalid, TypeError):
            return  # no request at all
        if ours(wanted):
            return
        made = data.draw(disguised(wanted))
        assert ours(made) == ""
        assert msgspec.json.encode(sent(made)) == msgspec.json.encode(sent(wanted))
        digests = {file: "0" * 64 for _, file, _ in media_fields(wanted)}
        assert fingerprint(name, made, digests) == fingerprint(name, wanted, digests)

    same()


class Array:
    """An array of a library: it compares by element and has no truth of its own."""

    def __eq__(self, other: object) -> Any:
        return Array()

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class Rude:
    """An object that raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__


ODD: Final[tuple[Any, ...]] = (
    *(Text("a fox"), Text(""), Whole(5), Whole(-1), Real(0.5), Real("nan"), Int64(5), Int64(2**70)),
    *(member("std"), member(5), member(0.5), member(object()), member(None), Fields(a=1), Fields()),
    *(Decimal(5), Decimal("nan"), 1j, b"x", bytearray(b"x"), memoryview(b"x"), Array(), Rude(), object()),
    *(True, 5, 0.5, float("inf"), "5", "\ud800", [], [5], [[5]], {"a": 1}, {1: 2}, {5}, (), ("a",), range(3)),
    *(str, len, Media, clip(), still(), Media(data=b"x"), ["x", Array()], [Rude()], {"a": Rude()}),
)
"""Values for any field."""


def example(name: str) -> Any:
    """Build the request of the vendor's example, else one with every field set."""
    kind = ROWS[name].request
    if name not in EXAMPLES:
        return filled(kind)
    body = V1["endpoints"][name]["example"]["request"]
    return from_wire(kind, {key: value for key, value in body.items() if key not in OF_THE_CALL})


def spoilt(value: msgspec.Struct) -> Iterator[Callable[[], Any]]:
    """Yield constructors of the same request with one odd value, at every depth."""
    kind: Any = type(value)
    right = fields_of(value)
    for name in value.__struct_fields__:
        yield from (partial(kind, **{**right, name: odd}) for odd in ODD)
        item = right.get(name)
        part = item[0] if isinstance(item, tuple) else item
        if isinstance(part, msgspec.Struct) and not isinstance(part, Media):
            for make in spoilt(part):
                yield partial(with_part, kind, right, name, make)


def with_part(kind: Any, right: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
    """Construct a request with another part, alone where it has several."""
    part = make()
    return kind(**{**right, name: [part] if isinstance(right[name], tuple) else part})


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
@pytest.mark.parametrize("name", ROWS)
def test_a_value_of_any_type_is_taken_or_named(name: str) -> None:
    """Whatever stands in a field, the request is refused with that field's name, or its body is JSON."""
    bodies_made = refused = 0
    for make in spoilt(example(name)):
        try:
            request = make()
            check(request)
        except RequestInvalid:
            refused += 1
            continue
        json.loads(msgspec.json.encode(sent(request)))
        bodies_made += 1
    assert refused > len(ODD) / 2 and bodies_made > 0


# --- what the check cannot see -----------------------------------------------------------------


async def encoded(request: Any) -> bytes:
    return await encode(request, {}, LoopScope(lambda: 1_790_000_000.0))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "value",
    [object(), Text("x"), Rude(), {None: 1}, "\ud800", 10**5000],
    ids=["object", "text", "rude", "key", "surrogate", "digits"],
)
async def test_what_fails_while_a_body_is_made_names_the_request(value: Any) -> None:
    """A request that was changed after its check fails alone, with the reason."""
    request = clip(extra={"new": 1})
    request.extra["new"] = value
    with pytest.raises(RequestInvalid, match="TextToVideo: body: cannot be sent as JSON: ") as caught:
        await encoded(request)
    assert caught.value.__context__ is None


@pytest.mark.anyio
async def test_an_odd_item_does_not_end_a_batch(tmp_path: Path) -> None:
    """Values of libraries are made like any other; one that cannot be sent fails alone, before it is paid."""
    async with pair(slots={"video": 5}) as (emu, client):
        requests = [clip(Text(f"fox {at}"), duration=Whole(5), cfg_scale=Real(0.5)) for at in range(12)]
        spoilt = clip("spoilt", extra={"new": 1})
        spoilt.extra["new"] = Rude()
        requests.insert(6, spoilt)
        keyed = [(Text(f"key {at}"), request) for at, request in enumerate(requests)]
        async with client.batch(keyed, journal=tmp_path / "j.db", label=Text("mine")) as results:
            outcomes = [outcome async for outcome in results]
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        assert [type(outcome.error) for outcome in failed] == [RequestInvalid]
        assert (len(outcomes), len(emu.ledger.created)) == (13, 12)


@pytest.mark.anyio
async def test_options_of_a_submit_are_plain_too() -> None:
    """Ids, labels and addresses of the call may come from a library as well."""
    async with pair() as (emu, client):
        task = await client.submit(
            clip(),
            external_task_id=Text("mine"),
            callback_url=Text("https://a.example/hook"),
            priority=Whole(3),
            label=Text("mine"),
        )
        assert task.external_task_id == "mine" and len(emu.ledger.created) == 1
        await asyncio.wait_for(task.wait(), 600)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["http://localhost:8000/x.png", "https://10.0.0.1/x.png", "https://nas.local/x.png"]
)
async def test_an_api_on_this_machine_may_fetch_private_addresses(url: str) -> None:
    """The base URL decides: an emulator reaches what this machine reaches."""
    async with pair() as (emu, client):
        await client.submit(still(image=url))
        assert len(emu.ledger.created) == 1
