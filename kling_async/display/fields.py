"""Show any value as a table of its fields, so that a notebook shows one without a form of its own."""

from __future__ import annotations

from typing import Any

from kling_async.display.html import Markup, MimeBundle, bundle, titled, tree
from kling_async.redaction import json_types

__all__ = ["fields_bundle", "fields_of"]


def fields_bundle(value: Any, **_: object) -> MimeBundle:
    """Return the forms of a struct, its fields as a table; stands as ``_repr_mimebundle_`` in its class."""
    return bundle(repr(value), titled(type(value).__name__, fields_of(value)))


def fields_of(value: Any) -> Markup:
    """Return a table of a struct's fields, without those that are not set; addresses are cut."""
    return tree(json_types(value, False))
