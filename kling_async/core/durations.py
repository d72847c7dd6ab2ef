"""Task durations, learned per *kind* of task from the status queries that saw the tasks end.

A kind keeps three numbers: how many durations it has learned, and the mean and variance of their logarithms.
They are read as a log-logistic distribution, which is close to a log-normal one but has closed forms. Its
hazard falls like 1/t in the tail: a late task is asked about ever less often, but is never given up. While
few durations are known, a *doubt* term adds hazard at young ages; without it, the first tasks of a kind whose
prior is wrong are asked about too late.

Alternatives measured, for one task alone whose true distribution is log-normal: a log-normal distribution
instead is at most half a per cent cheaper after twenty tasks; with its spread widened by the uncertainty of
the mean, it is 12 % dearer on a fresh kind whose prior is right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["KNOWN", "Durations", "Law"]

KNOWN: Final = 10
"""Durations after which a kind counts as known: `Polling.max_interval` and the doubt no longer apply."""
KINDS_MAX: Final = 4096
"""Kinds remembered; the oldest is forgotten first. Users may make up kinds without end."""
_USUAL_LENGTH: Final = 5
"""Seconds of video that a prior median is about."""
_PRIOR_VARIANCE: Final = 0.25
"""Variance of the log duration before anything is learned: sigma 0.5, two in three within a factor 1.65."""
_PRIOR_WEIGHT: Final = 0.5
"""The prior counts as half a task: the first duration moves the median 1 / (1 + 0.5) of the way."""
_NEWEST_SHARE_MIN: Final = 0.05
"""Least share of the newest duration in the mean: the last 20 or so tasks count, so shifts are followed."""
_SIGMA_MIN: Final = 0.1
"""Least spread assumed: tasks that took equally long so far prove no certainty."""
_DOUBT: Final = 0.03
"""Added hazard of a kind never seen, 0.03 / (age + 1 s); falls to 0 as `KNOWN` durations are learned."""
_DURATION_MIN, _DURATION_MAX = 0.005, 1e6
"""Seconds; durations are clamped to these so that their logarithms stay sane."""
_NEGLIGIBLE_ODDS: Final = 1e-3
"""Odds of having ended below which a known kind's idleness is not integrated."""
_PATIENCE_MIN: Final = 600.0
_PATIENCE_FACTOR: Final = 3
_PATIENCE_SHARE: Final = 0.99
"""No running task goes unlooked-at for longer than max(10 min, 3 x the learned 99th percentile)."""
_LOBATTO_INNER: Final = (1 - math.sqrt(1 / 5)) / 2
"""Inner point of the four-point Gauss-Lobatto rule on [0, 1]; the other lies at 1 minus this. The weights are
1/12, 5/12, 5/12, 1/12; the left end drops out because nothing has ended there yet."""


class Law:
    """The distribution of one kind's durations. Ages are seconds since the task began."""

    __slots__ = ("_doubt", "_mean", "_rate", "_shape", "_variance", "early", "known", "patience")

    def __init__(self, median: float) -> None:
        self.known = 0
        """Durations learned."""
        self.early = 0.0
        """Age before which practically no task ends; 0 while that is not known."""
        self.patience = math.inf
        """Seconds after which a running task is looked at again, whatever is expected of it."""
        self._mean = math.log(_clamped(median))
        self._variance = _PRIOR_VARIANCE
        self._derive()

    def __repr__(self) -> str:
        return (
            f"Law(median {1 / self._rate:.3g} s, sigma {math.sqrt(self._variance):.2f}, {self.known} known)"
        )

    def learn(self, low: float, high: float) -> None:
        """Learn from a task that ended between these two ages."""
        self.known += 1
        share = max(1 / (self.known + _PRIOR_WEIGHT), _NEWEST_SHARE_MIN)
        off = math.log(_clamped((low + high) / 2)) - self._mean
        self._mean += share * off
        self._variance = (1 - share) * (self._variance + share * off * off)  # exponentially weighted
        self._derive()

    def _derive(self) -> None:
        """Derive the parameters of the distribution from the three learned numbers."""
        sigma = max(_SIGMA_MIN, math.sqrt(self._variance))
        self._rate = math.exp(-self._mean)
        # ln(duration) is logistic with scale 1/shape, hence of variance pi^2 / (3 shape^2)
        self._shape = math.pi / (sigma * math.sqrt(3))
        self._doubt = _DOUBT * max(0.0, 1 - self.known / KNOWN)
        self.patience = max(_PATIENCE_MIN, _PATIENCE_FACTOR * self.quantile(_PATIENCE_SHARE))
        self.early = 0.0 if self._doubt else _NEGLIGIBLE_ODDS ** (1 / self._shape) / self._rate

    def survival(self, age: float, given: float = 0.0) -> float:
        """Return the probability of running on until ``age``, for a task that runs at age ``given``."""
        alive = (1 + (given * self._rate) ** self._shape) / (1 + (age * self._rate) ** self._shape)
        return float(alive * ((given + 1) / (age + 1)) ** self._doubt)

    def idle(self, given: float, age: float) -> tuple[float, float]:
        """Return the seconds expected between a task's end and ``age``, and their growth per second.

        The task runs at age ``given``. The seconds are the integral of P(ended) from ``given`` to ``age``, by
        the Gauss-Lobatto rule; their growth is P(ended by ``age``).
        """
        # survival(), written out for three ages: this is the schedule's inner loop
        left = given if given > self.early else min(self.early, age)
        width = age - left
        rate, shape = self._rate, self._shape
        alive = 1 + (given * rate) ** shape
        one, two = left + _LOBATTO_INNER * width, age - _LOBATTO_INNER * width
        first = alive / (1 + (one * rate) ** shape)
        second = alive / (1 + (two * rate) ** shape)
        last = alive / (1 + (age * rate) ** shape)
        if self._doubt:
            doubt, since = self._doubt, given + 1
            first *= (since / (one + 1)) ** doubt
            second *= (since / (two + 1)) ** doubt
            last *= (since / (age + 1)) ** doubt
        return width * (5 * (2 - first - second) + 1 - last) / 12, 1 - last

    def quantile(self, share: float, given: float = 0.0) -> float:
        """Return the age by which that share of the tasks running at age ``given`` end; ignores the doubt."""
        odds = (given * self._rate) ** self._shape
        return float(((odds + share) / (1 - share)) ** (1 / self._shape) / self._rate)


class Durations:
    """The distributions of all kinds that an account has seen."""

    def __init__(self) -> None:
        self._laws: dict[Hashable, Law] = {}

    def law(self, kind: Hashable, median: float) -> Law:
        """Return the distribution of a kind; ``median`` is the prior of one never seen before."""
        law = self._laws.get(kind)
        if law is None:
            if len(self._laws) >= KINDS_MAX:
                del self._laws[next(iter(self._laws))]
            law = self._laws[kind] = Law(median)
        return law

    def expected(self, kind: Hashable, median: float, length: object) -> float:
        """Return the seconds that one more task may take: as learned, else the prior in step with its length.

        Args:
            kind: What it depends on.
            median: The prior, in seconds.
            length: The seconds of video that the task makes; anything else leaves the prior as it is.
        """
        law = self.law(kind, median)
        longer = length / _USUAL_LENGTH if isinstance(length, int) and length > 0 and not law.known else 1.0
        return law.quantile(0.5) * longer


def _clamped(duration: float) -> float:
    return min(max(duration, _DURATION_MIN), _DURATION_MAX)
