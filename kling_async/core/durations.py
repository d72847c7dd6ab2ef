"""How long tasks take, learned per *kind* from the looks that saw them end.

Three numbers a kind: how many tasks taught it, and mean and variance of the log duration. They are read as
a log-logistic law, near to a log-normal one but with closed forms, and with a tail whose hazard falls like
1/t: a task that is late is asked about ever less often, but never given up. While hardly anything is known, a
*term of doubt* adds hazard at young ages; without it the first wave on a wrong prior is asked about late.

Tried, for one task alone whose true law is log-normal: a log-normal law in place of this one, at most half
a per cent cheaper after twenty tasks; that with its spread widened by the mean's own uncertainty, 12 % dearer
on a fresh kind with a right prior.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["KNOWN", "Durations", "Law"]

KNOWN: Final = 10
"""Durations after which a kind counts as known."""
KINDS_MAX: Final = 4096
"""Kinds that are remembered; the oldest is forgotten first."""
_PRIOR_VARIANCE: Final = 0.25
_PRIOR_WEIGHT: Final = 0.5
_NEWEST: Final = 0.05
_SIGMA_MIN: Final = 0.1
_DOUBT: Final = 0.03
_SHORTEST, _LONGEST = 0.005, 1e6
_NEGLIGIBLE: Final = 1e-3
_INNER: Final = (1 - math.sqrt(0.2)) / 2  # Lobatto's inner points; at the left end the integrand is 0


class Law:
    """The law of one kind's durations. Ages are seconds since the task began."""

    __slots__ = ("_doubt", "_mean", "_power", "_rate", "_variance", "early", "known")

    def __init__(self, median: float) -> None:
        self.known = 0
        """How many durations taught it."""
        self._mean = math.log(_clamped(median))
        self._variance = _PRIOR_VARIANCE
        self._derive()

    def __repr__(self) -> str:
        return (
            f"Law(median {1 / self._rate:.3g} s, sigma {math.sqrt(self._variance):.2f}, {self.known} known)"
        )

    def learn(self, low: float, high: float) -> None:
        """A task ended between these ages."""
        self.known += 1
        share = max(1 / (self.known + _PRIOR_WEIGHT), _NEWEST)
        off = math.log(_clamped((low + high) / 2)) - self._mean
        self._mean += share * off
        self._variance = (1 - share) * (self._variance + share * off * off)
        self._derive()

    def _derive(self) -> None:
        sigma = max(_SIGMA_MIN, math.sqrt(self._variance))
        self._rate = math.exp(-self._mean)
        self._power = math.pi / (sigma * math.sqrt(3))
        self._doubt = _DOUBT * max(0.0, 1 - self.known / KNOWN)
        self.early = 0.0 if self._doubt else _NEGLIGIBLE ** (1 / self._power) / self._rate

    def survival(self, age: float, given: float = 0.0) -> float:
        """Return the chance to run on until ``age``, of a task that ran at age ``given``."""
        alive = (1 + (given * self._rate) ** self._power) / (1 + (age * self._rate) ** self._power)
        return float(alive * ((given + 1) / (age + 1)) ** self._doubt)

    def idle(self, given: float, age: float) -> tuple[float, float]:
        """Return the seconds expected to lie between the end of a task and ``age``, and their growth.

        The task ran at age ``given``. The growth, per second, is the chance that it has ended by ``age``.
        """
        left = given if given > self.early else min(self.early, age)
        width = age - left
        alive = 1 + (given * self._rate) ** self._power
        rate, power = self._rate, self._power
        one, two = left + _INNER * width, age - _INNER * width
        first = alive / (1 + (one * rate) ** power)
        second = alive / (1 + (two * rate) ** power)
        last = alive / (1 + (age * rate) ** power)
        if self._doubt:
            doubt, since = self._doubt, given + 1
            first *= (since / (one + 1)) ** doubt
            second *= (since / (two + 1)) ** doubt
            last *= (since / (age + 1)) ** doubt
        return width * (5 * (2 - first - second) + 1 - last) / 12, 1 - last

    def quantile(self, share: float, given: float = 0.0) -> float:
        """Return the age by which that share of the tasks that run at age ``given`` end; without doubt."""
        odds = (given * self._rate) ** self._power
        return float(((odds + share) / (1 - share)) ** (1 / self._power) / self._rate)


class Durations:
    """The laws of all kinds that an account has seen."""

    def __init__(self) -> None:
        self._laws: dict[Hashable, Law] = {}

    def law(self, kind: Hashable, median: float) -> Law:
        """Return the law of a kind; ``median`` is what to expect of one that was never seen."""
        law = self._laws.get(kind)
        if law is None:
            if len(self._laws) >= KINDS_MAX:
                del self._laws[next(iter(self._laws))]
            law = self._laws[kind] = Law(median)
        return law


def _clamped(duration: float) -> float:
    return min(max(duration, _SHORTEST), _LONGEST)
