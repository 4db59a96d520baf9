"""Frozen settings: a value of the wrong type is refused where it is given, not where it is used."""

import ast
import math
from dataclasses import fields, replace

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


def override(config, changes: dict[str, str]):
    """A copy of a frozen config with some fields changed, each text read as the type of its field."""
    values = {field.name: read_as(changes[field.name], getattr(config, field.name), field.name)
              for field in fields(config) if field.name in changes}
    return replace(config, **values)


def read_as(text: str, old, name: str):
    """A text as a value of the type of `old`. Raises ValueError naming the field."""
    try:
        value = text if isinstance(old, str) else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise ValueError(f"{name}={text} does not read as {type(old).__name__}, such as {old!r}")
    return value
