"""Requests that the client's check accepts are sent to a running emulator, which accepts them too."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given

from kling_async.errors import APIError, KlingWarning, RequestInvalid
from kling_async.testing import Audio, Clip, Editing, Element, Face, Faces, Voice
from kling_async.wire.requests import TaskRequest
from tests.fuzz.bodies import WORDS, bodies, drawing
from tests.fuzz.differences import ONLY_THEIRS, listed
from tests.fuzz.judging import ROWS, ours, request_from
from tests.support import pair

if TYPE_CHECKING:
    from kling_async import Client

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

SENT: Final = int(os.environ.get("KLING_FUZZ_SENT", "60"))
SLOTS: Final = {"video": 2000, "image": 2000, "virtual_try_on": 2000}
LEAST_ACCEPTED: Final = 0.25
"""Share of the requests that the emulator must accept, for many listed refusals would prove little."""

LOOKED_UP: Final = re.compile(
    r"not found"  # no such id
    r"|cursor is invalid"  # no such page
    r"|voice can be taken|duration 5 needs a video of"  # the kind of a video, and its length
    r"|face_choose\[0\]"  # the length of the sound, and when the face is seen
    r"|frame_index must be|nothing was recognised"  # the content of a frame, and its marks
)
"""Refusals that depend on things made earlier, which no request shows."""


def things(name: str, request: Any) -> list[Any]:
    """Make all things that a request may refer to; any drawn text may be an id."""
    points = [(point.x, point.y) for point in getattr(request, "points", ())] or [(0.5, 0.5)]
    marks = {getattr(request, "frame_index", 0): points} if name != "multi_elements.add_selection" else {}
    maker = "avatar" if name == "custom_voices" else "text_to_video"
    made: list[Any] = [Element(id=number) for number in (*range(22), getattr(request, "element_id", 0))]
    for word in WORDS:
        faces = [Face(id=other, start_ms=0, end_ms=60_000) for other in WORDS]
        made += [Clip(id=word, endpoint=maker), Audio(id=word, seconds=60.0), Voice(id=word)]
        made += [Editing(id=word, marks=dict(marks))]
        made += [Faces(id=word, clip=Clip(id="0", seconds=60.0), faces=faces)]
    return made


def drawn(name: str) -> list[tuple[Json, Any]]:
    """Draw bodies of one endpoint that the client's check accepts, each with its request."""
    found: list[tuple[Json, Any]] = []

    @drawing(SENT)
    @given(body=bodies(name))
    def draw(body: Json) -> None:
        try:
            request = request_from(ROWS[name].request, body)
        except (RequestInvalid, TypeError):
            return
        if not ours(request):
            found.append((body, request))

    draw()
    return found


async def refusal(client: Client, request: Any) -> str:
    """Return the emulator's refusal of a request; empty if it accepts."""
    try:
        if isinstance(request, TaskRequest):
            await client.submit(request)
        else:
            await client.call(request)
    except APIError as error:
        return f"({getattr(error, 'code', 1201)}, {error})"
    return ""


@pytest.mark.parametrize("name", ROWS)
async def test_what_our_check_accepts_is_accepted(name: str) -> None:
    """Every request sent is accepted, or refused for a thing made earlier or a listed difference."""
    requests, taken = drawn(name), 0
    limits = {"limits": SLOTS}
    async with pair(SLOTS, seconds=5.0, client=limits) as (emu, client):
        for body, request in requests:
            emu.know(*things(name, request))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", KlingWarning)
                said = await refusal(client, request)
            taken += not said
            known = not said or LOOKED_UP.search(said) or listed(ONLY_THEIRS, name, said, body)
            assert known, f"{said}\n{request}"
        assert taken >= LEAST_ACCEPTED * len(requests) > 0
