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
from urllib.parse import unquote

import msgspec

from adapters.config import checks, health, refused, rollout, schema
from adapters.config.channels import channels
from adapters.config.convert import BAD, struct, structure
from adapters.config.entries import divided
from adapters.config.groups import groups
from adapters.config.model import Check, Configuration, Publication, Service, Store, template_names
from adapters.config.problems import ConfigInvalid, KeyPath, Problem, Report
from adapters.config.schema import NAME_FORM, FileKeys, ServiceKeys, StoreKeys
from adapters.config.templates import PublishTemplate, TemplateFault, compile_template
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
    made = struct(root, structure(FileKeys), (), report, refused.REFUSED)
    # What is wrong at the top does not hide what is wrong below it.
    given: Mapping[str, Any] = root if isinstance(root, dict) else {}
    stores = _entries(given.get("secretStores"), ("secretStores",), _store, report)
    services = _entries(given.get("services"), ("services",), _service, report)
    checks.check(stores, services, given, report)
    state = given.get("state")
    lease = made.lease if isinstance(made, FileKeys) else FileKeys(version=1).lease
    checks.check_lease(lease, report)
    metrics = made.metrics if isinstance(made, FileKeys) else FileKeys(version=1).metrics
    checks.check_metrics(metrics, report)
    given_groups = made.service_groups if isinstance(made, FileKeys) else ()
    named = given.get("services")
    found = groups(given_groups, services, list(named) if isinstance(named, dict) else [], report)
    for group in found.values():
        checks.check_looks(group, stores, report)
    return Configuration(
        path=path,
        state=_state(state, path.parent, report) if isinstance(state, str) else None,
        stores=stores,
        services=services,
        lease=lease.microseconds,
        metrics=metrics,
        groups=found,
        problems=tuple(report.notes),
    )


def _state(given: str, base: Path, report: Report) -> Path | None:
    """Return the state folder that the file names, by path or file:///PATH."""
    scheme, separator, rest = given.partition("://")
    if separator and (scheme != "file" or not rest.startswith("/")):
        report.error(("state",), "state is kept in a folder of this machine.", "Write a path, or file:///PATH.")
        return None
    return base / (unquote(rest) if separator else given)


Entry = TypeVar("Entry", Store, Service)


def _entries(
    given: object, path: KeyPath, make: Callable[[str, dict[str, Any], KeyPath, Report], Entry | None], report: Report
) -> dict[str, Entry]:
    """Return the entries that are right; report the others."""
    made: dict[str, Entry] = {}
    for name, entry in given.items() if isinstance(given, dict) else ():
        here = (*path, name)
        if checks.is_name(name):
            found = _entry(name, entry, here, make, report)
            if found is not None:
                made[name] = found
        else:
            report.error(here, "this cannot be a name.", f"A name is made of {NAME_FORM}.")
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


def _store(name: str, entry: dict[str, Any], path: KeyPath, report: Report) -> Store | None:
    adapter = _adapter(entry, path, store_adapter, refused.STORE_TYPES, report)
    own, options = divided(entry, StoreKeys, adapter, path, report)
    if own.get("type", BAD) is BAD or options is None:
        return None
    return Store(name, own["type"], options)


def _service(name: str, entry: dict[str, Any], path: KeyPath, report: Report) -> Service | None:
    """Return a service. Each of its parts is judged by itself, so that a wrong one does not hide the others."""
    adapter = _adapter(entry, path, target_adapter, refused.TARGET_TYPES, report)
    own, options = divided(entry, ServiceKeys, adapter, path, report)
    strategy = None
    rotation = own.get("rotation")
    if isinstance(rotation, schema.Rotation):
        checks.check_rotation(rotation, (*path, "rotation"), report)
        rollout.check(rotation, (*path, "rotation"), report)
        if adapter is not None:
            checks.check_attempt_window(rotation, adapter, (*path, "rotation"), report)
            strategy = _strategy(rotation, own.get("credential"), adapter, path, report)
    told = channels(_within(entry, "rotation", "notifications"), (*path, "rotation", "notifications"), report)
    looked_at: tuple[Check, ...] = ()
    if isinstance(rotation, schema.Rotation) and adapter is not None:
        looked_at = health.checks(rotation.health_checks, adapter.name, (*path, "rotation", "health_checks"), report)
    instances = rollout.discovery(_within(entry, "rotation", "discovery"), (*path, "rotation", "discovery"), report)
    way = (*path, "rotation", "distribution")
    handed = rollout.distribution(_within(entry, "rotation", "distribution"), way, report)
    publications = _publications(entry.get("publish"), options, (*path, "publish"), report)
    if options is None or strategy is None or BAD in own.values():
        return None
    made = ServiceKeys(**own)
    return Service(
        name=name,
        type=made.type,
        environment=made.environment,
        credential=made.credential,
        publish=tuple(Publication(keys, template) for keys, template in zip(made.publish, publications, strict=False)),
        rotation=made.rotation,
        strategy=strategy,
        options=options,
        channels=told,
        checks=looked_at,
        discovery=instances,
        distribution=handed,
    )


def _within(entry: object, *keys: str) -> object:
    """Return what stands at keys within mappings; None where something else stands on the way."""
    for key in keys:
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


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


def _strategy(
    rotation: schema.Rotation, credential: object, adapter: TargetAdapter, path: KeyPath, report: Report
) -> Strategy | None:
    """Return the strategy with the names of dsops resolved; report what does not go with it, or with the type."""
    here = (*path, "rotation", "strategy")
    name = rotation.strategy
    candidates = schema.ALIASES.get(name) or (Strategy(name),)
    chosen = next((candidate for candidate in candidates if candidate in adapter.strategies), None)
    if chosen is None:
        possible = ", ".join(strategy for strategy in Strategy if strategy in adapter.strategies)
        report.error(here, f"the type {adapter.name} cannot do this strategy.", f"Use one of: {possible}.")
        return None
    if name in schema.ALIASES:
        report.note(here, f"{name} is read as {chosen}.")
    username = credential.username if isinstance(credential, schema.Credential) else None
    checks.check_logins(rotation, username, chosen, (*path, "rotation"), report)
    return chosen


def _publications(
    given: object, options: msgspec.Struct | None, path: KeyPath, report: Report
) -> list[PublishTemplate]:
    """Return the templates of the entries of `publish`, in order; report those that cannot be used.

    Which names there are follows from the options; where those are not right, only the rest is judged.
    """
    known = template_names(options) if options is not None else None
    compiled: list[PublishTemplate] = []
    for index, entry in enumerate(given if isinstance(given, list) else []):
        text = entry.get("template", schema.TEMPLATE_DEFAULT) if isinstance(entry, dict) else None
        if isinstance(text, str):
            try:
                compiled.append(compile_template(text, known))
            except TemplateFault as fault:
                report.error((*path, index, "template"), fault.message, fault.hint)
    return compiled


def _bytes(path: Path) -> bytes:
    """Return the file, one byte more than is allowed at most, so that what is larger is refused by the reader."""
    try:
        # Non-blocking, so that a pipe without a writer is refused below rather than waited for.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(BYTES_MAX + 1)
        reason, hint = "this is not a file.", ""
    except FileNotFoundError:
        reason, hint = "there is no such file.", "keyturn init writes one; --config or KEYTURN_CONFIG names another."
    except (OSError, ValueError) as error:
        reason, hint = "the file cannot be read.", f"{error.strerror}." if isinstance(error, OSError) else ""
    raise ConfigInvalid(str(path), [Problem(str(path), 1, 1, "", reason, hint)]) from None
