"""The JSON Schema (draft 2020-12) of the configuration, for editors that check and complete while one types.

Rule: made from the same types that the file is read with, and the options of the adapters; nothing is written here
by hand but the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from adapters.config import describe
from adapters.config.channels import PLURALS
from adapters.config.convert import structure
from adapters.config.health import SCRIPT
from adapters.config.rollout_keys import DiscoveryKeys, DistributionKeys
from adapters.config.schema import NAME_PATTERN, ChannelKeys, CheckKeys, FileKeys, ServiceKeys, StoreKeys
from adapters.registry import (
    CHECK_GROUP,
    DISCOVERY_GROUP,
    DISTRIBUTOR_GROUP,
    NOTIFIER_GROUP,
    SHIPPED,
    STORE_GROUP,
    TARGET_GROUP,
    AnyAdapter,
    check_adapter,
    discovery_adapter,
    distributor_adapter,
    notifier_adapter,
    store_adapter,
    target_adapter,
)
from engine.adapter import (
    CheckAdapter,
    DiscoveryAdapter,
    DistributorAdapter,
    Duration,
    NotifierAdapter,
    Reference,
    StoreAdapter,
    TargetAdapter,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_ANCHORS: Final = {r"\A": "^", r"\Z": "$"}
"""JSON Schema takes the regular expressions of ECMA-262, which anchor with other signs."""


def json_schema() -> dict[str, Any]:
    """Return the schema, with the adapters that come with keyturn."""
    stores = [store_adapter(name) for name in SHIPPED[STORE_GROUP]]
    targets = [target_adapter(name) for name in SHIPPED[TARGET_GROUP]]
    notifiers = [notifier_adapter(name) for name in SHIPPED[NOTIFIER_GROUP]]
    checks = [check_adapter(name) for name in SHIPPED[CHECK_GROUP]]
    discoveries = [discovery_adapter(name) for name in SHIPPED[DISCOVERY_GROUP]]
    distributors = [distributor_adapter(name) for name in SHIPPED[DISTRIBUTOR_GROUP]]
    return schema_for(stores, targets, notifiers, checks, discoveries, distributors)


def schema_for(
    stores: list[StoreAdapter],
    targets: list[TargetAdapter],
    notifiers: list[NotifierAdapter],
    checks: list[CheckAdapter],
    discoveries: list[DiscoveryAdapter],
    distributors: list[DistributorAdapter],
) -> dict[str, Any]:
    """Return the schema of files that use these adapters."""
    top = _object(FileKeys)
    top["properties"]["secretStores"] |= _entries([_entry(StoreKeys, adapter) for adapter in stores])
    services = [_entry(ServiceKeys, adapter) for adapter in targets]
    for service in services:
        rotation = service["properties"]["rotation"]["properties"]
        rotation["notifications"] |= _channels(notifiers)
        nothing = {"type": "null"}
        rotation["discovery"]["anyOf"] = [*(_entry(DiscoveryKeys, adapter) for adapter in discoveries), nothing]
        rotation["distribution"]["anyOf"] = [*(_entry(DistributionKeys, adapter) for adapter in distributors), nothing]
        looks = next(each for each in rotation["health_checks"]["anyOf"] if "properties" in each)
        scripts = next((adapter for adapter in checks if adapter.name == SCRIPT), None)
        if scripts is not None:
            script = _entry(CheckKeys, scripts)
            looks["properties"]["custom_scripts"]["items"] = script | {"required": ["script"]}
        looks["properties"]["checks"]["items"] = {"anyOf": [_entry(CheckKeys, adapter) for adapter in checks]}
    top["properties"]["services"] |= _entries(services)
    return {"$schema": DIALECT, "title": "keyturn.yaml", **top}


def _entries(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    return {"propertyNames": {"pattern": _pattern(NAME_PATTERN)}, "additionalProperties": {"oneOf": kinds}}


def _channels(notifiers: list[NotifierAdapter]) -> dict[str, Any]:
    """Return the schema of `notifications`: a channel or a list of them, by kind; those of plugins are not known."""
    kinds: dict[str, Any] = {}
    for adapter in notifiers:
        ours, theirs = _object(ChannelKeys), _object(adapter.options)
        channel = theirs | {
            "description": adapter.summary,
            "properties": ours["properties"] | theirs["properties"],
        }
        kinds[adapter.name] = {"anyOf": [channel, {"type": "array", "items": channel}]}
    lists = {plural: kinds[kind] for plural, kind in PLURALS.items() if kind in kinds}
    return {"properties": kinds | lists}


def _entry(keys: type[msgspec.Struct], adapter: AnyAdapter) -> dict[str, Any]:
    """Return the schema of an entry: the keys of every type, and the options of this one, side by side."""
    ours, theirs = _object(keys), _object(adapter.options)
    ours["properties"]["type"] = {"const": adapter.name, "description": adapter.summary}
    return ours | {
        "title": adapter.name,
        "description": adapter.summary,
        "properties": ours["properties"] | theirs["properties"],
        "required": [*ours.get("required", []), *theirs.get("required", [])],
    }


def _object(cls: type[msgspec.Struct]) -> dict[str, Any]:
    texts = describe.descriptions(cls)
    properties: dict[str, Any] = {}
    fields = structure(cls).fields
    for field in fields:
        about: dict[str, Any] = {"description": texts[field.name]} if field.name in texts else {}
        usual = describe.default(field)
        if usual is not None:
            about["default"] = usual
        properties[field.encode_name] = _schema(field.type) | about
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [field.encode_name for field in fields if field.required]
    return made | ({"required": required} if required else {})


def _schema(kind: mi.Type) -> dict[str, Any]:
    match kind:
        case mi.Metadata():
            return _schema(kind.type)
        case mi.StructType():
            return _object(kind.cls)
        case mi.UnionType():
            return {"anyOf": [_schema(member) for member in kind.types]}
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            limits = {"minItems": kind.min_length, "maxItems": kind.max_length}
            return {"type": "array", "items": _schema(kind.item_type)} | _given(limits)
        case mi.DictType():
            return {"type": "object", "additionalProperties": _schema(kind.value_type)}
        case mi.EnumType():
            return {"enum": [member.value for member in kind.cls]}
        case mi.LiteralType():
            return {"enum": list(kind.values)}
        case mi.CustomType():
            return _custom(kind.cls)
        case _:
            return _scalar(kind)


def _scalar(kind: mi.Type) -> dict[str, Any]:
    match kind:
        case mi.NoneType():
            return {"type": "null"}
        case mi.BoolType():
            return {"type": "boolean"}
        case mi.IntType() | mi.FloatType():
            limits = {
                "minimum": kind.ge,
                "maximum": kind.le,
                "exclusiveMinimum": kind.gt,
                "exclusiveMaximum": kind.lt,
            }
            return {"type": "integer" if isinstance(kind, mi.IntType) else "number"} | _given(limits)
        case mi.StrType():
            pattern = _pattern(kind.pattern) if kind.pattern else None
            limits_of_text = {"minLength": kind.min_length, "maxLength": kind.max_length, "pattern": pattern}
            return {"type": "string"} | _given(limits_of_text)
        case _:
            return {}


def _custom(cls: type) -> dict[str, Any]:
    if cls is Duration:
        return {"type": "string", "pattern": describe.DURATION_PATTERN}
    if cls is Reference:
        text = {"type": "string", "pattern": describe.REFERENCE_PATTERN}
        parts = {key: {"type": "string"} for key in ("store", "key", "field")}
        inner = {"type": "object", "properties": parts, "required": ["store", "key"], "additionalProperties": False}
        outer = {"type": "object", "properties": {"from": inner}, "required": ["from"], "additionalProperties": False}
        return {"anyOf": [text, outer]}
    return {"type": "string"}


def _pattern(pattern: str) -> str:
    for ours, theirs in _ANCHORS.items():
        pattern = pattern.replace(ours, theirs)
    return pattern


def _given(limits: Mapping[str, Any]) -> dict[str, Any]:
    return {key: limit for key, limit in limits.items() if limit is not None}
