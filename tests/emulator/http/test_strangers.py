"""Requests as clients of others send them: HEAD, doubled slashes, ids as text, inputs nobody can fetch."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kling_async.emulator.judging.addresses import is_unreachable
from kling_async.testing import Element, Emulator, emulator
from tests.emulator.facts import ENDPOINTS, MAKERS, SAMPLES, path, sample
from tests.emulator.support import IMAGE, VIDEO, Caller, calling
from tests.reference import V2

pytestmark = pytest.mark.anyio

SLOTS = {"video": 20, "image": 20, "virtual_try_on": 5}
NOT_FETCHED = "Something went wrong when we tried to get the contents of the file."


async def test_head_of_a_file_tells_its_length_and_type() -> None:
    """HEAD has the headers of GET and no body; a wrong signature is refused likewise."""
    async with calling() as (emu, call):
        task_id = (await call.video()).data["task_id"]
        emu.finish(task_id)
        url = (await call("GET", f"{VIDEO}/{task_id}")).data["task_result"]["videos"][0]["url"]
        head, whole = await call("HEAD", url, auth=None), await call("GET", url, auth=None)
        assert head.status == 200 and head.raw == b"" and len(whole.raw) > 1000
        names = ("Content-Length", "Content-Type", "ETag", "Accept-Ranges")
        assert [head.headers[name] for name in names] == [whole.headers[name] for name in names]
        assert (await call("HEAD", f"{url}0", auth=None)).status == 403


@pytest.mark.parametrize("prefix", ["", "/kling"])
async def test_several_slashes_count_as_one(prefix: str) -> None:
    """A base URL with a slash at its end works for creates, queries, lists and ``/tasks``."""
    async with calling(prefix=prefix) as (_, call):
        made = await call("POST", f"/{VIDEO}", json={"model_name": "kling-v3", "prompt": "a boat"})
        task_id = made.data["task_id"]
        assert (await call("GET", f"//{VIDEO}//{task_id}")).data["task_id"] == task_id
        assert [task["task_id"] for task in (await call("GET", f"/{VIDEO}//")).data] == [task_id]
        assert [task["id"] for task in (await call("GET", f"//tasks?task_ids={task_id}")).data] == [task_id]


@pytest.mark.parametrize("name", [n for n in MAKERS if "element_list" in ENDPOINTS[n]["params"]])
async def test_ids_of_elements_may_be_text(name: str) -> None:
    """A sample of the vendor's sends them so; other text is refused."""
    more: dict[str, Any] = {"model_name": "kling-v3"} if name == "image_to_video" else {}
    more |= {"character_orientation": "video"} if name == "motion_control" else {}
    async with calling(slots=SLOTS) as (emu, call):
        emu.know(Element(id=829836802793406551))
        for element_id, code in (("829836802793406551", 0), ("829836802793406551x", 1201), ("-1", 1201)):
            body = sample(name, **more, external_task_id="", element_list=[{"element_id": element_id}])
            assert (await call("POST", path(name), json=body)).code == code


# --- inputs that cannot be fetched -------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "unreachable"),
    [
        *(
            (f"https://{host}/a.png", False)
            for host in ("example.com", "a.example", "8.8.8.8", "[2606:4700::1]")
        ),
        *((f"http://{host}:80/a.png", False) for host in ("127.0.0.1", "localhost", "[::1]")),
        *(
            (f"https://{host}/a.png", True)
            for host in ("10.0.0.1", "192.168.1.7", "169.254.169.254", "[fd00::1]")
        ),
        *(
            (f"https://{host}/a.png", True)
            for host in ("a.invalid", "nas.local", "printer", "box.internal.", "")
        ),
        *(
            (url, True)
            for url in ("https://exa mple.com/a.png", "https://example.com/a b.png", "http://[::1/a")
        ),
    ],
)
def test_addresses_that_nobody_can_fetch(url: str, unreachable: bool) -> None:
    """Hosts that are not public, and texts that are no addresses; loopback serves files in tests."""
    assert is_unreachable(url) is unreachable


async def failed(call: Caller, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make a task, wait until it has ended, and return it."""
    made = await call("POST", path(name), json=body)
    assert made.code == 0, made.json
    emu = call.emu
    task = emu.tasks[made.data["task_id"]]
    assert task.ends - task.created <= 10 and emu.ledger.used(task.pool) == task.weight
    emu.finish(task.task_id, task.ending, task.failure)
    return dict((await call("GET", f"{path(name)}/{task.task_id}")).data)


def unreachable_in(name: str) -> dict[str, Any] | None:
    """Return an endpoint's sample with a host that does not exist in its first address; None without one."""
    body = sample(name, external_task_id="", callback_url=None)
    changed = replaced(body)
    return None if changed == body else changed


def replaced(value: Any) -> Any:
    """Return a JSON value in which every address of the sample has another host."""
    if isinstance(value, dict):
        return {name: replaced(item) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item) for item in value]
    return re.sub(r"^https?://[^/]+", "https://nobody.invalid", value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", [name for name in MAKERS if unreachable_in(name)])
async def test_an_input_that_cannot_be_fetched_fails_the_task(name: str) -> None:
    """The create is accepted and holds slots; then the task fails with the recorded words, for nothing."""
    async with calling(slots=SLOTS, units={"video": 1000, "image": 1000}) as (emu, call):
        emu.know(*SAMPLES)
        before = dict(emu.units)
        task = await failed(call, name, unreachable_in(name) or {})
        assert (task["task_status"], task["task_status_msg"]) == ("failed", NOT_FETCHED)
        assert task["final_unit_deduction"] == "0" and emu.units == before


async def test_it_takes_ten_seconds_at_most_and_less_with_speed() -> None:
    """The vendor tries for some seconds; a task that would end sooner anyway does."""
    for speed, fixed, seconds in ((1.0, None, 10.0), (4.0, None, 2.5), (1.0, 3.0, 3.0)):
        async with calling(speed=speed) as (emu, call):
            emu.set_duration(fixed)
            made = await call.image(image="https://nobody.invalid/a.png")
            task = emu.tasks[made.data["task_id"]]
            assert task.ends - task.created == pytest.approx(seconds)


async def test_the_words_of_the_failure_are_those_of_the_sample() -> None:
    """The vendor's own answer has the same message and the same bill."""
    (seen,) = [row for row in V2["answers"] if "failed before generating" in row["name"]]
    (theirs,) = seen["body"]["data"]
    async with calling() as (emu, call):
        made = await call.image(image="https://nobody.invalid/a.png")
        emu.finish(made.data["task_id"], "failed", emu.tasks[made.data["task_id"]].failure)
        (ours,) = (await call("GET", "/tasks", params={"task_ids": made.data["task_id"]})).data
        assert {name: ours[name] for name in ("status", "message", "billing")} == {
            name: theirs[name] for name in ("status", "message", "billing")
        }
        assert ours.keys() == theirs.keys()
        assert (await call("GET", f"{IMAGE}/{ours['id']}")).data["final_unit_deduction"] == "0"


# --- what the person who starts it is told -----------------------------------------------------


async def test_the_banner_shows_both_kinds_of_keys() -> None:
    """Clients that sign tokens find their pair; an account with a pair alone shows it as variables."""
    async with emulator() as emu:
        banner = emu.banner()
        assert f"export KLING_API_KEY={emu.api_key}" in banner
        assert f"KLING_ACCESS_KEY={emu.access_key} KLING_SECRET_KEY={emu.secret_key}" in banner
        assert "emulator:seconds=N: the task takes N seconds, whatever the speed" in banner
    async with Emulator(api_key=None) as emu:
        assert "export KLING_SECRET_KEY=" in emu.banner() and emu.banner().count("SECRET") == 1


async def test_the_prompts_seconds_are_not_scaled() -> None:
    """As the banner says."""
    async with calling(speed=50) as (emu, call):
        task = emu.tasks[(await call.video(prompt="a boat emulator:seconds=12")).data["task_id"]]
        assert task.ends - task.created == pytest.approx(12)
