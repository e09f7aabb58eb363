"""Plain values become msgspec Structs, and every wrong one on the way is reported, not just the first.

Rule 1: what is expected comes from the type alone (`msgspec.inspect`), so an adapter declares options and is done.
Rule 2: a value is never repeated in a message.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from adapters.config.problems import KeyPath, Report, did_you_mean
from engine.adapter import Duration, Reference

BAD: Final = object()
"""What `convert` returns in place of a value that it reported."""

Refused = Mapping[type[msgspec.Struct], Mapping[str, str]]
"""Keys that are known and not supported: Struct -> key -> reason."""

_LENGTH_MAX: Final = 4096


def convert(value: object, expected: mi.Type, path: KeyPath, report: Report, refused: Refused) -> Any:
    """Return `value` as `expected`, or report everything that is wrong with it and return `BAD`."""
    match expected:
        case mi.Metadata():
            if isinstance(expected.type, mi.StrType) and isinstance(value, str):
                form = str((expected.extra_json_schema or {}).get("description", ""))
                return value if _text(value, expected.type, path, report, form=form) else BAD
            return convert(value, expected.type, path, report, refused)
        case mi.StructType():
            return struct(value, expected, path, report, refused)
        case mi.UnionType():
            return _union(value, expected, path, report, refused)
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            return _collection(value, expected, path, report, refused)
        case mi.DictType():
            return _mapping(value, expected, path, report, refused)
        case mi.EnumType():
            return _choice(value, {str(member.value): member for member in expected.cls}, path, report)
        case mi.LiteralType():
            return _choice(value, {str(choice): choice for choice in expected.values}, path, report)
        case mi.CustomType():
            return _custom(value, expected.cls, path, report)
        case _:
            return _scalar(value, expected, path, report)


@cache
def structure(cls: type[msgspec.Struct]) -> mi.StructType:
    """Return the fields of a Struct with their types; inspecting takes long enough to do it once."""
    found = mi.type_info(cls)
    assert isinstance(found, mi.StructType), "sections and options are Structs"
    return found


def struct(value: object, kind: mi.StructType, path: KeyPath, report: Report, refused: Refused) -> Any:
    """Return the Struct of a mapping, or report everything that is wrong with it and return `BAD`."""
    if not isinstance(value, dict):
        report.error(path, f"{_said(value)} stands here; a mapping of keys is expected.")
        return BAD
    return fields(value, kind, path, report, refused)


def fields(value: Mapping[str, Any], kind: mi.StructType, path: KeyPath, report: Report, refused: Refused) -> Any:
    """Return the Struct of a mapping whose keys are its fields; else report, and return `BAD`."""
    unknown = unknown_keys(value, [field.encode_name for field in kind.fields], refused.get(kind.cls, {}), path, report)
    arguments = members(value, kind, path, report, refused)
    if unknown or any(argument is BAD for argument in arguments.values()):
        return BAD
    return made(kind, arguments, path, report)


def members(
    value: Mapping[str, Any], kind: mi.StructType, path: KeyPath, report: Report, refused: Refused
) -> dict[str, Any]:
    """Return the fields of a Struct that a mapping gives, `BAD` in place of each that was reported or is missing."""
    arguments: dict[str, Any] = {}
    for field in kind.fields:
        key = field.encode_name
        if key in value:
            arguments[field.name] = convert(value[key], field.type, (*path, key), report, refused)
        elif field.required:
            report.error((*path, key), "this key is missing.")
            arguments[field.name] = BAD
    return arguments


def made(kind: mi.StructType, arguments: Mapping[str, Any], path: KeyPath, report: Report) -> Any:
    """Return the Struct with these fields, or report what it says against them and return `BAD`."""
    try:
        return kind.cls(**arguments)
    except ValueError as error:
        # Raised by `__post_init__`: the sentence of whoever declares the options, about more than one of them.
        report.error(path, f"{error}.")
        return BAD


def unknown_keys(
    value: Mapping[str, Any], known: list[str], refused: Mapping[str, str], path: KeyPath, report: Report
) -> bool:
    """Report each key that is not known, with the reason where it is refused by name; tell whether there was one."""
    unknown = [key for key in value if key not in known]
    for key in unknown:
        if key in refused:
            report.error((*path, key), f"not supported by this version: {refused[key]}.", "Remove the key.")
        else:
            report.error((*path, key), "there is no such key.", did_you_mean(key, known))
    return bool(unknown)


def _union(value: object, expected: mi.UnionType, path: KeyPath, report: Report, refused: Refused) -> Any:
    members = [member for member in expected.types if not isinstance(member, mi.NoneType)]
    if value is None and len(members) < len(expected.types):
        return None
    fitting = [member for member in members if _fits(value, member)]
    if len(members) == 1 or fitting:
        return convert(value, (fitting or members)[0], path, report, refused)
    expectations = " or ".join(_expectation(member) for member in members)
    report.error(path, f"{_said(value)} stands here; {expectations} is expected.")
    return BAD


def _fits(value: object, expected: mi.Type) -> bool:
    """Tell which member of a union a value is meant for, by its shape."""
    match expected:
        case mi.Metadata():
            return _fits(value, expected.type)
        case mi.StructType() | mi.DictType():
            return isinstance(value, dict)
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            return isinstance(value, list)
        case mi.BoolType():
            return isinstance(value, bool)
        case mi.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case mi.FloatType():
            return isinstance(value, float)
        case mi.EnumType():
            return isinstance(value, str) and value in {member.value for member in expected.cls}
        case mi.LiteralType():
            return isinstance(value, str) and value in expected.values
        case mi.CustomType():
            return isinstance(value, (str, dict)) if expected.cls is Reference else isinstance(value, str)
        case _:
            return isinstance(value, str)


def _collection(
    value: object,
    expected: mi.ListType | mi.VarTupleType | mi.SetType | mi.FrozenSetType,
    path: KeyPath,
    report: Report,
    refused: Refused,
) -> Any:
    if not isinstance(value, list):
        report.error(path, f"{_said(value)} stands here; a list is expected: [one, another].")
        return BAD
    if not _within(len(value), expected.min_length, expected.max_length, "entries", path, report):
        return BAD
    items = [convert(item, expected.item_type, (*path, i), report, refused) for i, item in enumerate(value)]
    if any(item is BAD for item in items):
        return BAD
    match expected:
        case mi.ListType():
            return items
        case mi.VarTupleType():
            return tuple(items)
        case mi.SetType() | mi.FrozenSetType():
            return frozenset(items) if isinstance(expected, mi.FrozenSetType) else set(items)


def _mapping(value: object, expected: mi.DictType, path: KeyPath, report: Report, refused: Refused) -> Any:
    if not isinstance(value, dict):
        report.error(path, f"{_said(value)} stands here; a mapping of keys is expected.")
        return BAD
    made = {k: convert(v, expected.value_type, (*path, k), report, refused) for k, v in value.items()}
    return BAD if any(item is BAD for item in made.values()) else made


def _choice(value: object, choices: Mapping[str, Any], path: KeyPath, report: Report) -> Any:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if text in choices and type(value) is type(_plain(choices[text])):
        return choices[text]
    meant = did_you_mean(text, list(choices)) if isinstance(value, str) and value else ""
    expectation = ("one of these" if len(choices) > 1 else "this") + f" is expected: {', '.join(choices)}."
    report.error(path, expectation, meant if meant.startswith("Did") else "")
    return BAD


def _plain(choice: object) -> object:
    """Return what a choice looks like in the file."""
    return choice.value if isinstance(choice, Enum) else choice


def _custom(value: object, cls: type, path: KeyPath, report: Report) -> Any:
    try:
        if cls is Duration:
            return Duration.parse(value)
        if cls is Reference:
            return Reference.parse(value)
    except ValueError:
        report.error(path, *_custom_fault(value, cls))
        return BAD
    assert cls is Path, f"an option of type {cls.__name__} is not understood"
    text = _scalar(value, mi.StrType(min_length=1), path, report)
    return text if text is BAD else Path(text)


def _custom_fault(value: object, cls: type) -> tuple[str, str]:
    """Say what is expected in place of a value that `Duration` or `Reference` refused, without repeating it."""
    if cls is Duration:
        bare = "a bare number stands here" if isinstance(value, (int, float)) else f"{_said(value)} stands here"
        return f"{bare}; a duration is expected.", "Write it with its unit: 500ms, 30s, 10m, 24h or 30d."
    return (
        "a reference to a secret is expected, never the secret itself.",
        "Write store://STORE/PATH, env://NAME, file:///PATH or {from: {store: STORE, key: PATH}}.",
    )


def _scalar(value: object, expected: mi.Type, path: KeyPath, report: Report) -> Any:
    match expected:
        case mi.BoolType() if isinstance(value, bool):
            return value
        case mi.IntType() if isinstance(value, int) and not isinstance(value, bool):
            return value if _bounded(value, expected, path, report) else BAD
        case mi.FloatType() if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value) if _bounded(value, expected, path, report) else BAD
        case mi.StrType() if isinstance(value, str):
            return value if _text(value, expected, path, report) else BAD
        case mi.AnyType():
            return value
        case _:
            pass
    hint = "Put it in quotes." if isinstance(expected, mi.StrType) and isinstance(value, (bool, int, float)) else ""
    report.error(path, f"{_said(value)} stands here; {_expectation(expected)} is expected.", hint)
    return BAD


def _text(value: str, expected: mi.StrType, path: KeyPath, report: Report, *, form: str = "") -> bool:
    """Tell whether a text is as expected; `form` says its pattern in words."""
    if not _within(len(value), expected.min_length, expected.max_length or _LENGTH_MAX, "characters", path, report):
        return False
    if expected.pattern and not re.search(expected.pattern, value):
        report.error(path, f"this does not have the form that is expected: {form or expected.pattern}.")
        return False
    return True


def _bounded(value: float, expected: mi.IntType | mi.FloatType, path: KeyPath, report: Report) -> bool:
    limits = (
        ("at least", expected.ge, operator.ge),
        ("more than", expected.gt, operator.gt),
        ("at most", expected.le, operator.le),
        ("less than", expected.lt, operator.lt),
    )
    broken = [f"{words} {bound}" for words, bound, holds in limits if bound is not None and not holds(value, bound)]
    if broken:
        report.error(path, f"the number must be {' and '.join(broken)}.")
    return not broken


def _within(count: int, least: int | None, most: int | None, unit: str, path: KeyPath, report: Report) -> bool:
    if count < (least or 0):
        report.error(path, "this is empty." if count == 0 else f"{least} {unit} at least are expected.")
        return False
    if most is not None and count > most:
        report.error(path, f"{most} {unit} at most are expected.")
        return False
    return True


def _said(value: object) -> str:
    """Name the kind of a value, not the value."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _expectation(expected: mi.Type) -> str:
    match expected:
        case mi.Metadata():
            return _expectation(expected.type)
        case mi.BoolType():
            return "true or false"
        case mi.IntType():
            return "a whole number"
        case mi.FloatType():
            return "a number"
        case mi.StructType() | mi.DictType():
            return "a mapping"
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            return "a list"
        case mi.EnumType():
            return "one of " + ", ".join(str(member.value) for member in expected.cls)
        case mi.LiteralType():
            return "one of " + ", ".join(map(str, expected.values))
        case mi.CustomType():
            return {Duration: "a duration", Reference: "a reference to a secret"}.get(expected.cls, "a path")
        case _:
            return "a text"
