"""The facts about the API that the tests compare the package with; see tests/trim_reference.py."""

import json
from pathlib import Path
from typing import Any, Final

V1: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "v1.json").read_text(encoding="utf-8"))
"""The first generation."""
