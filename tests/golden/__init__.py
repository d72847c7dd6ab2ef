"""Golden files: JSON as it goes over the wire, written by hand from the vendor's pages.

One file per endpoint: bodies to be sent under ``requests``, the vendor's under ``answers``, each by the name
of its case; one file more, ``callbacks``, has the vendor's callbacks. Our encoder writes none of them, so
that its errors show.
"""

import json
from pathlib import Path
from typing import Any


def golden(name: str) -> dict[str, Any]:
    """Load one golden file."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content
