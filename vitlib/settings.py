"""Frozen settings: a value of the wrong type is refused where it is given, not where it is used."""

import math
from dataclasses import fields

KINDS = {int: "a whole number (int)", float: "a finite number", str: "a string", bool: "True or False",
         tuple: "a tuple of numbers"}


def check_types(config: object) -> None:
    """Raise ValueError for a field of a dataclass whose value is not of the kind of its default."""
    for field in fields(config):
        value, kind = getattr(config, field.name), type(field.default)
        if not is_a(value, kind) or (kind is tuple and not all(is_a(item, float) for item in value)):
            raise ValueError(f"{field.name} must be {KINDS[kind]}, got {value!r} ({type(value).__name__})")


def is_a(value: object, kind: type) -> bool:
    """Whether a value can stand where `kind` is meant: 1 for a float, but neither True for a number nor nan."""
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, int | float if kind is float else kind):
        return False
    return kind is not float or math.isfinite(value)
