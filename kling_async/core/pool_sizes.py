"""Sizes of an account's pools, worked out from its resource packs.

No endpoint states the concurrency. The names of packs sold in 2026 carry it; older ones are known by kind and
units. The vendor's rule: the highest among the active packs of one type counts, not their sum.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DEFAULTS", "POOLS", "LimitSource", "Pack", "Sizes", "pool_sizes"]

POOLS: Final = ("video", "image", "virtual_try_on")
DEFAULTS: Final = {"video": 5, "image": 9, "virtual_try_on": 1}
"""Sizes to start with when nobody tells: those of the smallest packs on sale, so that no account is asked for
more than it has."""

LimitSource: TypeAlias = Literal["caller", "packs", "default", "learned"]
"""Who said how large a pool is: the caller of the client, the account's packs, nobody (a careful guess), or
tasks that were accepted beyond that guess."""

# the names of packs sold in 2026: "Standard-Video-5000Units-20Con-6Months"
_CONCURRENCY: Final = re.compile(r"(?<![A-Za-z0-9])(\d+)Con(?![A-Za-z])")
# in this order: a try-on pack's name may also say "image"
_WORDS: Final = (
    ("virtual_try_on", ("try-on", "tryon", "try on", "试穿", "试衣")),
    ("video", ("video", "视频")),
    ("image", ("image", "图像", "图片")),
)
# (pool, units) -> slots, for packs whose name does not say: purchase page, 2026-08 and 2026-09
_BY_UNITS: Final = {
    ("video", 100): 5,
    ("video", 1000): 5,
    ("video", 5000): 20,
    ("video", 15000): 20,
    ("video", 45000): 20,
    ("video", 60000): 20,
    ("image", 1000): 9,
    ("image", 100000): 9,
}

_CLOCKS: Final = 60.0
"""Seconds after which to look again at a pack that should have begun by our clock but not by the vendor's."""


class Pack(Protocol):
    """A resource pack, as ``/account/costs`` lists it."""

    @property
    def resource_pack_name(self) -> str:
        """Its name on sale."""
        ...

    @property
    def total_quantity(self) -> float:
        """Units it had when it was bought."""
        ...

    @property
    def effective_time(self) -> int:
        """When it begins, milliseconds since 1970."""
        ...

    @property
    def invalid_time(self) -> int:
        """When it ends, likewise; 0: never."""
        ...

    @property
    def status(self) -> str:
        """The vendor's word: ``online``, ``toBeOnline``, ``expired``, ``runOut``."""
        ...


class Sizes(NamedTuple):
    """Sizes of the pools at one moment."""

    limits: dict[str, int]
    """The size of each pool whose active packs tell it."""
    guesses: dict[str, int]
    """Sizes to start with in the other pools: those with a pack of unknown size, or with none at all."""
    until: float
    """When the sizes may change by themselves (a pack that counts ends, a bought one begins), seconds since
    1970."""


def pool_of(name: str) -> str | None:
    """Return the pool a pack's name belongs to, None if it does not say."""
    lower = name.lower()
    return next((pool for pool, words in _WORDS if any(word in lower for word in words)), None)


def slots_of(pack: Pack) -> int | None:
    """Return a pack's concurrency by its name, else by its kind and units; None if neither tells."""
    found = _CONCURRENCY.search(pack.resource_pack_name)
    if found:
        return int(found[1])
    return _BY_UNITS.get((pool_of(pack.resource_pack_name) or "", round(pack.total_quantity)))


def pool_sizes(packs: Iterable[Pack], now: float) -> Sizes:
    """Work out the pools' sizes from the packs, at ``now`` (seconds since 1970)."""
    limits: dict[str, int] = {}
    guesses: dict[str, int] = {}
    until = math.inf
    for pack in packs:
        pool = pool_of(pack.resource_pack_name)
        if pool is None:
            continue
        begins, ends = pack.effective_time / 1000, (pack.invalid_time or math.inf) / 1000
        if pack.status in ("online", "toBeOnline") and now < begins:
            until = min(until, begins)
        elif pack.status == "toBeOnline":
            until = min(until, now + _CLOCKS)
        elif pack.status == "online" and now < ends:
            until = min(until, ends)
            slots = slots_of(pack)
            sizes, size = (guesses, DEFAULTS[pool]) if slots is None else (limits, slots)
            sizes[pool] = max(sizes.get(pool, 1), size)
    for pool in POOLS:
        if pool in guesses:  # a pack of unknown size may be larger than the known ones
            guesses[pool] = max(guesses[pool], limits.pop(pool, 1))
        elif pool not in limits:
            guesses[pool] = 1
    return Sizes(limits, guesses, until)
