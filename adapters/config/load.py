"""From a file to a `Configuration`: read, typed, checked, everything that is wrong told at once.

Rule 1: nothing is built, opened or called that the file names; `build.py` does that, later and one by one.
Rule 2: whatever the file holds, the only error is `ConfigInvalid`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as mi

from adapters.config import checks, refused, schema
from adapters.config.convert import BAD, fields, struct, unknown_keys
from adapters.config.model import Configuration, Place, Service, Store, template_names
from adapters.config.problems import ConfigInvalid, KeyPath, Problem, Report
from adapters.config.schema import NAME_PATTERN, FileKeys, ServiceKeys, StoreKeys
from adapters.config.templates import TemplateFault, compile_template
from adapters.config.yaml_reader import BYTES_MAX, Plain, read
from adapters.registry import BrokenAdapter, UnknownAdapter, store_adapter, target_adapter
from engine.adapter import StoreAdapter, TargetAdapter
from engine.plan import Strategy

Adapter = TypeVar("Adapter", TargetAdapter, StoreAdapter)


def load(path: Path) -> Configuration:
    """Return the configuration in the file at `path`; raises `ConfigInvalid` with everything that is wrong."""
    absolute = path.absolute()
    return parse(_bytes(path), path=absolute, shown=str(path))


def parse(raw: bytes, *, path: Path, shown: str = "") -> Configuration:
    """Return the configuration in `raw`, taken as the content of `path`, which need not exist.

    `shown` is how errors call the file.
    """
    file = shown or str(path)
    tree = read(raw, file=file)
    report = Report(file, tree.positions)
    configuration = _configuration(tree.root, path, report)
    report.raise_if_any()
    return configuration


def _configuration(root: Plain, path: Path, report: Report) -> Configuration:
    document = struct(root, FileKeys, (), report, refused.REFUSED)
    # What is wrong at the top does not hide what is wrong below it.
    given: Mapping[str, Any] = root if isinstance(root, dict) else {}
    stores = _entries(given.get("secretStores"), ("secretStores",), _store, report)
    services = _entries(given.get("services"), ("services",), _service, report)
    checks.check(stores, services, _names(given.get("secretStores")), report)
    state = document.state if isinstance(document, FileKeys) else None
    return Configuration(
        path=path,
        state=path.parent / state if state is not None else None,
        stores=stores,
        services=services,
        problems=tuple(report.notes),
    )


Entry = TypeVar("Entry", Store, Service)


def _entries(
    given: object, path: KeyPath, make: Callable[[str, dict[str, Any], KeyPath, Report], Entry | None], report: Report
) -> dict[str, Entry]:
    """Return the entries that are right; report the others."""
    made: dict[str, Entry] = {}
    for name, entry in (given.items() if isinstance(given, dict) else ()):
        here = (*path, name)
        if checks.is_name(name):
            found = _entry(name, entry, here, make, report)
            if found is not None:
                made[name] = found
        else:
            report.error(here, f"this is not a name: {NAME_PATTERN} is expected.", "Use lower case letters, digits, . _ and -.")
    return made


def _entry(
    name: str,
    entry: object,
    path: KeyPath,
    make: Callable[[str, dict[str, Any], KeyPath, Report], Entry | None],
    report: Report,
) -> Entry | None:
    if isinstance(entry, dict):
        return make(name, entry, path, report)
    report.error(path, "a mapping of keys is expected here.", "It begins with `type`.")
    return None


def _names(given: object) -> set[str]:
    return {name for name in given if isinstance(name, str)} if isinstance(given, dict) else set()


def _store(name: str, entry: dict[str, Any], path: KeyPath, report: Report) -> Store | None:
    adapter = _adapter(entry, path, store_adapter, refused.STORE_TYPES, report)
    own, options = _split(entry, StoreKeys, adapter, path, report)
    if adapter is None or own is None or options is None:
        return None
    return Store(name, own.type, options)


def _service(name: str, entry: dict[str, Any], path: KeyPath, report: Report) -> Service | None:
    adapter = _adapter(entry, path, target_adapter, refused.TARGET_TYPES, report)
    own, options = _split(entry, ServiceKeys, adapter, path, report)
    if own is not None:
        checks.check_rotation(own, path, report)
    if adapter is None or own is None or options is None:
        return None
    strategy = _strategy(own, adapter, path, report)
    places = _places(own, options, path, report)
    if strategy is None or places is None:
        return None
    return Service(name, own.type, own.environment, own.credential, places, own.rotation, strategy, options)


Keys = TypeVar("Keys", StoreKeys, ServiceKeys)


def _split(
    entry: dict[str, Any], cls: type[Keys], adapter: TargetAdapter | StoreAdapter | None, path: KeyPath, report: Report
) -> tuple[Keys | None, msgspec.Struct | None]:
    """Divide an entry into the keys that every type has and the options of its adapter; report what is wrong.

    Where the adapter is not known, nobody can say whether a key is one of its options, so only ours are judged.
    """
    common = mi.type_info(cls)
    assert isinstance(common, mi.StructType), "the sections of the schema are Structs"
    ours: list[str] = [field.encode_name for field in common.fields]
    mine = {key: value for key, value in entry.items() if key in ours}
    rest = {key: value for key, value in entry.items() if key not in ours}
    own = fields(mine, common, path, report, refused.REFUSED)
    if adapter is None:
        return (None if own is BAD else own), None
    theirs = mi.type_info(adapter.options)
    assert isinstance(theirs, mi.StructType), "the options of an adapter are a Struct"
    names: list[str] = [field.encode_name for field in theirs.fields]
    assert not set(names) & set(ours), f"the options of {adapter.name} take a name that every entry has"
    reasons = refused.REFUSED[cls]
    sound = not unknown_keys(rest, [*names, *ours], reasons, path, report)
    known = {key: value for key, value in rest.items() if key in names}
    options = fields(known, theirs, path, report, refused.REFUSED)
    return (None if own is BAD else own), (options if sound and options is not BAD else None)


def _adapter(
    entry: dict[str, Any], path: KeyPath, find: Callable[[str], Adapter], later: Mapping[str, str], report: Report
) -> Adapter | None:
    name = entry.get("type")
    if not isinstance(name, str):
        return None  # A missing or wrong `type` is reported with the other keys.
    try:
        return find(name)
    except UnknownAdapter as error:
        near = error.fields.get("near")
        if name in later:
            report.error((*path, "type"), f"not supported by this version: {later[name]}.", error.advice)
        else:
            report.error((*path, "type"), "there is no such type.", f"Did you mean {near!r}?" if near else error.advice)
    except BrokenAdapter as error:
        report.error((*path, "type"), error.message, error.advice)
    return None


def _strategy(own: ServiceKeys, adapter: TargetAdapter, path: KeyPath, report: Report) -> Strategy | None:
    """Return the strategy with the names of dsops resolved; report one that the type cannot do."""
    here = (*path, "rotation", "strategy")
    name = own.rotation.strategy
    candidates = schema.ALIASES.get(name) or (Strategy(name),)
    chosen = next((candidate for candidate in candidates if candidate in adapter.strategies), None)
    if chosen is None:
        possible = ", ".join(strategy for strategy in Strategy if strategy in adapter.strategies)
        report.error(here, f"the type {adapter.name} cannot do this strategy.", f"Use one of: {possible}.")
    elif name in schema.IN_WAVES:
        message = f"{name} is read as {chosen}: this version hands a version out at once, not in waves."
        report.note(here, message, f"Write {chosen} to say that this is meant.")
    elif name in schema.ALIASES:
        report.note(here, f"{name} is read as {chosen}.")
    if chosen is not None:
        checks.check_logins(own, chosen, path, report)
    return chosen


def _places(own: ServiceKeys, options: msgspec.Struct, path: KeyPath, report: Report) -> tuple[Place, ...] | None:
    known = template_names(options)
    made: list[Place] = []
    for index, publish in enumerate(own.publish):
        try:
            made.append(Place(publish, compile_template(publish.template, known)))
        except TemplateFault as fault:
            report.error((*path, "publish", index, "template"), fault.message, fault.hint)
    return tuple(made) if len(made) == len(own.publish) else None


def _bytes(path: Path) -> bytes:
    """Return the file, one byte more than is allowed at most, so that what is larger is refused by the reader."""
    try:
        # Non-blocking, so that a pipe without a writer is refused below rather than waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read(BYTES_MAX + 1)
        reason, hint = "this is not a file.", ""
    except FileNotFoundError:
        reason, hint = "there is no such file.", "keyturn init writes one; --config or KEYTURN_CONFIG names another."
    except (OSError, ValueError) as error:
        reason, hint = "the file cannot be read.", f"{error.strerror}." if isinstance(error, OSError) else ""
    raise ConfigInvalid(str(path), [Problem(str(path), 1, 1, "", reason, hint)]) from None
