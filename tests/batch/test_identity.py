"""Test batch/identity.py: equal requests have equal names in every run and version; others differ."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import inspect as mi

from kling_async import RawTask, media, v1
from kling_async.batch.identity import defaults_of, external_id, fingerprint, identity
from kling_async.catalog import TASKS
from kling_async.v1.video.generate import DEFAULT_VIDEO_MODEL
from kling_async.wire.endpoints import check_id
from kling_async.wire.requests import Part, TaskRequest

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.wire.media import Media

ADDRESS = "https://example.com/boat.png?sig=1"
DIGEST = "ab" * 32


class Inner(Part, frozen=True, kw_only=True):
    """A part with a default of this package."""

    a: int | None = None
    b: int = 7


class Outer(TaskRequest[Any], frozen=True, kw_only=True):
    """A request of parts."""

    parts: tuple[Inner, ...] = ()


def of_clip(**fields: Any) -> str:
    return fingerprint("text_to_video", v1.TextToVideo(**fields), {})


def of_still(picture: Media, digests: dict[Media, str] | None = None) -> str:
    return fingerprint("image_generation", v1.ImageGeneration(prompt="a boat", image=picture), digests or {})


# --- golden: these values are in journals on people's disks -----------------------------------------


def test_fingerprints_are_pinned() -> None:
    """Fingerprints have these values in journals on people's disks."""
    canonical = b'["fingerprint 1","text_to_video",{"prompt":"A paper boat"}]'
    assert (
        of_clip(prompt="A paper boat")
        == hashlib.sha256(canonical).hexdigest()[:32]
        == "1f7f8442092fa2aa7555c8f9bbe0c40c"
    )
    assert (
        of_clip(
            prompt="雨 ☂",
            model_name="kling-v2-6",
            sound=True,
            cfg_scale=0.55,
            duration=10,
            multi_prompt=[v1.Shot(index=1, prompt="one", duration=5)],
            extra={"b": [1, {"z": None, "a": 1.5}], "a": "x"},
        )
        == "e295e315f8d6564eb926617ef8f7ad58"
    )
    assert of_still(media(ADDRESS)) == "357eb5190f88b6bec0a036ca647cf523"
    assert of_still(media(b"picture"), {media(b"picture"): DIGEST}) == "94e7957fa2389928ee373392f2b6ca81"
    raw = RawTask(path="/v1/videos/new", body={"prompt": "a"}, weight=2)
    assert fingerprint(raw.path, raw, {}) == "b3ed412e291685d801535fb85aa1ce3f"


def test_names_are_pinned() -> None:
    """Identities and external ids have these values, and the API takes the ids."""
    name = identity("scene-1", "0" * 32, 0)
    assert name == "b2af2d916a42ea3b5d0841e644b8bb38"
    assert identity(None, "0" * 32, 1) == "392e5380182d38996aa67b4c31ac7e32"
    assert external_id("journal", name, 0) == "e6d891151c168ce38ee0ee2825a1388c"
    assert check_id(external_id("journal", name, 1), "id") == "0f7816e83b325a322598b58bdb3f7532"
    assert all(re.fullmatch("[0-9a-f]{32}", text) for text in (name, external_id("", "", 0), of_clip()))


def test_this_package_s_defaults_are_pinned() -> None:
    """Journals know a spelled-out default as one that is not set.

    Before one of these changes, `core.identity` must learn to find the jobs of both: of who spelled out the
    old one, and of who spelled out the new one while it was none.
    """
    found: dict[str, dict[str, Any]] = {}

    def walk(node: mi.Type) -> None:
        match node:
            case mi.Metadata():
                walk(node.type)
            case mi.UnionType():
                for kind in node.types:
                    walk(kind)
            case mi.VarTupleType():
                walk(node.item_type)
            case mi.StructType() if node.cls.__name__ not in found:
                ours = {f.name: f.default for f in node.fields if f.default not in (None, msgspec.NODEFAULT)}
                found[node.cls.__name__] = ours
                for field in node.fields:
                    walk(field.type)
            case _:
                pass

    for row in TASKS:
        walk(mi.type_info(row.request))
    models = {
        "ImageGeneration": "kling-v3",
        "ImageToVideo": "kling-v3",
        "MotionControl": "kling-v3",
        "MultiImageToImage": "kling-v2-1",
        "MultiImageToVideo": "kling-v1-6",
        "OmniImage": "kling-v3-omni",
        "OmniVideo": "kling-v3-omni",
        "TextToVideo": "kling-v3",
        "VirtualTryOn": "kolors-virtual-try-on-v1-5",
    }
    expected = {name: {"model_name": model} for name, model in models.items()}
    assert {name: defaults for name, defaults in found.items() if defaults} == expected


# --- the same ---------------------------------------------------------------------------------------


def test_unset_fields_do_not_count() -> None:
    """None, an empty text and an empty ``extra`` count as not set."""
    bare = of_clip(prompt="a")
    assert of_clip(prompt="a", negative_prompt="", mode=None, extra={}) == bare


def test_numbers_count_by_value() -> None:
    """1 and 1.0 give one fingerprint."""
    assert of_clip(prompt="a", cfg_scale=1) == of_clip(prompt="a", cfg_scale=1.0)
    assert of_clip(prompt="a", extra={"n": 2}) == of_clip(prompt="a", extra={"n": 2.0})
    assert of_clip(prompt="a", extra={"n": 2.5}) != of_clip(prompt="a", extra={"n": 2})
    assert of_clip(prompt="a", extra={"n": 1e300}) == of_clip(prompt="a", extra={"n": 1e300})


def test_order_counts_in_arrays_only() -> None:
    """The order of an object's fields does not count, an array's does."""
    assert of_clip(extra={"a": 1, "b": {"c": 2, "d": 3}}) == of_clip(extra={"b": {"d": 3, "c": 2}, "a": 1})
    assert of_clip(extra={"a": [1, 2]}) != of_clip(extra={"a": [2, 1]})


def test_lists_and_tuples_are_equal() -> None:
    """Lists and tuples give one fingerprint."""
    assert of_clip(extra={"a": [1, 2]}) == of_clip(extra={"a": (1, 2)})


def made(model: str, **more: tuple[Any, Any]) -> type[Any]:
    """A request type of the same name whose default model and fields are those of another version."""
    names = {"prompt": (str | None, None), "model_name": (str, model), **more}
    return type(
        "Clip",
        (TaskRequest,),
        {"__annotations__": {n: k for n, (k, _) in names.items()}, **{n: d for n, (_, d) in names.items()}},
        frozen=True,
        kw_only=True,
        omit_defaults=True,
    )


def test_an_upgrade_changes_no_unset_field() -> None:
    """Another default or a new optional field changes no fingerprint where it is not set."""
    old, new = made("kling-v3"), made("kling-v4", hdr=(bool | None, None), grain=(int, 3))
    assert fingerprint("clip", old(prompt="a"), {}) == fingerprint("clip", new(prompt="a"), {})
    assert fingerprint("clip", new(prompt="a", hdr=True), {}) != fingerprint("clip", new(prompt="a"), {})


def test_a_default_counts_by_value_not_by_identity() -> None:
    """A default that is spelled out counts as not set."""
    spelled = "".join(list(DEFAULT_VIDEO_MODEL))
    assert spelled is not DEFAULT_VIDEO_MODEL
    assert of_clip(prompt="a", model_name=spelled) == of_clip(prompt="a")


def test_parts_are_taken_apart_too() -> None:
    """Unset fields of a request's parts do not count."""
    same = [fingerprint("x", Outer(parts=(Inner(a=1, **more),)), {}) for more in ({}, {"b": 7})]
    assert same[0] == same[1] != fingerprint("x", Outer(parts=(Inner(a=1, b=8),)), {})


def test_files_count_by_content_and_addresses_as_they_are(tmp_path: Path) -> None:
    """Files count by content, under any name or as bytes; addresses count as text."""
    here, there, held = (media(tmp_path / "a.png"), media(tmp_path / "b.png"), media(b"picture"))
    one = of_still(here, {here: DIGEST})
    assert one == of_still(there, {there: DIGEST}) == of_still(held, {held: DIGEST})
    assert one != of_still(here, {here: "cd" * 32})
    assert of_still(media(ADDRESS)) != of_still(media(ADDRESS + "2"))
    assert of_still(media("https://" + DIGEST)) != one


# --- different --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"prompt": "b"}, {"duration": 10}, {"model_name": "kling-v2-6"}, {"extra": {"a": 1}}, {"sound": False}],
    ids=str,
)
def test_set_fields_count(change: dict[str, Any]) -> None:
    """Each field that is set changes the fingerprint."""
    assert of_clip(**{"prompt": "a", **change}) != of_clip(prompt="a")


def test_the_endpoint_counts() -> None:
    """The endpoint is part of the fingerprint."""
    request = v1.TextToVideo(prompt="a")
    assert fingerprint("text_to_video", request, {}) != fingerprint("other", request, {})


def test_key_fingerprint_and_occurrence_make_the_name() -> None:
    """Key, fingerprint and occurrence each change the identity; a key may be any text."""
    names = [
        identity(key, print_, occurrence)
        for key in (None, "", "a", "None", "null", '","')
        for print_ in ("0" * 32, "1" * 32)
        for occurrence in (0, 1)
    ]
    assert len(set(names)) == len(names)


def test_each_attempt_and_journal_has_its_own_external_id() -> None:
    """Attempt and journal each change the external id."""
    ids = [external_id(journal, name, n) for journal in ("j", "k") for name in ("a", "b") for n in range(3)]
    assert len(set(ids)) == len(ids)


def test_defaults_are_listed_apart() -> None:
    """``defaults_of`` returns the defaults that are sent."""
    assert defaults_of(v1.TextToVideo(prompt="a")) == {"model_name": DEFAULT_VIDEO_MODEL}
    assert defaults_of(v1.TextToVideo(prompt="a", model_name="kling-v2-6")) == {}
