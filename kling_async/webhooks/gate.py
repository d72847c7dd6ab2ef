"""Admission of callbacks: which are believed, which are only a hint, which are dropped, and why.

======================  ====================  ====================  =================
callback                secret and token set  only a secret         only a token
======================  ====================  ====================  =================
signed, it matches      believed              believed              by its token
signed, no match        dropped               dropped               by its token
unsigned, right token   a hint                dropped               a hint
unsigned, else          dropped               dropped               dropped
======================  ====================  ====================  =================

A matching signature needs no path token: tasks made before a rotation of the token keep their address. A
wrong signature is dropped even with the right token, because path tokens reach access logs.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from kling_async.errors import ConfigurationError, WebhookError
from kling_async.webhooks.payloads import BODY_MAX, Callback, parse
from kling_async.webhooks.signatures import TOLERANCE, Signed, examine, header_values, is_signed, keys_of

if TYPE_CHECKING:
    from kling_async.webhooks.signatures import Headers

__all__ = [
    "SEEN_MAX",
    "AcceptedCallback",
    "CallbackCounts",
    "CallbackDecision",
    "CallbackGate",
    "DropReason",
    "DroppedCallback",
    "SeenCallbacks",
    "Trust",
]

SEEN_MAX: Final = 10_000
"""Callbacks that are remembered to recognise a replay; older ones are forgotten first."""
TOKENS_MAX: Final = 2
"""Path tokens that may be valid at the same time: the new one and the one it replaces."""
_DIGITS: Final = 12
"""Digits of a Content-Length beyond which no number needs to be read."""
_TOO_LARGE: Final = f"the body is larger than {BODY_MAX} bytes"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class Trust(enum.Enum):
    """How far an accepted callback is to be believed."""

    BELIEVED = "believed"
    """Signed: the task is as the callback says."""
    HINT = "hint"
    """Unsigned, with the right path token: one query must confirm it."""


class DropReason(enum.Enum):
    """Reasons to drop a callback."""

    FORGED = "forged"
    """Signed, but not with a secret of ours, or with headers that cannot be read."""
    UNSIGNED = "unsigned"
    """A header of the signature is missing, and no path token stands in for it."""
    PATH_TOKEN = "path_token"  # noqa: S105 - a word, not a token
    """Unsigned, and its path ends in no valid path token."""
    OLD = "old"
    """Signed at a time too far from now."""
    REPLAYED = "replayed"
    """A signed callback that came before, with the same id, time and body."""
    REPEATED = "repeated"
    """A callback that came before, signed anew: its sender saw no answer. Nothing new, answered with 200."""
    HUGE = "huge"
    """Larger than is read."""
    MALFORMED = "malformed"
    """No task object, or the connection was cut before its end."""


_STATUS: Final = {DropReason.REPEATED: 200, DropReason.HUGE: 413, DropReason.MALFORMED: 400}
"""HTTP status of the answer, where it is not 401."""


class AcceptedCallback(NamedTuple):
    """A callback to act on."""

    callback: Callback
    trust: Trust
    sent: float | None = None
    """When it was sent by the vendor's clock, in seconds since 1970, if it is signed."""

    @property
    def status(self) -> int:
        """HTTP status of the answer; the same for a task that nobody here knows."""
        return 200


class DroppedCallback(NamedTuple):
    """A callback that changes nothing."""

    reason: DropReason
    text: str
    """The fault in words; holds nothing that the sender sent."""

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return _STATUS.get(self.reason, 401)


CallbackDecision: TypeAlias = AcceptedCallback | DroppedCallback


@dataclass(slots=True)
class CallbackCounts:
    """Callbacks by what became of them."""

    believed: int = 0
    hints: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter[DropReason])


class SeenCallbacks:
    """The signed callbacks of the last minutes, to tell a replay.

    Remembered are id and body. A request with the same timestamp, or an earlier one, is a replay; only the
    holder of the secret can sign a later one, which is the vendor sending it once more. The body counts,
    because no source shows that the vendor gives each callback an id of its own.

    Args:
        limit: Most callbacks to remember.
    """

    def __init__(self, limit: int = SEEN_MAX) -> None:
        self._limit = limit
        self._newest: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._newest)

    def note(self, signed: Signed, body: bytes, now: float) -> DropReason | None:
        """Remember a verified callback; return None for a new one, else replayed or repeated."""
        self._forget(now)
        key = hashlib.sha256(f"{signed.id} ".encode() + body).digest()
        newest = self._newest.get(key)
        if newest is not None and signed.timestamp <= newest:
            return DropReason.REPLAYED
        self._newest[key] = signed.timestamp
        self._newest.move_to_end(key)
        return None if newest is None else DropReason.REPEATED

    def _forget(self, now: float) -> None:
        """Forget what is too old to be verified again, and the oldest of too many."""
        while self._newest:
            oldest = next(iter(self._newest.values()))
            if oldest + TOLERANCE >= now and len(self._newest) < self._limit:
                return
            self._newest.popitem(last=False)


class CallbackGate:
    """Decides about each callback: accept and believe, accept as a hint, or drop.

    Args:
        secret: The webhook secret of the console, ``whsec_...``; several during a rotation. None: no
            signature can be verified.
        path_token: The last segment of the callback address, a secret of yours, such as
            ``secrets.token_urlsafe(16)`` gives; two during a rotation. None: unsigned callbacks are dropped.

    Raises:
        ConfigurationError: Neither is given, or one is not of its form. The message repeats neither.
    """

    def __init__(
        self, *, secret: str | Iterable[str] | None = None, path_token: str | Iterable[str] | None = None
    ) -> None:
        self.counts = CallbackCounts()
        self._keys = () if secret is None else keys_of(secret)
        self._tokens = () if path_token is None else _tokens_of(path_token)
        self._seen = SeenCallbacks()
        if not self._keys and not self._tokens:
            raise ConfigurationError(
                "callbacks need a secret (the webhook secret of the console), a path_token, or both"
            )

    def judge_size(self, headers: Headers) -> DroppedCallback | None:
        """Drop a callback whose Content-Length is too large; return None for one whose body is to be read."""
        sizes = header_values(headers, "content-length")
        if any(size.isdecimal() and (len(size) > _DIGITS or int(size) > BODY_MAX) for size in sizes):
            return self.drop(DropReason.HUGE, _TOO_LARGE)
        return None

    def judge(self, headers: Headers, body: bytes, token: str | None, now: float) -> CallbackDecision:
        """Decide about one callback, and count it.

        Args:
            headers: Headers of the request: a mapping or pairs, names in any case.
            body: Its body as it came; of one larger than `BODY_MAX`, at least a byte more than that.
            token: Last segment of its path, None if it has none.
            now: Wall time in seconds since 1970.
        """
        if not isinstance(headers, Mapping):
            headers = tuple(headers)  # they are read several times
        proof = self._prove(headers, body, token, now)
        decision = proof if isinstance(proof, DroppedCallback) else self._read(headers, body, proof, now)
        match decision:
            case DroppedCallback(reason):
                self.counts.dropped[reason] += 1
            case AcceptedCallback(trust=Trust.BELIEVED):
                self.counts.believed += 1
            case AcceptedCallback():
                self.counts.hints += 1
        return decision

    def drop(self, reason: DropReason, text: str) -> DroppedCallback:
        """Count a callback as dropped; return the decision."""
        self.counts.dropped[reason] += 1
        return DroppedCallback(reason, text)

    def _prove(
        self, headers: Headers, body: bytes, token: str | None, now: float
    ) -> Signed | DroppedCallback | None:
        """Return what the signature proves, None for a hint, or the reason to drop."""
        if len(body) > BODY_MAX:
            return DroppedCallback(DropReason.HUGE, _TOO_LARGE)
        if self._keys and (is_signed(headers) or not self._tokens):
            found = examine(headers, body, self._keys, now)
            return found if isinstance(found, Signed) else DroppedCallback(DropReason(found.kind), found.text)
        given = (token or "").encode(errors="surrogatepass")
        # a list: every token is compared, each in constant time, so that the time taken tells nothing
        if any([hmac.compare_digest(own, given) for own in self._tokens]):  # noqa: C419
            return None
        return DroppedCallback(DropReason.PATH_TOKEN, "it is unsigned and its path ends in no valid token")

    def _read(self, headers: Headers, body: bytes, proof: Signed | None, now: float) -> CallbackDecision:
        """Decide about a callback that may come in: read it, and compare it with those seen before."""
        if any(value.lower() != "identity" for value in header_values(headers, "content-encoding")):
            return DroppedCallback(DropReason.MALFORMED, "its body is compressed")
        try:
            callback = parse(body)
        except WebhookError as error:
            return DroppedCallback(DropReason.MALFORMED, error.message)
        if proof is None:
            return AcceptedCallback(callback, Trust.HINT)
        seen = self._seen.note(proof, body, now)
        if seen is not None:
            return DroppedCallback(seen, "it came before")
        return AcceptedCallback(callback, Trust.BELIEVED, proof.timestamp)


def _tokens_of(path_token: str | Iterable[str]) -> tuple[bytes, ...]:
    given: object = (path_token,) if isinstance(path_token, str) else path_token
    tokens = tuple(given) if isinstance(given, Iterable) else ()
    if not 1 <= len(tokens) <= TOKENS_MAX:
        raise ConfigurationError(f"give one path_token, or {TOKENS_MAX} during a rotation")
    if not all(isinstance(token, str) and _TOKEN.fullmatch(token) for token in tokens):
        raise ConfigurationError("a path_token is 1 to 128 of A-Z a-z 0-9 . _ ~ -; this one is not")
    return tuple(token.encode() for token in tokens)
