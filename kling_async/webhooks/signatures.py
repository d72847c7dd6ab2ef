"""Signatures of callbacks by the Standard Webhooks scheme: keys, headers, and faults found in them.

The signed bytes are ``webhook-id + "." + webhook-timestamp + "." + body``; a signature is ``v1,`` and the
Base64 of their HMAC-SHA256. During a rotation of the secret the vendor sends one for the old and one for the
new secret, separated by a space, and one match is enough.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, cast

from kling_async.errors import ConfigurationError

__all__ = [
    "TOLERANCE",
    "Headers",
    "SignatureFault",
    "Signed",
    "examine",
    "header_values",
    "is_signed",
    "keys_of",
    "sign",
]

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE: Final = 300
"""Seconds by which a timestamp may differ from this machine's clock, in either direction."""

Pair: TypeAlias = tuple[str | bytes, str | bytes]
Headers: TypeAlias = Mapping[str, str] | Iterable[Pair]
"""Headers of a request: a mapping as web frameworks have it, or pairs as ASGI has them; names in any case."""
Keys: TypeAlias = tuple[bytes, ...]

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"
_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_SECONDS: Final = re.compile(r"[0-9]{1,15}")


class Signed(NamedTuple):
    """Facts about a callback that its signature proves, besides the body."""

    id: str
    """Id of the callback (``webhook-id``); the same when the vendor sends it once more."""
    timestamp: int
    """When it was sent, in seconds since 1970."""


class SignatureFault(NamedTuple):
    """The reason why a signature proves nothing."""

    kind: Literal["unsigned", "old", "forged"]
    text: str
    """The fault in words; holds nothing that the sender sent."""


def keys_of(secret: str | Iterable[str]) -> Keys:
    """Return the keys in one or several webhook secrets, as the vendor's console shows them.

    Raises:
        ConfigurationError: There is none, or one is not ``whsec_`` with Base64 after it. The message does not
            repeat it.
    """
    given: object = (secret,) if isinstance(secret, str) else secret  # None, of a variable that is not set
    keys = tuple(map(_key_of, given)) if isinstance(given, Iterable) else ()
    if not keys:
        raise ConfigurationError("there is no webhook secret: give one, or several during a rotation")
    return keys


def _key_of(secret: object) -> bytes:
    # strip: secrets come from files and variables that end in a newline
    text = secret.strip() if isinstance(secret, str) else ""
    encoded = text.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key or not text.startswith(_PREFIX):
        raise ConfigurationError(
            "a webhook secret is text of the form whsec_ and Base64, as the console shows it; this one is not"
        )
    return key


def sign(
    body: bytes,
    secret: str | Iterable[str],
    *,
    id: str,  # noqa: A002 - the scheme's word
    timestamp: float,
) -> dict[str, str]:
    """Return the headers that the vendor would send with a body, for tests of receivers.

    Args:
        body: The bytes of the callback's body.
        secret: The webhook secret, or several for as many signatures, as during a rotation.
        id: Id of the callback, visible ASCII characters.
        timestamp: When it is sent, in seconds since 1970; fractions are dropped.

    Raises:
        ConfigurationError: A secret is not of the form ``whsec_...``.
        ValueError: The id or the timestamp cannot stand in a header.
    """
    seconds = str(int(timestamp))
    if not _ID.fullmatch(id) or not _SECONDS.fullmatch(seconds):
        raise ValueError("id must be visible ASCII characters, and timestamp a time since 1970")
    macs = [_mac(key, id, seconds, body) for key in keys_of(secret)]
    return {ID: id, TIMESTAMP: seconds, SIGNATURE: " ".join(f"{_VERSION},{mac}" for mac in macs)}


def is_signed(headers: Headers) -> bool:
    """Tell whether a request claims to be signed: it has one of the three headers of the scheme."""
    return any(header_values(headers, name) for name in (ID, TIMESTAMP, SIGNATURE))


def examine(headers: Headers, body: bytes, keys: Keys, now: float) -> Signed | SignatureFault:
    """Compare a request with its signature.

    Args:
        headers: Headers of the request.
        body: Its body as it came: parsing and encoding again would change it.
        keys: Keys of which one must have signed.
        now: Wall time in seconds since 1970.
    """
    if not isinstance(headers, Mapping):
        headers = tuple(headers)  # it is read several times
    ids, times = header_values(headers, ID), header_values(headers, TIMESTAMP)
    signatures = " ".join(header_values(headers, SIGNATURE)).split(" ")
    for name, values in ((ID, ids), (TIMESTAMP, times), (SIGNATURE, signatures)):
        if not any(values):
            return SignatureFault("unsigned", f"the header {name} is missing")
    if len(ids) > 1 or len(times) > 1 or not _ID.fullmatch(ids[0]) or not _SECONDS.fullmatch(times[0]):
        return SignatureFault("forged", f"{ID} and {TIMESTAMP} must be one id and one time in whole seconds")
    # written so that a clock that is not a number refuses
    if not abs(now - int(times[0])) <= TOLERANCE:
        return SignatureFault("old", f"{TIMESTAMP} is more than {TOLERANCE} s from this machine's clock")
    expected = [_mac(key, ids[0], times[0], body).encode() for key in keys]
    given = [mac for version, _, mac in (s.partition(",") for s in signatures) if version == _VERSION]
    # every pair is compared, in constant time: how long it takes tells nothing. The text is compared and not
    # the bytes it decodes to: Base64 has several spellings of the same bytes
    matches = [
        hmac.compare_digest(own, mac.encode(errors="surrogatepass")) for own in expected for mac in given
    ]
    if not any(matches):
        return SignatureFault("forged", "no signature was made with a secret of this receiver")
    return Signed(ids[0], int(times[0]))


def header_values(headers: Headers, name: str) -> list[str]:
    """Return all values of a header, given by its name in lower case."""
    pairs = cast("Iterable[Pair]", headers.items() if isinstance(headers, Mapping) else headers)
    return [_text(value) for key, value in pairs if _text(key).lower() == name]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _mac(key: bytes, message_id: str, seconds: str, body: bytes) -> str:
    mac = hmac.digest(key, f"{message_id}.{seconds}.".encode() + body, "sha256")
    return base64.b64encode(mac).decode()
