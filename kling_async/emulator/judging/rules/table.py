"""The rules of each endpoint, and the one function that applies them.

`RULES` names the rules between fields that only some endpoints have. The capabilities of a model are checked
in the same way for all endpoints, by the reference. Rules that depend on earlier results of the account are
not here but in ``state.lookups``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.rules import account, image, speech, video
from kling_async.emulator.judging.rules.capabilities import check_capabilities

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import ReferenceEndpoint
    from kling_async.emulator.judging.rules.shared import Body, Rule

__all__ = ["RULES", "check_rules", "with_defaults"]

RULES: Final[dict[str, tuple[Rule, ...]]] = video.RULES | speech.RULES | image.RULES | account.RULES
"""The rules of each endpoint, in the order in which they are checked."""


def check_rules(endpoint: ReferenceEndpoint, body: Body) -> None:
    """Refuse a body whose fields contradict each other or exceed the capabilities of the model."""
    for rule in RULES.get(endpoint.name, ()):
        rule(body)
    check_capabilities(endpoint, with_defaults(endpoint, body))


def with_defaults(endpoint: ReferenceEndpoint, body: Body) -> Body:
    """Return a copy of the body in which unset fields have the API's defaults."""
    defaults = {name: param["default"] for name, param in endpoint.params.items() if "default" in param}
    return defaults | body
