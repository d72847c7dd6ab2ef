"""The facts about the API that the package is compared with; made by tests/trim_reference.py."""

import json
from pathlib import Path
from typing import Any, Final

V1: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "v1.json").read_text(encoding="utf-8"))
"""The first generation of the API: endpoints, models, errors, statuses, voices, effect scenes."""

V2: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "v2.json").read_text(encoding="utf-8"))
"""The second generation of the API, and wire samples of both."""
