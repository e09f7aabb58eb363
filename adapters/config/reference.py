"""The page docs/reference/configuration.md: every key, its form, its default and what it says, from the types.

Rule: what is told here comes from the types and tables that the file is read with; only the frame is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from adapters.config import describe, refused, rollout_keys, schema
from adapters.config.convert import structure
from adapters.config.starter import starter
from adapters.config.yaml_reader import ALIASES_MAX, BYTES_MAX, DEPTH_MAX, NODES_MAX
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
from engine.adapter import CheckAdapter, Duration, NotifierAdapter, Reference, TargetAdapter
from engine.instances import Instance
from engine.passwords import ALPHABETS, BITS_MIN
from engine.plan import Strategy

_OPENING: Final = """\
# The configuration file

`keyturn.yaml`, or what `--config` or `KEYTURN_CONFIG` names. Relative paths in it start at its folder.
`keyturn config check` tells everything that is wrong with a file at once, `keyturn config show` prints it with its
defaults, and `keyturn config schema` prints a JSON Schema for editors.

A key that is not listed here is refused, with the nearest one that is. An error names the file, the line and the
key, and never the value, which may be a secret.
"""

_FORMS: Final = """\
## Forms

- **Name**: {name_form}.
- **Duration**: a whole number and its unit, `us`, `ms`, `s`, `m`, `h` or `d`: `500ms`, `30s`, `24h`. A number
  without a unit is refused.
- **Reference**: where a secret is read from, each time it is needed: `store://STORE/PATH` (its password),
  `store://STORE/PATH#username`, `store://STORE/PATH#FIELD` (a text of a secret that is a JSON object), `env://NAME`,
  `file:///PATH`, or `{{from: {{store: STORE, key: PATH}}}}`. A secret itself is refused. A file loses one newline
  at its end; it must be readable by you alone or, where it has another owner, writable by that owner alone.
- **YAML**: one document, UTF-8, {megabytes} MiB at most, {depth} levels, {nodes} values, {aliases} aliases; no tags,
  no merge keys (`<<`), no key twice. Only `true`, `false`, `null` and decimal numbers are anything but text: `no`,
  `0123`, `12:30` and dates are texts.
"""


def markdown() -> str:
    """Return the page, with the adapters that come with keyturn."""
    stores = [store_adapter(name) for name in SHIPPED[STORE_GROUP]]
    targets = [target_adapter(name) for name in SHIPPED[TARGET_GROUP]]
    notifiers = [notifier_adapter(name) for name in SHIPPED[NOTIFIER_GROUP]]
    checks = [check_adapter(name) for name in SHIPPED[CHECK_GROUP]]
    discoveries = [discovery_adapter(name) for name in SHIPPED[DISCOVERY_GROUP]]
    distributors = [distributor_adapter(name) for name in SHIPPED[DISTRIBUTOR_GROUP]]
    parts = [
        "<!-- Made by `make docs` from adapters/config and the options of the adapters; change it there. -->\n",
        _OPENING,
        f"## By example\n\nWhat `keyturn init` writes:\n\n```yaml\n{starter()}```\n",
        _forms(),
        *_section("The top", schema.FileKeys),
        *_section("`secretStores.NAME`", schema.StoreKeys, note="The options of its type stand beside `type`."),
        *(part for adapter in stores for part in _adapter("secretStores.NAME", adapter)),
        *_section("`services.NAME`", schema.ServiceKeys, note="The options of its type stand beside these keys."),
        *(part for adapter in targets for part in _adapter("services.NAME", adapter)),
        *_section(
            "`rotation.notifications.KIND`", schema.ChannelKeys, note="The options of its kind stand beside these."
        ),
        *(part for adapter in notifiers for part in _channel(adapter)),
        *_section("`health_checks.checks[]`", schema.CheckKeys, note="The options of its type stand beside these."),
        *(part for adapter in checks for part in _check(adapter)),
        *_section(
            "`rotation.discovery`", rollout_keys.DiscoveryKeys, note="The options of its type stand beside these."
        ),
        *(part for adapter in discoveries for part in _adapter("rotation.discovery", adapter)),
        *_section(
            "`rotation.distribution`", rollout_keys.DistributionKeys, note="The options of its type stand beside these."
        ),
        *(part for adapter in distributors for part in _adapter("rotation.distribution", adapter)),
        _strategies(targets),
        _alphabets(),
        _not_supported(),
    ]
    return "\n".join(parts)


def _forms() -> str:
    return _FORMS.format(
        name_form=schema.NAME_FORM,
        megabytes=BYTES_MAX // 1024**2,
        depth=DEPTH_MAX,
        nodes=f"{NODES_MAX:,}",
        aliases=ALIASES_MAX,
    )


def _section(title: str, cls: type[msgspec.Struct], *, note: str = "", level: int = 2) -> Iterator[str]:
    """Yield the heading and table of a section, then those of the sections in it."""
    about = " ".join(text for text in (describe.summary(cls), note) if text)
    yield f"{'#' * level} {title}\n\n{about}\n\n{_table(cls)}"
    for field in structure(cls).fields:
        for inner in describe.nested(field.type):
            repeated = "[]" if isinstance(field.type, mi.VarTupleType | mi.ListType) else ""
            yield from _section(f"{title.rstrip('`')}.{field.encode_name}{repeated}`", inner, level=min(level + 1, 4))


def _adapter(entry: str, adapter: AnyAdapter) -> Iterator[str]:
    extra = f" Needs the extra `{adapter.extra}`." if adapter.extra else ""
    note = f"{adapter.summary[:1].upper()}{adapter.summary[1:].rstrip('.')}.{extra}"
    if isinstance(adapter, TargetAdapter):
        note += f" `attempt_window` of `rotation` is {Duration(adapter.attempt_window_min)} at least."
    title = f"`{entry}` with `type: {adapter.name}`"
    yield from _options(title, note, adapter)


def _channel(adapter: NotifierAdapter) -> Iterator[str]:
    extra = f" Needs the extra `{adapter.extra}`." if adapter.extra else ""
    note = f"{adapter.summary[:1].upper()}{adapter.summary[1:].rstrip('.')}.{extra}"
    yield from _options(f"`rotation.notifications.{adapter.name}`", note, adapter)


def _check(adapter: CheckAdapter) -> Iterator[str]:
    kinds = f" For services of type {_words(sorted(adapter.kinds))}." if adapter.kinds else ""
    extra = f" Needs the extra `{adapter.extra}`." if adapter.extra else ""
    note = f"{adapter.summary[:1].upper()}{adapter.summary[1:].rstrip('.')}.{kinds}{extra}"
    yield from _options(f"`health_checks.checks[]` with `type: {adapter.name}`", note, adapter)


def _options(title: str, note: str, adapter: AnyAdapter) -> Iterator[str]:
    yield f"### {title}\n\n{note}\n\n{_table(adapter.options)}"
    for field in structure(adapter.options).fields:
        for inner in describe.nested(field.type):
            yield from _section(f"`{field.encode_name}` of `{adapter.name}`", inner, level=4)


def _table(cls: type[msgspec.Struct]) -> str:
    texts = describe.descriptions(cls)
    fields = structure(cls).fields
    if not fields:
        return "It has no options.\n"
    rows = [
        f"| `{field.encode_name}` | {_form(field.type)} | {_default(field)} | {_cell(texts.get(field.name, ''))} |"
        for field in fields
    ]
    return "\n".join(["| key | form | default | |", "|---|---|---|---|", *rows, ""])


def _default(field: mi.Field) -> str:
    if field.required:
        return "*required*"
    value = describe.default(field)
    if isinstance(value, dict):
        return "as below" if value else ""
    return "" if value in (None, "", []) else f"`{_cell(value if isinstance(value, str) else json.dumps(value))}`"


def _form(kind: mi.Type) -> str:
    """Say in a few words what a key takes."""
    match kind:
        case mi.Metadata():
            return _form(kind.type)
        case mi.UnionType():
            return " or ".join(_form(member) for member in kind.types if not isinstance(member, mi.NoneType))
        case mi.ListType() | mi.VarTupleType() | mi.SetType() | mi.FrozenSetType():
            return f"list of {_form(kind.item_type)}"
        case mi.StructType() | mi.DictType():
            return "mapping"
        case mi.EnumType():
            return _words(member.value for member in kind.cls)
        case mi.LiteralType():
            return _words(kind.values)
        case mi.CustomType():
            return {Duration: "duration", Reference: "reference"}.get(kind.cls, "path")
        case mi.BoolType():
            return "`true` or `false`"
        case mi.IntType() | mi.FloatType():
            return "number" + _bounds(kind)
        case mi.StrType() if kind.pattern == schema.NAME_PATTERN:
            return "name"
        case _:
            return "text"


def _words(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _bounds(kind: mi.IntType | mi.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f", {kind.ge} to {kind.le}"
    return f", {kind.ge} at least" if kind.ge is not None else f", {kind.le} at most" if kind.le is not None else ""


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")


def _strategies(targets: list[TargetAdapter]) -> str:
    able = [
        f"| `{adapter.name}` | {_words(strategy for strategy in Strategy if strategy in adapter.strategies)} |"
        for adapter in targets
    ]
    aliases = [f"| `{name}` | {_words(strategies)} |" for name, strategies in schema.ALIASES.items()]
    return "\n".join(
        [
            "## Strategies\n",
            "| type | strategies |",
            "|---|---|",
            *able,
            "",
            "The names that dsops uses are read as the first of these that the type can do. `canary` and",
            "`percentage_rollout` say as well that a version is handed out in waves: they need `discovery` and",
            "`distribution`. `percentage_rollout` begins without a canary, unless `canary` is given.\n",
            "| name | read as |",
            "|---|---|",
            *aliases,
            "",
        ]
    )


def _alphabets() -> str:
    rows = [f"| `{name}` | {len(characters)} |" for name, characters in ALPHABETS.items()]
    opening = (
        f"## Alphabets\n\nLength and alphabet must give {BITS_MIN} bits of entropy. The first character is a letter\n"
        "where the alphabet has letters, which is counted.\n"
    )
    return "\n".join([opening, "| alphabet | characters |", "|---|---|", *rows, ""])


_HOLDERS: Final[dict[type[msgspec.Struct], str]] = {
    schema.FileKeys: "the top",
    schema.StoreKeys: "secretStores.NAME",
    schema.ServiceKeys: "services.NAME",
    schema.Rotation: "rotation",
    schema.Verification: "rotation.verification",
    schema.Rollback: "rotation.rollback",
    schema.Password: "rotation.password",
    schema.ChannelKeys: "rotation.notifications.KIND",
    schema.Metrics: "metrics",
    schema.Prometheus: "metrics.prometheus",
    rollout_keys.Canary: "rotation.canary",
    rollout_keys.Rollout: "rotation.rollout",
    rollout_keys.Step: "rotation.rollout.waves[]",
    Instance: "rotation.discovery.instances[]",
    schema.ServiceGroup: "service_groups[]",
    schema.GroupRotation: "service_groups[].rotation",
}


def _not_supported() -> str:
    rows = [
        f"| `{key}` | {_HOLDERS[cls]} | {_cell(reason)} |"
        for cls, keys in refused.REFUSED.items()
        for key, reason in keys.items()
    ]
    opening = "## Not supported by this version\n\nThese keys are refused by name.\n"
    stores, targets = _words(refused.STORE_TYPES), _words(refused.TARGET_TYPES)
    types = f"Types of stores that are refused by name: {stores}. Of services: {targets}.\n"
    return "\n".join([opening, "| key | in | reason |", "|---|---|---|", *rows, "", types])
