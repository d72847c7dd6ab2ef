"""Account endpoints of the first generation: resource packs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from kling_async.wire import CallRequest, Result

__all__ = ["AccountCosts", "Costs", "Pack"]


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """One resource pack. Times are milliseconds since 1970."""

    resource_pack_name: str = ""
    """Packs sold in 2026 carry the concurrency: ``Trial-Video-100Units-5Con-1Months``."""
    resource_pack_id: str = ""
    resource_pack_type: str = ""
    total_quantity: float = 0
    """Units bought."""
    remaining_quantity: float = 0
    """Units left, up to 12 hours old."""
    purchase_time: int = 0
    effective_time: int = 0
    invalid_time: int = 0
    status: str = ""
    """``online`` counts; ``toBeOnline``, ``expired`` and ``runOut`` do not."""


class Costs(Result, frozen=True, kw_only=True):
    """The account's resource packs. An inner ``code`` other than 0 is raised, not returned."""

    code: int | None = None
    msg: str | None = None
    resource_pack_subscribe_infos: tuple[Pack, ...] | None = None
    """None on an account without packs."""

    def refusal(self) -> tuple[int, str] | None:
        """Return the inner code, unless it is 0."""
        return (self.code, self.msg or "") if self.code else None

    @property
    def packs(self) -> tuple[Pack, ...]:
        """The packs, none if the account has none."""
        return self.resource_pack_subscribe_infos or ()


class AccountCosts(CallRequest[Costs], frozen=True, kw_only=True, omit_defaults=True):
    """Resource packs and what is left of them: ``GET /account/costs``. Free; at most one call a second."""

    start_time: Annotated[int, Meta(ge=0, description="Packs from here on", extra={"unit": "ms"})]
    end_time: Annotated[int, Meta(ge=0, description="Packs up to here", extra={"unit": "ms"})]
    resource_pack_name: Annotated[str, Meta(description="Exact name of one pack")] | None = None
