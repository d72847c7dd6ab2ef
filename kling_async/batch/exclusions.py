"""Decide which requests a batch skips, so that a used-up pool or a refused model does not end the others.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from kling_async.display.fields import fields_bundle
from kling_async.errors import APIError, BadResponse, ConcurrencyExceeded, RateLimited
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kling_async.core.queue import Kind

__all__ = ["Exclusions", "SkipReason", "Skipped"]

SkipReason = Literal["max_units", "account", "refusals", "unsent"]
"""Why requests are skipped: their units do not fit, their pool is used up, equal ones were refused, or only
the batch's input holds them."""


class Skipped(Serializable, frozen=True, kw_only=True):
    """Requests that a batch did not make though it went on with others; they have no outcomes."""

    what: str
    """The pool of the requests, or their endpoint and model."""
    reason: SkipReason
    """``max_units`` (they do not fit into the rest), ``account`` (their pool is used up), ``refusals`` (equal
    ones were refused in a row) or ``unsent`` (no task was made yet, and the journal does not hold them)."""
    requests: int
    """Number of requests skipped; an input that was not read to its end may hold more."""
    text: str
    """The vendor's refusal, or the cause in words."""

    _repr_mimebundle_ = fields_bundle


_UNSTORED_MAX: Final = 10
"""Files in a row that could not be stored, after which the folder or the files' server is to blame."""
_SKIPPED_MAX: Final = 1000
"""Requests skipped in a row after which an input of unknown length is read no further."""
_UNPAID_MAX: Final = 64
"""The same bound where ``max_units`` limits every pool: a request that still fits would have come by then."""


_CAUSES: Final[dict[SkipReason, str]] = {
    "max_units": "the units left do not suffice",
    "unsent": "no task was made yet, and only the batch's input holds the requests",
}
"""Causes in words, where it is not a refusal."""


class _Row(NamedTuple):
    """Equal refusals in a row."""

    refusal: tuple[object, ...] = ()
    jobs: frozenset[Hashable] = frozenset()
    """The jobs refused in this way."""


class Exclusions:
    """The kinds of request that a batch makes no more tasks of, and how many requests were skipped.

    Args:
        refusals_max: Equal refusals of different jobs in a row that stop their kind; None: no number does.
        everything_limited: Whether ``max_units`` holds for every pool.
    """

    def __init__(self, refusals_max: int | None, *, everything_limited: bool = False) -> None:
        self._refusals_max = refusals_max
        self._most_in_a_row = _UNPAID_MAX if everything_limited else _SKIPPED_MAX
        self._rows: dict[Kind, _Row] = {}
        self._refused: dict[Kind, Exception] = {}
        self._held: dict[Kind, Exception] = {}
        self._pools: dict[str, Exception] = {}
        self._seen: set[Kind] = set()
        self._skipped: dict[tuple[str, SkipReason], int] = {}
        self._in_a_row = 0
        self._unstored = 0

    # -- exclusion

    def reason(self, kind: Kind) -> SkipReason | None:
        """Return why no tasks of this kind are made; None if they are."""
        if kind.pool in self._pools:
            return "account"
        return "refusals" if kind in self._refused or kind in self._held else None

    def close_pool(self, pool: str, error: Exception) -> None:
        """Make no more tasks of a pool that is used up."""
        self._pools.setdefault(pool, error)

    def hold(self, kind: Kind, error: Exception) -> None:
        """Make no more tasks of a kind whose creates the client holds, if the input asks for any."""
        self._held.setdefault(kind, error)

    def refused(self, kind: Kind, job: Hashable, error: Exception) -> bool:
        """Note that a job's create was refused; return whether its kind is excluded from now on."""
        if not isinstance(error, APIError | BadResponse) or isinstance(
            error, RateLimited | ConcurrencyExceeded
        ):
            return False
        code = getattr(error, "code", None)
        refusal = (type(error), code, error.http_status if code is None else 0)
        row = self._rows.get(kind, _Row())
        before = row.jobs if row.refusal == refusal else _Row().jobs
        self._rows[kind] = row = _Row(refusal, before | {job})
        if self._refusals_max is None or len(row.jobs) < self._refusals_max or kind in self._refused:
            return False
        self._refused[kind] = error
        return True

    def refusal(self, kind: Kind) -> Exception | None:
        """Return the refusal for which no tasks of a kind are made; None if none excludes it."""
        return self._refused.get(kind)

    def readmit(self, kind: Kind) -> None:
        """Make tasks of a kind again: the next equal refusal excludes it anew, an acceptance forgets all."""
        self._refused.pop(kind, None)

    def accepted(self, kind: Kind) -> None:
        """Note that a create was accepted: the refusals before it concerned single requests."""
        self._rows.pop(kind, None)

    def stored(self) -> None:
        """Note that a job's files were stored."""
        self._unstored = 0

    def unstored(self) -> bool:
        """Note that a job's file could not be stored; return whether no file can."""
        self._unstored += 1
        return self._unstored >= _UNSTORED_MAX

    # -- skipping

    def started(self, kind: Kind) -> None:
        """Note that a job begins."""
        self._seen.add(kind)
        self._in_a_row = 0

    def skip(self, kind: Kind, reason: SkipReason) -> None:
        """Count a request that is not made."""
        self._seen.add(kind)
        what = str(kind) if reason == "refusals" else kind.pool
        self._skipped[what, reason] = self._skipped.get((what, reason), 0) + 1
        self._in_a_row += 1

    @property
    def skipping(self) -> bool:
        """Whether the latest request was skipped."""
        return self._in_a_row > 0

    @property
    def hopeless(self) -> bool:
        """Whether so many requests were skipped in a row that all later ones of an endless input would be."""
        return self._in_a_row >= self._most_in_a_row

    # -- the report

    @property
    def _excluded(self) -> dict[Kind, Exception]:
        """The kinds that equal refusals exclude; those the client holds, only if the input has them."""
        held = {kind: error for kind, error in self._held.items() if kind in self._seen}
        return held | self._refused

    @property
    def stopped(self) -> SkipReason | Literal[""]:
        """The first reason for which requests were skipped, or would have been."""
        if self._skipped:
            return next(iter(self._skipped))[1]
        if self._pools:
            return "account"
        return "refusals" if self._excluded else ""

    def fatal(self) -> Exception | None:
        """Return the account's error if every pool that the input asked for is used up."""
        used_up = self._pools and all(kind.pool in self._pools for kind in self._seen)
        return next(iter(self._pools.values())) if used_up else None

    def lines(self) -> tuple[Skipped, ...]:
        """Return the skipped requests by reason; a kind excluded after its last request has 0 of them."""
        found = dict(self._skipped)
        for pool in self._pools:
            found.setdefault((pool, "account"), 0)
        excluded = self._excluded
        for kind in excluded:
            found.setdefault((str(kind), "refusals"), 0)
        errors = {str(kind): str(error) for kind, error in excluded.items()}
        errors |= {pool: str(error) for pool, error in self._pools.items()}
        return tuple(
            Skipped(
                what=what,
                reason=reason,
                requests=count,
                text=_CAUSES.get(reason) or errors.get(what, ""),
            )
            for (what, reason), count in found.items()
        )
