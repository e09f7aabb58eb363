"""What a section or the options of an adapter say about themselves, for the JSON Schema and the reference page.

Rule: the text below a field in the source is its description, so that it is written once, where the field is.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from engine.adapter import Duration, Reference

REFERENCE_PATTERN: Final = r"^(store://[^/]+/.+|env://.+|file://.+)$"
DURATION_PATTERN: Final = r"^[0-9]{1,9}(us|ms|s|m|h|d)$"


def summary(cls: type[msgspec.Struct]) -> str:
    """Return the first paragraph of a Struct's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def descriptions(cls: type[msgspec.Struct]) -> dict[str, str]:
    """Return the text below each field, by the name of the field; what has none is left out."""
    found: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        if issubclass(ancestor, msgspec.Struct) and ancestor is not msgspec.Struct:
            found.update(_texts_below(ancestor))
    return found


def default(field: mi.Field) -> Any:
    """Return the default of a field as plain JSON would have it; None where there is none, or none to show."""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return None if value is msgspec.NODEFAULT else plain(value)


def plain(value: Any) -> Any:
    """Return a value of the configuration as plain JSON would have it; a reference as text, never what it names."""
    match value:
        case Duration() | Reference():
            return str(value)
        case Enum():
            return plain(value.value)
        case msgspec.Struct():
            pairs = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
            return {key: plain(getattr(value, name)) for key, name in pairs}
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def nested(kind: mi.Type) -> Iterator[type[msgspec.Struct]]:
    """Yield the Structs that stand directly within a type."""
    match kind:
        case mi.Metadata():
            yield from nested(kind.type)
        case mi.StructType():
            yield kind.cls
        case mi.UnionType():
            for member in kind.types:
                yield from nested(member)
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            yield from nested(kind.item_type)
        case mi.DictType():
            yield from nested(kind.value_type)
        case _:
            return


def _texts_below(cls: type) -> Iterator[tuple[str, str]]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except OSError:
        return  # A Struct that was made without a file has no text to show.
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef), "the source of a class is a class"
    for field, below in zip(body.body, body.body[1:], strict=False):
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if named and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)  # noqa: PT018 - one fact
            yield field.target.id, " ".join(str(below.value.value).split())
