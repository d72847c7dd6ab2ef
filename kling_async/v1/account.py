"""Account endpoints of the first generation: resource packs, and deductions from packs and balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from kling_async.errors import Problem
from kling_async.records import PAGE_SIZE_MAX
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
    """One resource pack."""

    resource_pack_name: str = ""
    """Name of the pack. Packs sold in 2026 name their concurrency: ``Trial-Video-100Units-5Con-1Months``."""
    resource_pack_id: str = ""
    """Id of the pack."""
    resource_pack_type: str = ""
    """How the pack decreases, by the vendor's word."""
    total_quantity: float = 0
    """Units bought."""
    remaining_quantity: float = 0
    """Units left, up to 12 hours old."""
    purchase_time: int = 0
    """When it was bought, milliseconds since 1970."""
    effective_time: int = 0
    """From when it counts, milliseconds since 1970."""
    invalid_time: int = 0
    """Until when it counts, milliseconds since 1970."""
    status: str = ""
    """``online`` counts; ``toBeOnline``, ``expired`` and ``runOut`` do not."""


class Costs(Result, frozen=True, kw_only=True):
    """The account's resource packs. An inner ``code`` other than 0 is raised, not returned."""

    code: int | None = None
    """The inner code; 0 is success."""
    msg: str | None = None
    """The words of the inner code."""
    resource_pack_subscribe_infos: tuple[Pack, ...] | None = None
    """The packs as the API names them, None on an account without packs; see ``packs``."""

    def refusal(self) -> tuple[int, str] | None:
        """Return the inner code, unless it is 0."""
        return (self.code, self.msg or "") if self.code else None

    @property
    def packs(self) -> tuple[Pack, ...]:
        """The packs; empty if the account has none."""
        return self.resource_pack_subscribe_infos or ()


class AccountCosts(CallRequest[Costs], frozen=True, kw_only=True, omit_defaults=True):
    """Resource packs and the units left in them: ``GET /account/costs``. Free; at most one call a second.

    Args:
        start_time: Show packs from this time on, milliseconds since 1970, at least 0.
        end_time: Show packs up to this time, milliseconds since 1970, at least 0.
        resource_pack_name: Exact name of one pack.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "account_costs"

    start_time: Annotated[int, Meta(ge=0, extra={"unit": "ms"})]
    end_time: Annotated[int, Meta(ge=0, extra={"unit": "ms"})]
    resource_pack_name: str | None = None
    extra: dict[str, Any] = {}


# --- deductions --------------------------------------------------------------------------------


class _Deduction(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one task. Fields about videos are empty for other tasks."""

    task_id: str = ""
    """Id of the task."""
    api_key_name: str = ""
    """Name of the API key that made the task."""
    product_function: str = ""
    """Name of the product, ``Image to Video``."""
    model_name: str = ""
    """Model that ran."""
    resolution: str = ""
    """``720p`` (std), ``1080p`` (pro) or ``4k``."""
    duration: str | float = ""
    """Length in seconds as sent, mostly text."""
    refer_video_input: bool | None = None
    """Whether a reference video was given."""
    video_sound: str = ""
    """``native``, ``original`` or ``off``."""
    voice_control: bool | None = None
    """Whether voices were given."""
    deduction_time: str | int = ""
    """When it was deducted, milliseconds since 1970 as sent, mostly text."""


class PackageDeduction(_Deduction, frozen=True, kw_only=True):
    """Units that one task took from a pack."""

    package_id: str = ""
    """Id of the pack."""
    product_type: str = ""
    """``video``, ``image`` or ``try-on``."""
    unit_before_deduction: float = 0
    """Units in the pack before."""
    deduction_amount: float = 0
    """Units taken."""
    unit_after_deduction: float = 0
    """Units left in the pack, exact at once: `Pack.remaining_quantity` is hours old."""


class PackageDeductions(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one page."""

    detail: tuple[PackageDeduction, ...] = ()
    """The entries."""
    count: int = 0
    """Number of entries, by the vendor."""


class PackageDeductionPage(Result, frozen=True, kw_only=True):
    """One page of deductions from packs. While ``has_more``, ask again with ``cursor=next_cursor``."""

    result: PackageDeductions = PackageDeductions()
    """The entries."""
    next_cursor: str = ""
    """Cursor of the next page."""
    has_more: bool = False
    """Whether there is a next page."""


class BalanceDeduction(_Deduction, frozen=True, kw_only=True):
    """Money that one task took from the balance."""

    cash_type: str = ""
    """``balance`` or ``test_balance``."""
    balance_before_deduction: float = 0
    """Balance before."""
    deduction_amount: float = 0
    """Money taken."""
    balance_after_deduction: float = 0
    """Balance left."""
    list_price: float = 0
    """Money before discount."""
    currency: str = ""
    """``CNY`` or ``USD``."""


class BalanceDeductions(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one page."""

    detail: tuple[BalanceDeduction, ...] = ()
    """The entries."""
    count: int = 0
    """Number of entries, by the vendor."""


class BalanceDeductionPage(Result, frozen=True, kw_only=True):
    """One page of deductions from the balance. While ``has_more``, ask again with ``cursor=next_cursor``."""

    result: BalanceDeductions = BalanceDeductions()
    """The entries."""
    next_cursor: str = ""
    """Cursor of the next page."""
    has_more: bool = False
    """Whether there is a next page."""


class BillingFilter(Part, frozen=True, kw_only=True):
    """Which deductions to show. The values are alternatives; several filters must all match.

    Args:
        key: ``api_key_name``; of packs also ``product_type``, ``package_name`` or ``package_id``.
        values: Values to show; of product_type: ``video``, ``image``, ``try-on``.
    """

    key: str
    values: tuple[str, ...]


_TIME: Final = Meta(ge=0, extra={"unit": "ms"})
_LIMIT: Final = Meta(ge=1, le=PAGE_SIZE_MAX, extra={"default": PAGE_SIZE_MAX})


class AccountBillingPackage(CallRequest[PackageDeductionPage], frozen=True, kw_only=True, omit_defaults=True):
    """Every deduction from resource packs: ``POST /account/billing/package``. Free; changes nothing.

    Args:
        start_time: Show tasks made from this time on, milliseconds since 1970, at least 0. Required without
            cursor.
        end_time: Show tasks made up to this time, milliseconds since 1970, at least 0. Required without
            cursor.
        limit: Entries of a page, 1 to 500. Default: 500.
        filters: Show only deductions that match all of these.
        cursor: ``next_cursor`` of the page before; the vendor then ignores the other fields.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "account_billing_package"

    start_time: Annotated[int, _TIME] | None = None
    end_time: Annotated[int, _TIME] | None = None
    limit: Annotated[int, _LIMIT] | None = None
    filters: tuple[BillingFilter, ...] | None = None
    cursor: str | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


class AccountBillingBalance(CallRequest[BalanceDeductionPage], frozen=True, kw_only=True, omit_defaults=True):
    """Every deduction from the cash balance: ``POST /account/billing/balance``. Free; changes nothing.

    Args:
        start_time: Show tasks made from this time on, milliseconds since 1970, at least 0. Required without
            cursor.
        end_time: Show tasks made up to this time, milliseconds since 1970, at least 0. Required without
            cursor.
        limit: Entries of a page, 1 to 500. Default: 500.
        filters: Show only deductions that match all of these.
        cursor: ``next_cursor`` of the page before; the vendor then ignores the other fields.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "account_billing_balance"

    start_time: Annotated[int, _TIME] | None = None
    end_time: Annotated[int, _TIME] | None = None
    limit: Annotated[int, _LIMIT] | None = None
    filters: tuple[BillingFilter, ...] | None = None
    cursor: str | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def window_is_given(r: Any) -> Iterator[Problem | Doubt]:
    """Require a time span for the first page; a cursor replaces all other fields."""
    if is_set(r.cursor):
        return
    missing = [name for name in ("start_time", "end_time") if not is_set(getattr(r, name))]
    yield from (Problem(name, "is required without cursor") for name in missing)
    if not missing and r.end_time <= r.start_time:
        yield Problem("end_time", "must be later than start_time")


_PRODUCTS: Final = ("video", "image", "try-on")


def filters_are_known(*keys: str) -> Rule:
    """Return the rule that warns of filters by keys other than these."""

    def filters_fit(r: Any) -> Iterator[Problem | Doubt]:
        """Warn of unknown keys and values; refuse package_name beside package_id. A cursor replaces them."""
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
