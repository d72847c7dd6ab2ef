"""What goes over the wire, written from the vendor's pages and not by our encoder."""

import json
from pathlib import Path
from typing import Any


def golden(name: str) -> dict[str, Any]:
    """Return one golden file: case name to JSON value."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content
