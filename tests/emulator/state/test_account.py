"""The account: credentials, slots, units, packs, and external ids that are used once."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import pytest

from kling_async.emulator.judging.reference import REFERENCE
from kling_async.testing import Pack
from tests.emulator.support import ALL_TIME, COSTS, IMAGE, VIDEO, calling

pytestmark = pytest.mark.anyio

NOW = 1_790_000_000
SECRET = "emulator-secret-of-32-bytes-or-more"


def token(key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return an Authorization header with a JWT, signed as in the vendor's samples."""
    full = {"iss": "emulator-access", "exp": NOW + 1800, "nbf": NOW - 5, **claims}
    return "Bearer " + jwt.encode(full, key, algorithm=algorithm)


@pytest.mark.parametrize(
    ("auth", "code", "message"),
    [
        (None, 1001, "Authorization is empty"),
        ("", 1001, "Authorization is empty"),
        ("emulator-key", 1002, "Authorization is invalid"),
        ("Basic emulator-key", 1002, "Authorization is invalid"),
        ("Bearer ", 1002, "Authorization is invalid"),
        ("Bearer key-of-another-region", 1002, "api key not found"),
        (token(iss="somebody"), 1002, "access key not found"),
        (token(key="another-secret-of-32-bytes-or-more"), 1000, "Authentication failed"),
        (token(algorithm="HS512", key=SECRET * 2), 1000, "alg must be HS256"),
        (token(exp=None), 1000, "must be numbers"),
        (token(nbf=NOW + 1), 1003, "not valid yet"),
        (token(exp=NOW), 1004, "expired"),
        ("Bearer a.b.c", 1000, "alg must be HS256"),
        ("Bearer e30.W10.!", 1000, "alg must be HS256"),
    ],
)
async def test_failed_authentication_has_a_code(auth: str | None, code: int, message: str) -> None:
    """Each failure of authentication has its code and status 401, for every kind of request."""
    async with calling(now=lambda: NOW) as (emu, call):
        for method, path in (("POST", VIDEO), ("GET", VIDEO), ("GET", f"{VIDEO}/1"), ("GET", COSTS)):
            status, got, text = (await call(method, path, auth=auth)).refusal
            assert (status, got) == (401, code) and message in text
        assert not emu.tasks and len(emu.ledger.refusals) == 4


async def test_both_credentials_open_unless_one_is_missing() -> None:
    """An account may have an API key, a key pair, or both; each one that it has works."""
    key = "Bearer emulator-key"
    for options, opens in (({}, 0), ({"api_key": None}, 1002), ({"access_key": None}, 0)):
        async with calling(now=lambda: NOW, **options) as (_, call):
            assert (await call("GET", VIDEO, auth=key)).code == opens
    async with calling(now=lambda: NOW) as (_, call):
        assert (await call("GET", VIDEO, auth=token())).code == 0
        assert (await call("GET", VIDEO, auth=token(nbf=NOW, exp=NOW + 1))).code == 0
    async with calling(now=lambda: NOW, secret_key=None) as (_, call):
        status, code, text = (await call("GET", VIDEO, auth=token())).refusal
        assert (status, code) == (401, 1002) and "does not support AK/SK" in text


async def test_skew_shifts_the_servers_clock() -> None:
    """Tokens and the Date header follow the server's wall clock, which advances with the loop's."""
    async with calling(now=lambda: NOW) as (emu, call):
        assert (await call("GET", VIDEO)).headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
        emu.skew = -60
        assert (await call("GET", VIDEO, auth=token())).refusal[1] == 1003
        emu.skew = 3600
        assert (await call("GET", VIDEO, auth=token())).refusal[1] == 1004
        assert (await call("GET", VIDEO)).headers["Date"] == "Mon, 21 Sep 2026 15:13:20 GMT"
        assert emu.skew == 3600
        emu.skew = 0
        await asyncio.sleep(1800)
        assert (await call("GET", VIDEO, auth=token())).refusal[1] == 1004
        assert (await call.video()).data["created_at"] == (NOW + 1800) * 1000


async def test_a_pool_has_so_many_slots_and_not_one_more() -> None:
    """A create beyond the limit is 429/1303 in the vendor's words; slots are freed exactly at the end."""
    async with calling(slots={"video": 2, "image": 9}) as (emu, call):
        emu.set_duration(60)
        await call.video()
        await asyncio.sleep(10)
        await call.video()
        full = (429, 1303, "parallel task over resource pack limit")
        assert (await call.video(external_task_id="a")).refusal == full
        await call("GET", VIDEO)
        assert (await call.image()).code == 0
        await asyncio.sleep(49.9)
        assert (await call.video(external_task_id="a")).refusal == full
        await asyncio.sleep(0.2)
        assert (await call.video(external_task_id="a")).code == 0
        assert len(emu.tasks) == 4 and emu.ledger.peak("video") == 2
        await asyncio.sleep(100)
        times, used = zip(*emu.ledger.slots["video"], strict=True)
        assert times == pytest.approx((0, 10, 60, 60.1, 70, 120.1), abs=0.05)
        assert used == (1, 2, 1, 2, 1, 0)


async def test_an_image_task_takes_a_slot_per_image() -> None:
    """Slots are taken all or none; a task larger than the whole pool never fits."""
    async with calling(slots={"image": 8}) as (emu, call):
        assert (await call.image(n=9)).refusal[:2] == (429, 1303)
        assert (await call.image(n=5)).code == 0
        assert (await call.image(n=4)).refusal[:2] == (429, 1303)
        assert (await call.image(n=3)).code == 0
        assert emu.ledger.used("image") == 8


async def test_somebody_else_holds_slots_unseen() -> None:
    """Foreign slots refuse creates but are in no list and no ledger, and may change."""
    async with calling(slots={"video": 2}, foreign={"video": 1}) as (emu, call):
        assert (await call.video()).code == 0
        assert (await call.video()).refusal[1] == 1303
        emu.set_foreign("video", 0)
        assert (await call.video()).code == 0
        assert emu.ledger.peak("video") == 2 and len((await call("GET", VIDEO)).data) == 2


async def test_pools_may_grow_and_shrink() -> None:
    """Tasks beyond a smaller size keep running; new ones are refused."""
    async with calling(slots={"video": 1}) as (emu, call):
        await call.video()
        emu.resize("video", 2)
        assert (await call.video()).code == 0
        emu.resize("video", 1)
        assert (await call.video()).refusal[1] == 1303
        emu.resize("image", 1)
        assert (await call.image()).code == 0
        (video, image) = (await call("GET", COSTS, params=ALL_TIME)).data["resource_pack_subscribe_infos"]
        assert "-1Con-" in video["resource_pack_name"] and "-1Con-" in image["resource_pack_name"]


async def test_an_external_id_is_used_once_in_the_whole_account() -> None:
    """A repeat is refused on every endpoint and costs nothing, also after the first task has ended."""
    async with calling(units={"video": 10, "image": 100}) as (emu, call):
        first = (await call.video(external_task_id="once")).data["task_id"]
        for again in (call.video, call.image):
            status, code, message = (await again(external_task_id="once")).refusal
            assert (status, code) == (400, 1201) and message.endswith("already exists")
        emu.finish(first, "failed")
        assert (await call.video(external_task_id="once")).refusal[1] == 1201
        assert (
            (await call.video(external_task_id="")).code == (await call.video(external_task_id="")).code == 0
        )
        assert len(emu.tasks) == 3 and emu.units == {"video": 4, "image": 100}
        assert emu.ledger.used("image") == 0


async def test_units_run_out_and_may_be_topped_up() -> None:
    """A pool without units, or without a pack, answers 429/1102; the other pools go on."""
    async with calling(slots={"video": 5, "image": 9}, units={"video": 5}) as (emu, call):
        emu.units["image"] = 0
        empty = (429, 1102, "Account balance not enough")
        assert (await call.image()).refusal == empty
        assert (await call.video()).code == 0
        assert (await call.video()).refusal == empty
        emu.units["image"] = 8
        assert (await call.image()).code == 0 and emu.units == {"video": 2, "image": 0}
    async with calling(slots={"image": 9}) as (_, call):
        assert (await call.video()).refusal == empty


async def test_codes_of_the_whole_account() -> None:
    """1100 and 1101 answer creates, 1304 answers everything, 1103 one model."""
    async with calling() as (emu, call):
        for code in (1100, 1101):
            emu.account_code = code
            assert (await call.video()).refusal[:2] == (429, code)
            assert (await call("GET", VIDEO)).code == 0
        emu.account_code = 1304
        assert (await call("GET", VIDEO)).refusal[:2] == (429, 1304) and emu.account_code == 1304
        emu.account_code = None
        emu.forbidden_models.add("kling-v3")
        assert (await call.video()).refusal[:2] == (403, 1103)
        assert (await call.video(model_name="kling-v2-6")).code == 0


async def test_packs_bring_exactly_the_slots() -> None:
    """The names of the packs tell the slots, as sold where possible; window and name select packs."""
    async with calling(slots={"video": 5, "image": 7, "virtual_try_on": 1, "none": 0}, now=lambda: NOW) as (
        emu,
        call,
    ):
        data = (await call("GET", COSTS, params=ALL_TIME)).data
        assert (data["code"], data["msg"]) == (0, "success")
        packs = data["resource_pack_subscribe_infos"]
        assert [pack["resource_pack_name"] for pack in packs] == [
            "Trial-Video-100Units-5Con-1Months",
            "Trial-Image-1000Units-7Con-1Months",
            "Trial-Virtual-Try-On-1000Units-1Con-1Months",
        ]
        assert packs[0] == {
            "resource_pack_name": "Trial-Video-100Units-5Con-1Months",
            "resource_pack_id": packs[0]["resource_pack_id"],
            "resource_pack_type": "decreasing_total",
            "total_quantity": 100.0,
            "remaining_quantity": 100.0,
            "purchase_time": (NOW - 86400) * 1000,
            "effective_time": (NOW - 86400) * 1000,
            "invalid_time": (NOW + 29 * 86400) * 1000,
            "status": "online",
        }
        await asyncio.sleep(1)
        one = await call(
            "GET", COSTS, params={**ALL_TIME, "resource_pack_name": packs[1]["resource_pack_name"]}
        )
        assert one.data["resource_pack_subscribe_infos"] == [packs[1]]
        await asyncio.sleep(1)
        late = {"start_time": str(NOW * 1000), "end_time": str(NOW * 1001)}
        assert "resource_pack_subscribe_infos" not in (await call("GET", COSTS, params=late)).data
        assert [row.kind for row in emu.ledger.costs] == ["costs"] * 3


async def test_packs_begin_end_and_run_out() -> None:
    """Each status of a pack comes at its time; a list without packs lacks the field."""
    packs = [
        Pack(name="soon", effective=10, invalid=20),
        Pack(name="empty", remaining=0),
        Pack(name="told", status="expired"),
    ]

    async with calling(packs=packs) as (emu, call):

        async def statuses() -> list[str]:
            data = (await call("GET", COSTS, params=ALL_TIME)).data
            return [pack["status"] for pack in data["resource_pack_subscribe_infos"]]

        assert await statuses() == ["toBeOnline", "runOut", "expired"]
        await asyncio.sleep(10.1)
        assert (await statuses())[0] == "online"
        await asyncio.sleep(10)
        assert (await statuses())[0] == "expired"
        assert emu.packs == packs
        emu.packs = []
        await asyncio.sleep(1)
        assert (await call("GET", COSTS, params=ALL_TIME)).data == {"code": 0, "msg": "success"}


async def test_packs_may_be_asked_for_once_a_second() -> None:
    """A second request within a second is 429/1302; a wrong request is refused and does not count."""
    async with calling() as (_, call):
        camel = {"startTime": "0", "endTime": "1"}
        missing = (400, 1200, "Missing Request Parameter: start_time")
        assert (await call("GET", COSTS, params=camel)).refusal == missing
        assert (await call("GET", COSTS, params={**ALL_TIME, "end_time": "now"})).refusal[:2] == (400, 1201)
        assert (await call("GET", COSTS, params=ALL_TIME)).code == 0
        assert (await call("GET", COSTS, params=ALL_TIME)).refusal[:2] == (429, 1302)
        await asyncio.sleep(1)
        assert (await call("GET", COSTS, params=ALL_TIME)).code == 0
        assert (await call("GET", "/v1" + COSTS, params=ALL_TIME)).refusal[:2] == (404, 1203)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((code, 401) for code in range(1000, 1005)),
        *((code, 429) for code in (1100, 1101, 1102, 1302, 1303, 1304)),
        *((code, 400) for code in (1200, 1201, 1300, 1301, 9999)),
        *((1103, 403), (1202, 404), (1203, 404), (5000, 500), (5001, 503), (5002, 504)),
    ],
)
async def test_every_code_has_its_status(code: int, status: int) -> None:
    """Every code of the table has its HTTP status; an unknown code has 400."""
    async with calling() as (emu, call):
        emu.fault("list", code=code)
        reply = await call("GET", IMAGE)
        assert reply.refusal == (status, code, REFERENCE.message(code))
        assert len(reply.json["request_id"]) == 36
