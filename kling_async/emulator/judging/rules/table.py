"""What no single field can break: rules between fields, and what a model can do.

Each rule gets the fields that are set, already judged one by one, and raises `Refusal`. The rules that only
some endpoints have are named in `RULES`; what a model can do is the same check everywhere, by the reference.
What hangs on things made earlier is not here but in `lookups`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.rules import account, image, speech, video
from kling_async.emulator.judging.rules.capabilities import check_capabilities

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import Endpoint
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES", "check_capabilities", "check_rules", "resolved"]

RULES: Final[dict[str, tuple[Rule, ...]]] = video.RULES | speech.RULES | image.RULES | account.RULES
"""The rules of each endpoint, in the order in which they are judged."""


def check_rules(endpoint: Endpoint, body: Body) -> None:
    """Refuse a body whose fields contradict each other or the model."""
    for rule in RULES.get(endpoint.name, ()):
        rule(body)
    check_capabilities(endpoint, resolved(endpoint, body))


def resolved(endpoint: Endpoint, body: Body) -> Body:
    """Return the body with the API's defaults filled in."""
    defaults = {name: param["default"] for name, param in endpoint.params.items() if "default" in param}
    return defaults | body
