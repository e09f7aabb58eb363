"""What needs more than one place of the configuration to be judged.

Rule: reports and decides nothing; a check that needs the network belongs to `keyturn doctor`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from adapters.config.model import Group, Service, Store, references
from adapters.config.problems import KeyPath, Report, did_you_mean, dotted
from adapters.config.schema import NAME_PATTERN, Metrics, Password, Rotation
from adapters.config.times import check_times
from adapters.registry import distributor_adapter, store_adapter
from engine.adapter import Duration, Reference, TargetAdapter
from engine.passwords import BITS_MIN, alphabet_fault, entropy_bits, length_min
from engine.plan import Strategy
from engine.values import SECOND
from projections.metrics import catalogue

OVERLAPPING: Final = frozenset({Strategy.DUAL, Strategy.ALTERNATING, Strategy.ISSUE})
"""The strategies with which the old version stays valid beside the new one."""

LEASE_MIN: Final = Duration(2 * SECOND)
"""A renewal is due every half second then; stalls of a tenth of that are common where disk and processor are shared."""

LEASE_MAX: Final = Duration(3600 * SECOND)
"""Nothing needs more: a thread renews, so that no step is too long for a lease."""

LABELS_MAX: Final = 16
"""Labels that a configuration may give; every series carries them."""

LABEL_LENGTH_MAX: Final = 128
"""Characters of the value of a label."""

PUSHED: Final = frozenset({"job", "instance"})
"""Labels that Prometheus and its push gateway give, by whom the series come from."""

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NAME: Final = re.compile(NAME_PATTERN)
_USERINFO: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s@]*:[^/\s@]+@")
_NOTHING: Final = Duration(0)


def is_name(text: str) -> bool:
    """Tell whether a service or store may be called so."""
    return _NAME.fullmatch(text) is not None


def check(
    stores: Mapping[str, Store], services: Mapping[str, Service], given: Mapping[str, Any], report: Report
) -> None:
    """Report what is wrong between the entries. `given` is the file as it was read, wrong entries and all."""
    named = set(_mapping(given.get("secretStores")))
    for store in stores.values():
        _check_options(store.options, ("secretStores", store.name), named, report)
    for service in services.values():
        _check_options(service.options, ("services", service.name), named, report)
        for channel in service.channels:
            _check_options(channel.options, channel.path, named, report)
        for look in service.checks:
            _check_options(look.options, look.path, named, report)
        for entry in (service.discovery, service.distribution):
            if entry is not None:
                _check_options(entry.options, entry.path, named, report)
        if service.distribution is not None:
            handed = service.distribution
            _check_named(distributor_adapter(handed.type).store(handed.options), handed.path, named, report)
    for name, entry in _mapping(given.get("services")).items():
        _check_stores(_mapping(entry), ("services", name), stores, named, report)
    _check_circles(stores, report)
    _check_shared_paths(services, report)


def check_looks(group: Group, stores: Mapping[str, Store], report: Report) -> None:
    """Report references of a group's checks to stores that are not there."""
    for look in group.looks:
        _check_options(look.check.options, look.check.path, set(stores), report)


def check_lease(lease: Duration, report: Report) -> None:
    """Report a lease that a busy machine could make a process lose that works, or that holds everybody up."""
    if lease.microseconds < LEASE_MIN.microseconds:
        message = "a process that works renews this four times over, and on a busy machine that may come late."
        report.error(("lease",), message, f"Give it {LEASE_MIN} at least.")
    elif lease.microseconds > LEASE_MAX.microseconds:
        message = "a process that stands still would keep what it drives for all of this."
        report.error(("lease",), message, f"Give it {LEASE_MAX} at most; a step may take longer than the lease.")


def check_metrics(metrics: Metrics, report: Report) -> None:
    """Report labels that Prometheus does not take, or that a metric has already."""
    path: KeyPath = ("metrics", "prometheus", "labels")
    labels = metrics.prometheus.labels
    taken = catalogue.LABELS | PUSHED | (catalogue.ALIAS_LABELS if metrics.compat == "dsops" else frozenset())
    if len(labels) > LABELS_MAX:
        report.error(path, f"{LABELS_MAX} labels at most are expected.", "Every series carries them.")
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            hint = "It is made of letters, digits and _, no digit first, and does not begin with __."
            report.error((*path, name), "this cannot be the name of a label.", hint)
        elif name in taken:
            report.error((*path, name), "metrics have a label of this name.", "Call it otherwise.")
        if not 0 < len(value) <= LABEL_LENGTH_MAX or not value.isprintable():
            message = f"1 to {LABEL_LENGTH_MAX} printable characters are expected."
            report.error((*path, name), message)


def check_rotation(rotation: Rotation, path: KeyPath, report: Report) -> None:
    """Report what is wrong within a `rotation`, whatever the type of the service."""
    _check_durations(rotation, path, report)
    check_times(rotation, path, report)
    _check_password(rotation.password, (*path, "password"), report)


def check_attempt_window(rotation: Rotation, adapter: TargetAdapter, path: KeyPath, report: Report) -> None:
    """Report an `attempt_window` that a change of this type of target could outlast."""
    if rotation.attempt_window.microseconds < adapter.attempt_window_min:
        message = f"a change at a target of type {adapter.name} may take longer than this."
        report.error((*path, "attempt_window"), message, f"Give it {Duration(adapter.attempt_window_min)} at least.")


def check_logins(rotation: Rotation, username: str | None, strategy: Strategy, path: KeyPath, report: Report) -> None:
    """Report logins and a grace period that do not go with the strategy; `username` is that of the credential."""
    here = (*path, "usernames")
    if strategy is not Strategy.ALTERNATING:
        if rotation.usernames:
            report.error(here, f"the strategy {strategy} has no logins that take turns.", "Remove the key.")
    elif len(rotation.usernames) != 2 or len(set(rotation.usernames)) != 2:
        report.error(here, "alternating takes turns between exactly two different logins.", "usernames: [app_a, app_b]")
    elif username in rotation.usernames:
        hint = "`credential.username` names the role that owns things; both logins belong to it."
        report.error(here, "the two logins must differ from the one in `credential.username`.", hint)
    if rotation.grace_period and rotation.grace_period != _NOTHING and strategy not in OVERLAPPING:
        message = f"with the strategy {strategy} the old version ends when the new one begins, so there is no grace."
        report.error((*path, "grace_period"), message, "Remove the key, or use a strategy with two versions.")


def _check_durations(rotation: Rotation, path: KeyPath, report: Report) -> None:
    positive: dict[tuple[str, ...], Duration | None] = {
        ("ttl",): rotation.ttl,
        ("verification", "timeout"): rotation.verification.timeout,
        ("rollback", "timeout"): rotation.rollback.timeout,
        ("retry", "first"): rotation.retry.first,
    }
    for key, duration in positive.items():
        if duration == _NOTHING:
            report.error((*path, *key), "this must be longer than nothing.")
    if rotation.retry.longest.microseconds < rotation.retry.first.microseconds:
        report.error((*path, "retry", "longest"), "this must not be shorter than `first`.")


def _check_password(password: Password, path: KeyPath, report: Report) -> None:
    rule = password.rule
    fault = alphabet_fault(rule.characters)
    if fault:
        report.error((*path, "alphabet"), f"the alphabet cannot be used: {fault}.")
        return
    bits = entropy_bits(rule)
    if bits >= BITS_MIN:
        if password.allow_weak_reason:
            report.error(
                (*path, "allow_weak_reason"), "the password is strong, so there is nothing to allow.", "Remove the key."
            )
        return
    message = (
        f"a password of this length and alphabet has {bits:.0f} bits of entropy; {BITS_MIN} at least are expected."
    )
    if password.allow_weak_reason.strip():
        report.note(path, message, "It is allowed by `allow_weak_reason`.")
    else:
        hint = (
            f"Make it {length_min(rule.characters)} characters long, or say in `allow_weak_reason` why it may be weak."
        )
        report.error((*path, "length"), message, hint)


def _check_options(options: msgspec.Struct, path: KeyPath, named: set[str], report: Report) -> None:
    for where, reference in references(options, path):
        if reference.scheme == "store" and reference.store not in named:
            report.error(
                where,
                "the reference names a store that is not in `secretStores`.",
                _stores_hint(reference.store, named),
            )
    for where, text in _texts(options, path):
        if _USERINFO.search(text):
            report.error(where, "a password stands in this URL.", "Leave it out; secrets are given as references.")


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text in options, with its key path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name, key in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from _texts(getattr(value, name), (*path, key))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _stores_hint(wrong: str, named: set[str]) -> str:
    return did_you_mean(wrong, sorted(named)) or "There are no stores."


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_named(store: str, path: KeyPath, named: set[str], report: Report) -> None:
    """Report a store that the options of a distribution name and that is not there."""
    if store and store not in named:
        report.error((*path, "store"), "there is no such store in `secretStores`.", _stores_hint(store, named))


def _check_stores(
    entry: dict[str, Any], path: KeyPath, stores: Mapping[str, Store], named: set[str], report: Report
) -> None:
    """Report the stores that a service names and that are not there, or cannot hold its credential."""
    publish = entry.get("publish")
    holding = ((*path, "credential", "store"), _mapping(entry.get("credential")).get("store"))
    uses: list[tuple[KeyPath, Any]] = [holding]
    for index, place in enumerate(publish if isinstance(publish, list) else []):
        uses.append(((*path, "publish", index, "store"), _mapping(place).get("store")))
    for where, name in uses:
        if isinstance(name, str) and name not in named:
            report.error(where, "there is no such store in `secretStores`.", _stores_hint(name, named))
    where, name = holding
    held = stores.get(name) if isinstance(name, str) else None
    if held is not None and not store_adapter(held.type).holds_versions:
        message = "this store keeps only one value, so it cannot hold a credential that may have to go back."
        report.error(where, message, "Use a store with versions, and name this one in `publish`.")


def _check_shared_paths(services: Mapping[str, Service], report: Report) -> None:
    """Report a path of a store that two entries would write to."""
    owners: dict[tuple[str, str], KeyPath] = {}
    for service in services.values():
        path: KeyPath = ("services", service.name)
        written = [((*path, "credential", "key"), service.credential.store, service.credential.key)]
        written += [((*path, "publish", i, "key"), p.keys.store, p.keys.key) for i, p in enumerate(service.publish)]
        for where, store, key in written:
            owner = owners.setdefault((store, key), where)
            if owner is not where:
                report.error(
                    where, f"the same place of the same store is written by {dotted(owner)}.", "Give each its own."
                )


def _check_circles(stores: Mapping[str, Store], report: Report) -> None:
    """Report a store that needs a secret out of itself, also by way of others, to be opened."""
    needs = {name: list(references(store.options, ("secretStores", name))) for name, store in stores.items()}
    for name in stores:
        for where, reference in needs[name]:
            if reference.scheme == "store" and name in _reached(reference, needs):
                report.error(
                    where, "the store needs a secret out of itself to be opened.", "Use env://NAME or file:///PATH."
                )


def _reached(reference: Reference, needs: Mapping[str, list[tuple[KeyPath, Reference]]]) -> set[str]:
    """Return the stores that must be open to read the reference."""
    reached: set[str] = set()
    waiting = [reference.store]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [other.store for _, other in needs.get(name, []) if other.scheme == "store"]
    return reached
