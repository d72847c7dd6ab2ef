"""Test http/auth.py: every combination of credentials, tokens, base URLs, and no secret shown."""

from __future__ import annotations

import base64
import hmac
import itertools
import json
import pickle
from typing import Any

import pytest

from kling_async.errors import ConfigurationError
from kling_async.http.auth import (
    CHINA,
    GLOBAL,
    ApiKey,
    KeyPair,
    Signer,
    base_url_from,
    signer_from,
)

NOW = 1_789_900_000.75
SECRET = "s3cr3t"
HEADER = {"alg": "HS256", "typ": "JWT"}


def part(encoded: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))


def claims(token: str, secret: str = SECRET) -> dict[str, Any]:
    """Return a token's claims, decoded by hand; check its header and signature."""
    header, payload, signature = token.split(".")
    assert part(header) == HEADER
    digest = hmac.digest(secret.encode(), f"{header}.{payload}".encode(), "sha256")
    assert signature == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    found: dict[str, Any] = part(payload)
    return found


# --- which credentials -------------------------------------------------------------------------

NAMES = ("KLING_API_KEY", "KLING_ACCESS_KEY", "KLING_SECRET_KEY")
FROM_ARGUMENTS = ("arg-key", "arg-access", "arg-secret")
FROM_ENVIRONMENT = ("env-key", "env-access", "env-secret")

# arguments (api, access, secret), environment (the same) -> token or error
TABLE = """
---  ---  no credentials
k--  ---  arg-key
---  k--  env-key
-as  ---  arg-access arg-secret
---  -as  env-access env-secret
-a-  ---  half a key pair: also set KLING_SECRET_KEY
--s  ---  half a key pair: also set KLING_ACCESS_KEY
---  -a-  half a key pair: also set KLING_SECRET_KEY
---  --s  half a key pair: also set KLING_ACCESS_KEY
ka-  ---  two kinds
k-s  ---  two kinds
kas  ---  two kinds
---  ka-  two kinds
---  k-s  two kinds
---  kas  two kinds
k--  k--  arg-key
k--  -a-  arg-key
k--  --s  arg-key
k--  -as  arg-key
k--  ka-  arg-key
k--  k-s  arg-key
k--  kas  arg-key
-as  k--  arg-access arg-secret
-as  -a-  arg-access arg-secret
-as  --s  arg-access arg-secret
-as  -as  arg-access arg-secret
-as  ka-  arg-access arg-secret
-as  k-s  arg-access arg-secret
-as  kas  arg-access arg-secret
-a-  k--  half a key pair: also set KLING_SECRET_KEY
-a-  -a-  half a key pair: also set KLING_SECRET_KEY
-a-  --s  arg-access env-secret
-a-  -as  arg-access env-secret
-a-  ka-  half a key pair: also set KLING_SECRET_KEY
-a-  k-s  arg-access env-secret
-a-  kas  arg-access env-secret
--s  k--  half a key pair: also set KLING_ACCESS_KEY
--s  -a-  env-access arg-secret
--s  --s  half a key pair: also set KLING_ACCESS_KEY
--s  -as  env-access arg-secret
--s  ka-  env-access arg-secret
--s  k-s  half a key pair: also set KLING_ACCESS_KEY
--s  kas  env-access arg-secret
"""
ROWS = [line.split(maxsplit=2) for line in TABLE.strip().splitlines()]
TAKEN = [row for row in ROWS if row[2].startswith(("arg", "env"))]
REFUSED = [row for row in ROWS if row not in TAKEN]
SHAPES = ["".join(shape) for shape in itertools.product("k-", "a-", "s-")]


def given(shape: str, values: tuple[str, str, str]) -> list[str | None]:
    return [value if letter != "-" else None for letter, value in zip(shape, values, strict=True)]


def test_the_table_is_complete() -> None:
    """Every combination of arguments and environment is in the table once.

    Left out are contradictory arguments with an environment: they are refused whatever it holds.
    """
    contradictory = {"ka-", "k-s", "kas"}
    everything = {(a, e) for a in SHAPES for e in SHAPES if a not in contradictory or e == "---"}
    assert sorted((a, e) for a, e, _ in ROWS) == sorted(everything)


def signer(arguments: str, environment: str) -> Signer:
    """Return the signer for a row of the table."""
    values = zip(NAMES, given(environment, FROM_ENVIRONMENT), strict=True)
    api_key, access_key, secret_key = given(arguments, FROM_ARGUMENTS)
    return signer_from(api_key, access_key, secret_key, {n: v for n, v in values if v is not None})


@pytest.mark.parametrize(("arguments", "environment", "outcome"), REFUSED, ids=lambda part: part)
def test_incomplete_credentials_are_refused(arguments: str, environment: str, outcome: str) -> None:
    """The error tells what is missing or double and which variable to set, and shows no value."""
    with pytest.raises(ConfigurationError, match=f"^{outcome}") as caught:
        signer(arguments, environment)
    assert_silent(caught.value, *FROM_ARGUMENTS, *FROM_ENVIRONMENT)


@pytest.mark.parametrize(("arguments", "environment", "outcome"), TAKEN, ids=lambda part: part)
def test_arguments_win_over_the_environment(arguments: str, environment: str, outcome: str) -> None:
    """Arguments choose the kind of credentials; only a missing half comes from the environment."""
    token = signer(arguments, environment).token(NOW)
    if " " in outcome:
        access, secret = outcome.split()
        assert claims(token, secret)["iss"] == access
    else:
        assert token == outcome


@pytest.mark.parametrize("other", ["k--", "-as", "kas"])
@pytest.mark.parametrize("arguments", ["ka-", "k-s", "kas"])
def test_contradictory_arguments_are_refused_whatever_the_environment(arguments: str, other: str) -> None:
    """An API key and half a pair as arguments are refused, whatever the environment holds."""
    with pytest.raises(ConfigurationError, match="two kinds"):
        signer(arguments, other)


@pytest.mark.parametrize("arguments", [("", None, None), ("", "", ""), (None, "", "")])
def test_an_empty_argument_does_not_fall_back(arguments: tuple[str | None, str | None, str | None]) -> None:
    """An empty argument, read from an empty variable elsewhere, does not select another key."""
    with pytest.raises(ConfigurationError, match="no credentials"):
        signer_from(*arguments, {"KLING_API_KEY": "other"})


def test_an_empty_variable_counts_as_unset() -> None:
    """``KLING_API_KEY=`` beside a key pair is no second kind of credentials."""
    env = {"KLING_API_KEY": "", "KLING_ACCESS_KEY": "a", "KLING_SECRET_KEY": SECRET}
    assert claims(signer_from(None, None, None, env).token(NOW))["iss"] == "a"


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``env`` key and base URL come from the variables of the process."""
    monkeypatch.setenv("KLING_API_KEY", "from-outside")
    monkeypatch.setenv("KLING_BASE_URL", "https://outside.example")
    assert signer_from(None, None, None).token(NOW) == "from-outside"
    assert base_url_from(None) == "https://outside.example"


def test_blanks_around_a_key_are_stripped() -> None:
    """A key pasted with a newline works."""
    assert signer_from(" key\n", None, None, {}).token(NOW) == "key"
    token = signer_from(None, "\taccess ", f" {SECRET}\n", {}).token(NOW)
    assert claims(token)["iss"] == "access"


@pytest.mark.parametrize(
    "value", [" ", "SECRET key", "SECRET\nkey", "SECRET\x00", "SECRET\u00e9", "SECRET\u200b"]
)
@pytest.mark.parametrize("place", range(3))
def test_characters_that_no_key_has_are_refused(place: int, value: str) -> None:
    """Blanks, controls and letters beyond ASCII would break the header; the error names the variable only."""
    values: tuple[str | None, str | None, str | None] = (value, None, None)
    if place:
        values = (None, "good", value) if place == 2 else (None, value, "good")
    with pytest.raises(ConfigurationError, match=NAMES[place]) as caught:
        signer_from(*values, {})
    assert_silent(caught.value, "hush")


# --- tokens ------------------------------------------------------------------------------------


def test_an_api_key_is_sent_as_it_is() -> None:
    """An API key is the token at any time; renewing does nothing."""
    signer: Signer = ApiKey("key")
    signer.renew(NOW, NOW + 1000)
    assert signer.token(NOW) == signer.token(NOW + 10**9) == "key"
    assert not signer.renewable


def test_a_pair_signs_the_claims_of_the_vendor() -> None:
    """Tokens are HS256 JWTs with iss, exp = now + 1800 and nbf = now - 5, in whole seconds."""
    signer: Signer = KeyPair("access", SECRET)
    assert claims(signer.token(NOW)) == {"iss": "access", "exp": int(NOW) + 1800, "nbf": int(NOW) - 5}
    assert signer.renewable


@pytest.mark.parametrize(
    ("later", "same"),
    [(0, True), (1, True), (1499, True), (1500, False), (1800, False), (10**6, False),
     (-1, True), (-300, True), (-301, False), (-(10**6), False)],
)  # fmt: skip
def test_a_token_is_kept_until_five_minutes_before_its_end(later: float, same: bool) -> None:
    """A token is reused for 25 minutes, unless the clock went back by more than 5 minutes."""
    signer = KeyPair("access", SECRET)
    token = signer.token(NOW)
    again = signer.token(NOW + later)
    assert (again == token) is same
    assert claims(again)["exp"] == int(NOW + (0 if same else later)) + 1800


def test_a_renewed_token_is_kept_in_turn() -> None:
    """A renewed token is reused for 25 minutes of its own."""
    signer = KeyPair("access", SECRET)
    signer.token(NOW)
    token = signer.token(NOW + 1500)
    assert signer.token(NOW + 2999) == token
    assert signer.token(NOW + 3000) != token


@pytest.mark.parametrize(
    ("server", "skew"),
    [(600, 600), (-600, -600), (0, 0), (86400, 86400), (86401, 86400), (10**9, 86400), (-(10**9), -86400)],
)
def test_a_refused_token_is_signed_by_the_server_s_clock(server: float, skew: float) -> None:
    """The next token follows the server's clock, at most a day off either way."""
    signer = KeyPair("access", SECRET)
    signer.token(NOW)
    signer.renew(NOW, NOW + server)
    assert claims(signer.token(NOW + 1)) == {
        "iss": "access",
        "exp": int(NOW + 1 + skew) + 1800,
        "nbf": int(NOW + 1 + skew) - 5,
    }


def test_the_skew_stays_and_is_not_summed() -> None:
    """The skew holds for later tokens; a renewal without Date keeps it, another Date replaces it."""
    signer = KeyPair("access", SECRET)
    signer.renew(NOW, NOW + 600)
    assert claims(signer.token(NOW + 2000))["nbf"] == int(NOW + 2600) - 5
    signer.renew(NOW, None)
    assert claims(signer.token(NOW))["nbf"] == int(NOW + 600) - 5
    signer.renew(NOW, NOW + 60)
    assert claims(signer.token(NOW))["nbf"] == int(NOW + 60) - 5


def test_a_token_is_timed_by_our_clock_whatever_the_skew() -> None:
    """A token is reused for 25 minutes of our clock, even if the server's is an hour ahead."""
    signer = KeyPair("access", SECRET)
    signer.renew(NOW, NOW + 3600)
    assert signer.token(NOW) == signer.token(NOW + 1499)
    assert signer.token(NOW) != signer.token(NOW + 1500)


# --- nothing shows -----------------------------------------------------------------------------


def assert_silent(error: Exception, *secrets: str) -> None:
    """Check that text, repr, pickle and cause of an error hold no secret."""
    told = f"{error!s} {error!r} {pickle.dumps(error)!r} {error.__cause__!r}"
    assert not [secret for secret in secrets if secret in told]


@pytest.mark.parametrize("signer", [ApiKey("hush"), KeyPair("hush", "hush")])
def test_a_signer_shows_nothing(signer: Signer) -> None:
    """A signer prints, formats and logs as its type with dots."""
    signer.token(NOW)
    assert repr(signer) == str(signer) == f"{signer}" == f"{type(signer).__name__}(...)"


# --- base URLs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "base"),
    [
        (None, GLOBAL),
        ("", GLOBAL),
        (CHINA, CHINA),
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example//", "https://a.example"),
        (" https://a.example\n", "https://a.example"),
        ("https://a.example:8443/kling/v9/", "https://a.example:8443/kling/v9"),
        ("HTTPS://A.example", "HTTPS://A.example"),
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://kling.localhost/x", "http://kling.localhost/x"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.9.8.7", "http://127.9.8.7"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_valid_base_urls(given_url: str | None, base: str) -> None:
    """A base URL is https, or http on this machine; path prefixes are kept, slashes at the end are not."""
    assert base_url_from(given_url, {}) == base


@pytest.mark.parametrize(
    ("given_url", "text"),
    [
        ("a.example", "use https://host"),
        ("//a.example", "use https://host"),
        ("ftp://a.example", "use https://host"),
        ("https://", "use https://host"),
        ("https:///v1", "use https://host"),
        ("https://:443", "use https://host"),
        ("https://a.example:99999", "use https://host"),
        ("https://a.example:port", "use https://host"),
        ("https://[::1", "use https://host"),
        (" ", "use https://host"),
        ("javascript:alert(1)", "use https://host"),
        ("https://user@a.example", "leave out"),
        ("https://user:hush@a.example", "leave out"),
        ("https://:hush@a.example", "leave out"),
        ("https://a.example/?key=hush", "leave out"),
        ("https://a.example/#hush", "leave out"),
        ("http://a.example", "would send the key in clear"),
        ("http://10.0.0.1", "would send the key in clear"),
        ("http://0.0.0.0", "would send the key in clear"),
        ("http://[2001:db8::1]", "would send the key in clear"),
        ("http://localhost.evil.example", "would send the key in clear"),
        ("http://127.0.0.1.evil.example", "would send the key in clear"),
        ("http://127.1", "would send the key in clear"),
        ("https://a.example?", "leave out"),
        ("https://a.example/v1#", "leave out"),
        ("https://@a.example", "leave out"),
        ("https://a.exa\nmple", "use https://host"),
        ("https://a exa.example", "use https://host"),
        ("https://a.example/a b", "use https://host"),
    ],
)
def test_invalid_base_urls_are_refused(given_url: str, text: str) -> None:
    """The error tells the reason and repeats nothing secret of the URL."""
    with pytest.raises(ConfigurationError, match=r"base URL") as caught:
        base_url_from(given_url, {})
    assert text in str(caught.value)
    assert "KLING_BASE_URL" in str(caught.value)
    assert_silent(caught.value, "hush")


def test_the_argument_wins_over_the_variable() -> None:
    """A base URL argument wins unless it is empty; a bad variable is refused like a bad argument."""
    env = {"KLING_BASE_URL": "https://env.example/"}
    assert base_url_from("https://arg.example", env) == "https://arg.example"
    assert base_url_from(None, env) == base_url_from("", env) == "https://env.example"
    with pytest.raises(ConfigurationError):
        base_url_from(None, {"KLING_BASE_URL": "http://env.example"})
