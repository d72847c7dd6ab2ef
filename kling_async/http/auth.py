"""Authenticate: an API key, or an access key and a secret key that sign short-lived tokens."""

from __future__ import annotations

import hashlib
import os
import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import jwt

from kling_async.errors import ConfigurationError
from kling_async.http.addresses import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHINA", "FORMER", "GLOBAL", "ApiKey", "KeyPair", "Signer", "base_url_from", "signer_from"]

GLOBAL: Final = "https://api-singapore.klingai.com"
"""Base URL for accounts outside China; the default."""
FORMER: Final = "api.klingai.com"
"""The host of earlier years, which serves only ``/v1``."""
CHINA: Final = "https://api-beijing.klingai.com"
"""Base URL for accounts in China. Keys, packs and tasks belong to one region."""

# all in seconds; lifetime and margin as the vendor's own sample code signs tokens
_TOKEN_LIFETIME: Final = 1800
_NOT_BEFORE_MARGIN: Final = 5
_RENEW_BEFORE_END: Final = 300
_CLOCK_SKEW_MAX: Final = 86400


class Signer(Protocol):
    """Provide the bearer token of each request."""

    renewable: bool
    """Whether a refused token (1003, 1004) can be signed anew."""
    account: str
    """A hash that distinguishes keys without holding one."""
    hints: Mapping[int, str]
    """Advice that fits this kind of key, by the API's code."""

    def token(self, now: float) -> str:
        """Return the token to send; ``now`` is wall time, seconds since 1970."""
        ...

    def renew(self, now: float, server_time: float | None) -> None:
        """Forget the token; note how far the server's clock is from ours."""
        ...


class ApiKey:
    """Authenticate by a static key from the console, which every endpoint accepts."""

    renewable = False
    hints: Mapping[int, str] = MappingProxyType(
        {
            1000: "Check the API key (KLING_API_KEY); make a new one in the console.",
            1002: "The API key is unknown to this host: mistyped, or of the other region "
            "(set KLING_BASE_URL).",
            1003: "The API key is not valid yet; see the console.",
            1004: "The API key has expired; make a new one in the console.",
        }
    )

    def __init__(self, key: str) -> None:
        self._key = key
        self.account = _account_hash(key)

    def token(self, now: float) -> str:  # noqa: ARG002 - as the protocol says
        """Return the key itself."""
        return self._key

    def renew(self, now: float, server_time: float | None) -> None:
        """Do nothing: a static key cannot be made anew."""

    def __repr__(self) -> str:
        return "ApiKey(...)"


class KeyPair:
    """Authenticate by tokens (HS256) signed for half an hour and renewed 5 minutes before their end."""

    renewable = True
    hints: Mapping[int, str] = MappingProxyType(
        {
            1000: "Check access key and secret key (KLING_ACCESS_KEY, KLING_SECRET_KEY): are they one pair?",
            1002: "The access key is unknown to this host: mistyped, of the other region "
            "(set KLING_BASE_URL), or this endpoint takes no key pair.",
            1003: "The signed token is not valid yet: this machine's clock is ahead.",
            1004: "The signed token has expired: this machine's clock is behind.",
        }
    )

    def __init__(self, access_key: str, secret_key: str) -> None:
        self._access_key = access_key
        self.account = _account_hash(access_key)
        self._secret_key = secret_key
        self._skew = 0.0
        self._token = ""
        self._renew_at = 0.0
        self._signed_at = 0.0

    def token(self, now: float) -> str:
        """Return a token that is valid by the server's clock, as far as its skew is known."""
        if not self._token or now >= self._renew_at or now < self._signed_at - _RENEW_BEFORE_END:
            self._token = self._sign(now + self._skew)
            self._signed_at, self._renew_at = now, now + _TOKEN_LIFETIME - _RENEW_BEFORE_END
        return self._token

    def _sign(self, now: float) -> str:
        claims = {
            "iss": self._access_key,
            "exp": int(now) + _TOKEN_LIFETIME,
            "nbf": int(now) - _NOT_BEFORE_MARGIN,
        }
        with warnings.catch_warnings():
            # PyJWT warns about short HMAC keys, but the vendor chose how long its secret keys are
            warnings.simplefilter("ignore")
            return jwt.encode(claims, self._secret_key, algorithm="HS256", headers={"typ": "JWT"})

    def renew(self, now: float, server_time: float | None) -> None:
        """Sign anew at the next request, by the server's clock if given; a skew counts up to a day."""
        self._token = ""
        if server_time is not None:
            self._skew = max(-_CLOCK_SKEW_MAX, min(_CLOCK_SKEW_MAX, server_time - now))

    def __repr__(self) -> str:
        return "KeyPair(...)"


def _account_hash(key: str) -> str:
    return hashlib.sha256(f"kling_async account {key}".encode()).hexdigest()[:16]


def signer_from(
    api_key: str | None,
    access_key: str | None,
    secret_key: str | None,
    env: Mapping[str, str] | None = None,
) -> Signer:
    """Return the signer for the given credentials, or for those of the environment.

    Raises:
        ConfigurationError: There are none, half a pair, or both kinds; it says which variable to set.
    """
    env = os.environ if env is None else env
    if api_key is None and access_key is None and secret_key is None:
        api_key = env.get("KLING_API_KEY") or None
        access_key = env.get("KLING_ACCESS_KEY") or None
        secret_key = env.get("KLING_SECRET_KEY") or None
    elif api_key is None:
        access_key = access_key or env.get("KLING_ACCESS_KEY") or None
        secret_key = secret_key or env.get("KLING_SECRET_KEY") or None
    if api_key and (access_key or secret_key):
        raise ConfigurationError(
            "two kinds of credentials: give KLING_API_KEY (api_key=) or KLING_ACCESS_KEY and "
            "KLING_SECRET_KEY (access_key=, secret_key=), not both"
        )
    if api_key:
        return ApiKey(_checked(api_key, "KLING_API_KEY"))
    if access_key and secret_key:
        return KeyPair(_checked(access_key, "KLING_ACCESS_KEY"), _checked(secret_key, "KLING_SECRET_KEY"))
    if access_key or secret_key:
        missing = "KLING_SECRET_KEY (secret_key=)" if access_key else "KLING_ACCESS_KEY (access_key=)"
        raise ConfigurationError(f"half a key pair: also set {missing}")
    raise ConfigurationError(
        "no credentials: set KLING_API_KEY (api_key=), or KLING_ACCESS_KEY and KLING_SECRET_KEY"
    )


def _checked(value: str, name: str) -> str:
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value or not value:
        raise ConfigurationError(f"{name} holds characters that no key has; copy it again")
    return value


def base_url_from(base_url: str | None, env: Mapping[str, str] | None = None) -> str:
    """Return the base URL without a slash at its end; a path prefix is kept.

    Raises:
        ConfigurationError: The URL is not https (http is for this machine only), or holds more than a base.
    """
    env = os.environ if env is None else env
    url = (base_url or env.get("KLING_BASE_URL") or GLOBAL).strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ConfigurationError(f"base URL: use https://host[/prefix], such as {GLOBAL} (KLING_BASE_URL)")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ConfigurationError("base URL (KLING_BASE_URL): leave out user, password, query and fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base URL (KLING_BASE_URL): http:// to {host} would send the key in clear; use https://"
        )
    return url.rstrip("/")
