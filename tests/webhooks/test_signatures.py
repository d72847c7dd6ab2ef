"""Signatures, judged by the vendor's test vector and by the package of the scheme's own authors."""

from __future__ import annotations

import base64
import datetime as dt
import json
import pickle
import time
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from kling_async import ConfigurationError, WebhookError, webhooks
from kling_async.webhooks import TOLERANCE, Signed, sign, verify
from tests.webhooks.support import BODY, NOW, OTHER, SECRET, secret_of, signed

FACTS: Final = json.loads((Path(__file__).parents[1] / "data" / "webhook.json").read_text(encoding="utf-8"))
VECTOR: Final[dict[str, str]] = FACTS["vector"]

KEYS = st.binary(max_size=63).map(lambda key: key + b"!")  # HMAC fills keys up with zeros: none at their end
IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
TIMES = st.integers(0, 10**11)


def vector_headers() -> dict[str, str]:
    """Return the headers of the vendor's test vector."""
    return {f"webhook-{name}": VECTOR[name] for name in ("id", "timestamp", "signature")}


def refused(headers: Any, body: bytes, secret: Any = SECRET, now: float = NOW) -> str:
    """Return the message of the error that refuses a callback."""
    with pytest.raises(WebhookError) as caught:
        verify(headers, body, secret, now=now)
    return str(caught.value)


# --- the vector --------------------------------------------------------------------------------


def test_the_vendor_s_vector_is_made_and_verified() -> None:
    """Body, id and time of the vendor's page give its signature, and its signature is accepted."""
    body, at = VECTOR["body"].encode(), int(VECTOR["timestamp"])
    assert sign(body, VECTOR["secret"], id=VECTOR["id"], timestamp=at) == vector_headers()
    assert verify(vector_headers(), body, VECTOR["secret"], now=at) == Signed(VECTOR["id"], at)
    assert list(vector_headers()) == FACTS["headers"] and FACTS["tolerance_s"] == TOLERANCE


@pytest.mark.parametrize("off", [-TOLERANCE, 0, TOLERANCE])
def test_a_time_within_the_tolerance_is_taken(off: int) -> None:
    """300 s in either direction are accepted; one more is refused, as is a clock that is no number."""
    verify(signed(), BODY, SECRET, now=NOW + off)
    further = off + (1 if off > 0 else -1 if off < 0 else TOLERANCE + 1)
    assert "more than 300 s" in refused(signed(), BODY, now=NOW + further)
    assert "more than 300 s" in refused(signed(), BODY, now=float("nan"))


def test_without_a_time_this_machine_s_clock_counts() -> None:
    """``now=None`` reads the clock."""
    verify(signed(at=time.time()), BODY, SECRET)
    with pytest.raises(WebhookError):
        verify(signed(at=NOW - 10**7), BODY, SECRET)


# --- the other package -------------------------------------------------------------------------


@given(KEYS, IDS, st.text())
def test_theirs_is_verified_by_ours(key: bytes, message_id: str, text: str) -> None:
    """What the package ``standardwebhooks`` signs, `verify` accepts."""
    at = dt.datetime.now(tz=dt.UTC)
    body = text.encode(errors="replace")
    signature = Webhook(secret_of(key)).sign(message_id, at, body.decode())
    headers = {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": signature,
    }
    assert verify(headers, body, secret_of(key)).id == message_id


@given(st.lists(KEYS, min_size=1, max_size=3, unique=True), IDS, st.text(), st.data())
def test_ours_is_verified_by_theirs(
    keys: list[bytes], message_id: str, text: str, data: st.DataObject
) -> None:
    """What `sign` signs, for a rotation too, the package accepts with each of the secrets, and no other."""
    body = text.encode(errors="replace")
    headers = sign(body, map(secret_of, keys), id=message_id, timestamp=time.time())
    key = data.draw(st.sampled_from(keys))
    Webhook(secret_of(key)).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(b"other" + key)).verify(body, headers, json_parse=False)


@given(
    KEYS,
    KEYS,
    IDS,
    st.binary(),
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", ""]),
)
def test_both_refuse_alike(key: bytes, other: bytes, message_id: str, body: bytes, missing: str) -> None:
    """Without a header, and with another secret, theirs and ours refuse; else both accept."""
    text = base64.b64encode(body)  # theirs takes bodies in UTF-8 only
    headers = sign(text, secret_of(key), id=message_id, timestamp=time.time())
    headers.pop(missing, None)

    def accepts(check: Any) -> bool:
        try:
            check()
        except (WebhookError, WebhookVerificationError):
            return False
        return True

    ours = accepts(lambda: verify(headers, text, secret_of(other)))
    assert ours == accepts(lambda: Webhook(secret_of(other)).verify(text, headers, json_parse=False))
    assert ours == (key == other and not missing)


# --- rotation, tampering -----------------------------------------------------------------------


@given(
    st.lists(KEYS, min_size=1, max_size=4, unique=True),
    st.lists(KEYS, min_size=1, max_size=4),
    st.binary(),
    TIMES,
)
def test_one_secret_in_common_is_enough(ours: list[bytes], theirs: list[bytes], body: bytes, at: int) -> None:
    """Of several secrets and several signatures one match is enough, and without one all are refused."""
    headers = sign(body, map(secret_of, theirs), id="1", timestamp=at)
    if set(ours) & set(theirs):
        assert verify(headers, body, map(secret_of, ours), now=at) == ("1", at)
    else:
        assert "no signature" in refused(headers, body, [secret_of(key) for key in ours], at)


@given(st.binary(max_size=200), IDS, st.sampled_from(["id", "timestamp", "signature", "body"]), st.data())
def test_any_flipped_bit_is_refused(body: bytes, message_id: str, part: str, data: st.DataObject) -> None:
    """One flipped bit in id, time, signature or body makes the callback worthless."""
    headers = signed(body, id=message_id)
    parts = {
        "body": body,
        **{name: headers[f"webhook-{name}"].encode() for name in ("id", "timestamp", "signature")},
    }
    whole = bytearray(parts[part] or b"\0")
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(whole)
    pairs = [(f"webhook-{name}".encode(), parts[name]) for name in ("id", "timestamp", "signature")]
    refused(pairs, parts["body"])


@given(st.binary(max_size=100), st.text(max_size=100))
def test_signatures_of_any_text_are_refused(body: bytes, text: str) -> None:
    """Whatever stands in the signature: it is refused, and without another error."""
    refused({**signed(body), "webhook-signature": text}, body)
    refused({**signed(body), "webhook-signature": f"v1,{text}"}, body)


@pytest.mark.parametrize("version", ["v1a", "V1", "v2", "", "v"])
def test_only_version_1_counts(version: str) -> None:
    """A right signature under another version is none; an unknown one beside a right one is passed over."""
    headers = signed()
    mac = headers["webhook-signature"].removeprefix("v1,")
    refused({**headers, "webhook-signature": f"{version},{mac}"}, BODY)
    verify({**headers, "webhook-signature": f"{version},x v1,{mac}"}, BODY, SECRET, now=NOW)


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    """Base64 has spare bits at the end; only the canonical text is the signature."""
    headers = signed()
    text = headers["webhook-signature"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = text[:-2] + alphabet[alphabet.index(text[-2]) ^ 1] + "="
    assert base64.b64decode(other[3:]) == base64.b64decode(text[3:])
    refused({**headers, "webhook-signature": other}, BODY)


# --- headers -----------------------------------------------------------------------------------


@given(st.sampled_from([str.upper, str.title, str.lower, str.swapcase]), st.booleans(), st.booleans())
def test_headers_of_any_case_and_form(case: Any, pairs: bool, as_bytes: bool) -> None:
    """Mappings and pairs, text and bytes, names in any case: all are read."""
    headers: Any = {case(name): value for name, value in signed().items()}
    if pairs or as_bytes:
        headers = [(k.encode(), v.encode()) if as_bytes else (k, v) for k, v in headers.items()]
    assert verify(iter(headers) if pairs else headers, BODY, SECRET, now=NOW).id == "msg-1"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    """Each header is needed; an empty one is missing; two ids or times are not one."""
    headers = signed()
    for value in ({}, {name: ""}):
        assert refused({**{k: v for k, v in headers.items() if k != name}, **value}, BODY) == (
            f"the header {name} is missing"
        )
    twice = [*headers.items(), (name, headers[name])]
    if name == "webhook-signature":
        verify(twice, BODY, SECRET, now=NOW)
    else:
        assert "one id and one time" in refused(twice, BODY)


@pytest.mark.parametrize(
    "seconds", ["soon", "1790000000.0", "-1", " 1790000000", "١٧٩٠٠٠٠٠٠٠", "1" * 400, "1e9"]
)
def test_a_time_that_is_not_whole_seconds_is_refused(seconds: str) -> None:
    """Only ASCII digits are a time."""
    assert "whole seconds" in refused({**signed(), "webhook-timestamp": seconds}, BODY)


# --- secrets and errors ------------------------------------------------------------------------


WRONG_SECRETS: Final[dict[str, Any]] = {
    "empty": "",
    "no key": "whsec_",
    "no Base64": "whsec_hidden!!!",
    "no prefix": "hiddenzNlY3JldA==",
    "not ASCII": "whsec_hiddené",
    "wrong case": "WHSEC_hiddenzA==",
    "a blank inside": "whsec_hiddenz dA==",
    "cut off": "whsec_hiddenzdd",
    "none": [],
    "one of two": [SECRET, "sk-hidden"],
    "bytes": [b"whsec_hiddenzA=="],
    "a variable that is not set": None,
    "one of two is not set": [SECRET, None],
    "a number": 5,
}


@pytest.mark.parametrize("secret", WRONG_SECRETS.values(), ids=WRONG_SECRETS)
def test_a_wrong_secret_is_a_mistake_at_once(secret: Any) -> None:
    """It is refused before the callback is looked at, and its text is in no message."""
    for use in (
        lambda: verify({}, b"", secret, now=NOW),
        lambda: sign(b"", secret, id="1", timestamp=NOW),
        lambda: webhooks.CallbackGate(secret=secret),
    ):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert "hidden" not in str(caught.value) and caught.value.__context__ is None


def test_a_secret_may_end_in_a_newline_and_lack_its_padding() -> None:
    """Secrets come from files, and some consoles drop the padding."""
    verify(signed(), BODY, f" {SECRET}\n", now=NOW)
    verify(signed(), BODY, SECRET.rstrip("="), now=NOW)


def test_the_error_says_what_is_wrong_and_not_how_near() -> None:
    """It holds neither the expected signature nor a time difference, and pickles."""
    with pytest.raises(WebhookError) as caught:
        verify(signed(secret=OTHER), BODY, SECRET, now=NOW)
    mac = signed()["webhook-signature"]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (WebhookError, str(caught.value))
    assert mac not in repr(caught.value) and mac[3:] not in str(caught.value.__dict__)
    assert "1000" not in refused(signed(), BODY, now=NOW + 1000)


def test_a_body_that_was_decoded_is_refused() -> None:
    """Text is not what was signed: the mistake is a TypeError, not a forged callback."""
    wrong: Any = BODY.decode()
    with pytest.raises(TypeError, match="bytes of the request"):
        verify(signed(), wrong, SECRET, now=NOW)
    verify(signed(), bytearray(BODY), SECRET, now=NOW)


@pytest.mark.parametrize(("message_id", "at"), [("", 1), ("a b", 1), ("é", 1), ("a\r\nb: c", 1), ("1", -5)])
def test_what_no_header_can_hold_is_not_signed(message_id: str, at: int) -> None:
    """Ids with blanks or line ends, and times before 1970, are a ValueError."""
    with pytest.raises(ValueError, match="visible ASCII"):
        sign(b"", SECRET, id=message_id, timestamp=at)
