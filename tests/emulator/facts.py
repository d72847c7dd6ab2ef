"""Facts about the API to test the emulator against, in a copy made independently of the emulator's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kling_async.testing import Clip, Editing, Faces

ENDPOINTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "reference" / "v1.json").read_text(encoding="utf-8")
)["endpoints"]

MAKERS = [name for name, row in ENDPOINTS.items() if "create" in row]
"""Endpoints that make tasks."""

SAMPLES = (
    Clip(id="743211632612511839"),
    Editing(id="847570360458960960", marks={0: [(0.5, 0.5)]}),
    Faces(id="850508686686064678"),
)
"""Library items that the samples of the reference name."""


def path(name: str) -> str:
    """Return the path of an endpoint."""
    row = ENDPOINTS[name]
    return str((row.get("create") or row["call"])["path"])


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """Return an endpoint's sample request with some fields changed; None removes a field."""
    body = {**ENDPOINTS[name].get("example", {}).get("request", {}), **changes}
    return {key: value for key, value in body.items() if value is not None}
