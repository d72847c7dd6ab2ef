"""Resource packs, as ``GET /account/costs`` lists them; the name of a pack tells its slots."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from kling_async.emulator.judging.reference import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Pack", "packs_for"]

DAY: Final = 86400.0
_KINDS: Final = {"video": "Video", "image": "Image", "virtual_try_on": "Virtual-Try-On"}

Status = Literal["toBeOnline", "online", "expired", "runOut"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One resource pack. Times are seconds since the emulator's start, negative for earlier ones."""

    name: str
    """Name such as ``Trial-Video-100Units-5Con-1Months``, for 5 slots."""
    total: float = 1000.0
    """Units at the purchase."""
    remaining: float | None = None
    """Units left; None for all of them."""
    purchased: float = -DAY
    effective: float = -DAY
    invalid: float = 29 * DAY
    status: Status | None = None
    """None for the status that follows from the times and units."""

    def status_at(self, now: float) -> Status:
        """Return the status at ``now``, in seconds since the emulator's start."""
        if self.status is not None:
            return self.status
        if now < self.effective:
            return "toBeOnline"
        if now >= self.invalid:
            return "expired"
        return "runOut" if self.remaining is not None and self.remaining <= 0 else "online"

    def as_json(self, now: float, wall: float) -> dict[str, Any]:
        """Return the pack as the API shows it.

        Args:
            now: Seconds since the emulator's start.
            wall: The same moment in seconds since 1970.
        """

        def ms(when: float) -> int:
            return int((wall - now + when) * 1000)

        return {
            "resource_pack_name": self.name,
            "resource_pack_id": hashlib.sha256(self.name.encode()).hexdigest()[:32],
            "resource_pack_type": "decreasing_total",
            "total_quantity": float(self.total),
            "remaining_quantity": float(self.total if self.remaining is None else self.remaining),
            "purchase_time": ms(self.purchased),
            "effective_time": ms(self.effective),
            "invalid_time": ms(self.invalid),
            "status": self.status_at(now),
        }


def packs_for(sizes: Mapping[str, int], units: Mapping[str, float]) -> Iterator[Pack]:
    """Yield one pack for each pool with slots: as sold if such a pack is known, else an invented one."""
    for pool, slots in sizes.items():
        if slots < 1:
            continue
        sold = next(
            (row for row in REFERENCE.pack_rows if (row["kind"], row["concurrency"]) == (pool, slots)), None
        )
        if sold is not None:
            name, total = sold["name"], float(sold["units"])
        else:
            name, total = f"Trial-{_KINDS.get(pool, pool)}-1000Units-{slots}Con-1Months", 1000.0
        left = units.get(pool, total)
        yield Pack(name=name, total=max(total, left), remaining=left)
