"""Fingerprints in place of the files of a request, so that the emulator keeps no file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.judging.reference import Param

__all__ = ["OF_CONTENTS", "without_payloads"]

OF_CONTENTS: Final[dict[str, Param]] = {"contents": {"items": {"url": {"media": {}}}}}
"""Where requests of the second generation have files."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]{200,}")
"""Texts that are files although no parameter of the reference says so, as in an unknown field."""


def without_payloads(value: Any, params: Mapping[str, Param], media: bool = False) -> Any:
    """Return a copy of a JSON value in which a fingerprint replaces every file; URLs stay.

    Args:
        value: A body, or a part of one.
        params: The parameters that describe the fields of ``value``.
        media: Whether ``value`` itself belongs to a media field.
    """
    if isinstance(value, dict):
        fields: dict[str, Any] = value
        known = {name: params.get(name, {}) for name in fields}
        return {
            name: without_payloads(item, known[name].get("items", {}), "media" in known[name])
            for name, item in fields.items()
        }
    if isinstance(value, list):
        items: list[Any] = value
        return [without_payloads(item, params, media) for item in items]
    if isinstance(value, str) and _is_payload(value, media):
        digest = hashlib.sha256(value.encode()).hexdigest()
        return f"<{len(value)} characters, sha256 {digest}>"
    return value


def _is_payload(text: str, media: bool) -> bool:
    if text.startswith(("http://", "https://")):
        return False
    return media or text.startswith("data:") or bool(_BASE64.fullmatch(text))
