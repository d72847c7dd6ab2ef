"""Sizes of an account's pools, worked out from its resource packs."""

from __future__ import annotations

import math

import pytest

from kling_async.core.pool_sizes import DEFAULTS, POOLS, Sizes, pool_of, pool_sizes, slots_of
from kling_async.v1 import Costs, Pack

NOW = 1_790_000_000.0
DAY = 86_400.0

# names and rows of the vendor's pages and of real accounts, 2026
NAMES = [
    ("Trial-Video-100Units-5Con-1Months", "video", 5),
    ("Trial-Video-1000Units-5Con-1Months", "video", 5),
    ("Trial-Image-1000Units-9Con-1Months", "image", 9),
    ("Standard-Video-5000Units-20Con-6Months", "video", 20),
    ("Trial-Virtual-Try-On-100Units-3Con-1Months", "virtual_try_on", 3),
]
ROWS = [
    ("video", 100, 5),
    ("video", 1000, 5),
    ("video", 5000, 20),
    ("video", 15000, 20),
    ("video", 45000, 20),
    ("video", 60000, 20),
    ("image", 1000, 9),
    ("image", 100000, 9),
]
UNKNOWN = "Video Generation - 10,000 entries"
"""The sample of the vendor's page, whose size nobody knows."""


def pack(
    name: str = "Trial-Video-100Units-5Con-1Months",
    *,
    units: float = 0.0,
    status: str = "online",
    begins: float = -DAY,
    ends: float | None = DAY,
) -> Pack:
    """Make a pack; its times are seconds from now, ``ends`` None where the vendor says no end."""
    return Pack(
        resource_pack_name=name,
        total_quantity=units,
        status=status,
        effective_time=int((NOW + begins) * 1000),
        invalid_time=0 if ends is None else int((NOW + ends) * 1000),
    )


def limits(*packs: Pack) -> dict[str, int]:
    return pool_sizes(packs, NOW).limits


def guesses(*packs: Pack) -> dict[str, int]:
    return pool_sizes(packs, NOW).guesses


def until(*packs: Pack) -> float:
    """Return when the sizes may change, in seconds from now."""
    return pool_sizes(packs, NOW).until - NOW


@pytest.mark.parametrize(("name", "pool", "slots"), NAMES, ids=[row[0] for row in NAMES])
def test_the_name_says_pool_and_slots(name: str, pool: str, slots: int) -> None:
    """The names of packs sold in 2026 carry both; the units do not matter then."""
    assert limits(pack(name, units=5000)) == {pool: slots}


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("Video 12Con", 12),
        ("Video-7Con-x", 7),
        ("Video-x7Con", None),
        ("Video-7Concurrent", None),
        ("Video-Con", None),
        (UNKNOWN, None),
    ],
)
def test_only_a_number_right_before_con_counts(name: str, slots: int | None) -> None:
    """A number within another word does not; the loose pattern survives other tiers and terms."""
    assert slots_of(pack(name)) == slots


@pytest.mark.parametrize(("pool", "units", "slots"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_older_packs_are_known_by_kind_and_units(pool: str, units: int, slots: int) -> None:
    """Their names carry no number; the quantities arrive as floats."""
    old = pack(f"{pool} pack", units=float(units))
    assert slots_of(old) == slots
    assert limits(old) == {pool: slots}


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("TRIAL-VIDEO", "video"),
        ("视频生成资源包", "video"),
        ("Image generation", "image"),
        ("图像生成", "image"),
        ("图片生成", "image"),
        ("Image to Video", "video"),
        ("Kolors TryOn", "virtual_try_on"),
        ("virtual try on image", "virtual_try_on"),
        ("虚拟试穿", "virtual_try_on"),
        ("虚拟试衣", "virtual_try_on"),
        ("Audio units", None),
        ("", None),
    ],
)
def test_the_pool_is_read_from_the_words_of_the_name(name: str, pool: str | None) -> None:
    """English and Chinese words count, in any case; of two kinds the narrower one wins."""
    assert pool_of(name) == pool


def test_of_several_packs_the_highest_counts_not_the_sum() -> None:
    """Active packs of 5 and 10 give 10, in either order; each pool is counted for itself."""
    small, large = pack("a-Video-1Units-5Con"), pack("b-Video-1Units-10Con")
    image = pack("Trial-Image-1000Units-9Con-1Months")
    assert limits(small, large, image) == limits(large, image, small) == {"video": 10, "image": 9}


@pytest.mark.parametrize(
    "idle",
    [
        pack(status="runOut"),
        pack(status="expired", ends=-1.0),
        pack(status="toBeOnline", begins=DAY, ends=2 * DAY),
        pack(status="toBeOnline"),
        pack(status="online", ends=0.0),
        pack(status="online", begins=DAY, ends=2 * DAY),
        pack(status="a word of next year"),
        pack("Audio-100Units-5Con"),
    ],
    ids=[
        "run out",
        "expired",
        "to come",
        "not on yet",
        "ends now",
        "begins later",
        "unknown word",
        "no pool",
    ],
)
def test_what_is_not_active_does_not_count(idle: Pack) -> None:
    """Packs that are not ``online``, or not in their time, leave the careful 1."""
    assert pool_sizes([idle], NOW)[:2] == ({}, dict.fromkeys(POOLS, 1))


def test_a_pack_counts_from_its_first_moment() -> None:
    """A pack is active at its effective time, and one without an end never ends."""
    assert limits(pack(begins=0.0, ends=None)) == {"video": 5}
    assert until(pack(begins=0.0, ends=None)) == math.inf


@pytest.mark.parametrize("costs", [Costs(), Costs(resource_pack_subscribe_infos=())], ids=["absent", "empty"])
def test_an_account_without_packs_starts_with_one_slot_a_pool(costs: Costs) -> None:
    """The 1 is a guess and not a limit, since a cash balance may pay."""
    assert pool_sizes(costs.packs, NOW) == Sizes({}, {"video": 1, "image": 1, "virtual_try_on": 1}, math.inf)


@pytest.mark.parametrize(
    ("name", "pool", "guess"),
    [(UNKNOWN, "video", 5), ("Image 2024", "image", 9), ("try-on", "virtual_try_on", 1)],
)
def test_a_pack_of_unknown_size_is_a_guess(name: str, pool: str, guess: int) -> None:
    """The guess is the size of the smallest packs on sale, and probes may pass it."""
    assert limits(pack(name)) == {}
    assert guesses(pack(name)) == {**dict.fromkeys(POOLS, 1), pool: guess}
    assert DEFAULTS[pool] == guess


def test_a_pool_is_told_or_guessed_never_both() -> None:
    """Pools without a pack of known size keep their guess."""
    assert guesses(pack()) == {"image": 1, "virtual_try_on": 1}


def test_a_pack_of_unknown_size_beside_a_known_one_is_a_guess_from_there() -> None:
    """A small known pack must not bind where a pack of unknown size may be larger."""
    trial, contract = pack(), pack("Video, negotiated", units=123456)
    assert limits(trial, contract) == {}
    assert guesses(trial, contract)["video"] >= 5


@pytest.mark.parametrize(
    ("packs", "seconds"),
    [
        ([pack(ends=5 * DAY), pack(ends=3 * DAY), pack(ends=4 * DAY)], 3 * DAY),
        ([pack(ends=5 * DAY), pack(status="toBeOnline", begins=2 * DAY, ends=9 * DAY)], 2 * DAY),
        ([pack(begins=4 * DAY, ends=9 * DAY)], 4 * DAY),
        ([pack(status="runOut", ends=DAY), pack(status="expired", ends=-DAY)], math.inf),
        ([pack(status="toBeOnline", ends=DAY)], 60.0),
        pytest.param(
            [pack(status="toBeOnline", begins=10.0)],
            10.0,
        ),
        ([pack("Audio-1Con", ends=DAY)], math.inf),
        ([pack(UNKNOWN, ends=DAY)], DAY),
    ],
    ids=[
        "first end",
        "a coming one",
        "online too early",
        "over",
        "late by our clock",
        "soon",
        "no pool",
        "unknown size",
    ],
)
def test_until_is_when_the_sizes_may_change_by_themselves(packs: list[Pack], seconds: float) -> None:
    """The next end of a pack that counts, the begin of a bought one, a minute where that is late."""
    assert until(*packs) == seconds
