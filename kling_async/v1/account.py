"""Account endpoints of the first generation: resource packs, and what was taken from packs and balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.rules import is_set
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.requests import CallRequest, Part, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AccountBillingBalance",
    "AccountBillingPackage",
    "AccountCosts",
    "BalanceDeduction",
    "BalanceDeductionPage",
    "BalanceDeductions",
    "BillingFilter",
    "Costs",
    "Pack",
    "PackageDeduction",
    "PackageDeductionPage",
    "PackageDeductions",
]


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


# --- what was taken ----------------------------------------------------------------------------


class _Deduction(msgspec.Struct, frozen=True, kw_only=True):
    """What one task has cost. What is of videos alone is empty elsewhere."""

    task_id: str = ""
    api_key_name: str = ""
    product_function: str = ""
    """``Image to Video``."""
    model_name: str = ""
    resolution: str = ""
    """``720p`` (std), ``1080p`` (pro) or ``4k``."""
    duration: str | float = ""
    """Seconds, as sent: text."""
    refer_video_input: bool | None = None
    video_sound: str = ""
    """``native``, ``original`` or ``off``."""
    voice_control: bool | None = None
    deduction_time: str | int = ""
    """Milliseconds since 1970, as sent: text."""


class PackageDeduction(_Deduction, frozen=True, kw_only=True):
    """Units that one task took from a pack."""

    package_id: str = ""
    product_type: str = ""
    """``video``, ``image`` or ``try-on``."""
    unit_before_deduction: float = 0
    deduction_amount: float = 0
    unit_after_deduction: float = 0
    """What the pack holds since, exact at once: `Pack.remaining_quantity` is hours old."""


class PackageDeductions(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one page."""

    detail: tuple[PackageDeduction, ...] = ()
    count: int = 0


class PackageDeductionPage(Result, frozen=True, kw_only=True):
    """One page of what was taken from packs. While ``has_more``, ask again with ``cursor=next_cursor``."""

    result: PackageDeductions = PackageDeductions()
    next_cursor: str = ""
    has_more: bool = False


class BalanceDeduction(_Deduction, frozen=True, kw_only=True):
    """Money that one task took from the balance."""

    cash_type: str = ""
    """``balance`` or ``test_balance``."""
    balance_before_deduction: float = 0
    deduction_amount: float = 0
    balance_after_deduction: float = 0
    list_price: float = 0
    currency: str = ""
    """``CNY`` or ``USD``."""


class BalanceDeductions(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one page."""

    detail: tuple[BalanceDeduction, ...] = ()
    count: int = 0


class BalanceDeductionPage(Result, frozen=True, kw_only=True):
    """One page of what was taken from the balance. While ``has_more``, ask with ``cursor=next_cursor``."""

    result: BalanceDeductions = BalanceDeductions()
    next_cursor: str = ""
    has_more: bool = False


class BillingFilter(Part, frozen=True, kw_only=True):
    """Which deductions to show. Its values are alternatives; several filters must all match."""

    key: Annotated[
        str, Meta(description="api_key_name; of packs also product_type, package_name or package_id")
    ]
    values: Annotated[tuple[str, ...], Meta(description="Of product_type: video, image, try-on")]


_From = Annotated[
    int, Meta(ge=0, description="Tasks made from here on; needed without cursor", extra={"unit": "ms"})
]
_To = Annotated[
    int, Meta(ge=0, description="Tasks made up to here; needed without cursor", extra={"unit": "ms"})
]
_Limit = Annotated[int, Meta(ge=1, le=500, description="Entries of a page", extra={"default": 500})]
_Filters = Annotated[tuple[BillingFilter, ...], Meta(description="Show only these")]
_Cursor = Annotated[
    str, Meta(description="next_cursor of the page before; the vendor then ignores the other fields")
]


class AccountBillingPackage(CallRequest[PackageDeductionPage], frozen=True, kw_only=True, omit_defaults=True):
    """Every deduction from resource packs: ``POST /account/billing/package``. Free; changes nothing."""

    start_time: _From | None = None
    end_time: _To | None = None
    limit: _Limit | None = None
    filters: _Filters | None = None
    cursor: _Cursor | None = None

    rules: ClassVar[tuple[Rule, ...]]


class AccountBillingBalance(CallRequest[BalanceDeductionPage], frozen=True, kw_only=True, omit_defaults=True):
    """Every deduction from the cash balance: ``POST /account/billing/balance``. Free; changes nothing."""

    start_time: _From | None = None
    end_time: _To | None = None
    limit: _Limit | None = None
    filters: _Filters | None = None
    cursor: _Cursor | None = None

    rules: ClassVar[tuple[Rule, ...]]


def window_is_given(r: Any) -> Iterator[Problem | Doubt]:
    """The first page needs a time span; a cursor stands for all fields."""
    if is_set(r.cursor):
        return
    missing = [name for name in ("start_time", "end_time") if getattr(r, name) is None]
    yield from (Problem(name, "is required without cursor") for name in missing)
    if not missing and r.end_time <= r.start_time:
        yield Problem("end_time", "must be later than start_time")


_PRODUCTS: Final = ("video", "image", "try-on")


def filters_are_known(*keys: str) -> Rule:
    """Return the rule that filters are by these keys; unknown ones pass with a warning."""

    def filters_fit(r: Any) -> Iterator[Problem | Doubt]:
        """Filters are by known keys, and by the name or the id of a pack; a cursor stands for them."""
        if is_set(r.cursor):
            return
        used = set[str]()
        filters: tuple[BillingFilter, ...] = r.filters or ()
        for at, item in enumerate(filters):
            used.add(item.key)
            if item.key not in keys:
                yield Doubt(f"filters[{at}].key", f"{item.key!r} is not known here; the vendor will judge it")
            unknown = [value for value in item.values if value not in _PRODUCTS]
            if item.key == "product_type" and unknown:
                yield Doubt(f"filters[{at}].values", f"{unknown[0]!r} is none of {', '.join(_PRODUCTS)}")
        if {"package_name", "package_id"} <= used:
            yield Problem("filters", "package_name and package_id exclude each other")

    return filters_fit


AccountBillingPackage.rules = (
    window_is_given,
    filters_are_known("api_key_name", "product_type", "package_name", "package_id"),
)
AccountBillingBalance.rules = (window_is_given, filters_are_known("api_key_name"))
