"""A key for each instance, in a store of the configuration, which the instance reads.

Rule 1: the key of an instance is never the key of the credential, which only promotion may write.
Rule 2: what the store holds is no proof that it is used, unless the configuration says that this is all there is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal
from uuid import uuid4

import msgspec

from adapters.distributors import asking, reports, texts
from adapters.distributors.asking import ReportOptions
from adapters.distributors.reports import Wanted, unknown
from engine.adapter import DistributorAdapter, DistributorContext
from engine.errors import PortError, Rejected
from engine.instances import Instance, Proof, Usage
from engine.values import CURRENT, CredentialValue, Instant, Secret

if TYPE_CHECKING:
    from engine.ports import SecretStore

_AWAITED: Final = json.dumps({"version": None, "proof": None})
"""What stands in place of an acknowledgement from before."""


class StoreOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key for each instance, and how an instance shows that it uses what stands there."""

    key: str
    """The key of an instance, with `{instance}` in it, and where it helps `{service}` and `{environment}`."""
    store: str = ""
    """The store by its name; by default the one that holds the credential."""
    proof: Literal["fingerprint", "version", "stored"] = "fingerprint"
    """`fingerprint`: an HMAC of the password. `version`: that the instance says so is enough. `stored`: what the store
    holds is all that is ever known, so an instance that reads late, or never, counts as moved."""
    report: ReportOptions | None = None
    """Where each instance reports the version that it uses, over HTTP; or `acknowledge_key`."""
    acknowledge_key: str = ""
    """A key in the same store, with `{instance}` in it, to which each instance writes its report."""

    def __post_init__(self) -> None:
        texts.check(self.key, texts.PLACE, needed="instance")
        if self.acknowledge_key:
            texts.check(self.acknowledge_key, texts.PLACE, needed="instance")
        if self.acknowledge_key == self.key:
            raise ValueError("`acknowledge_key` is another key than `key`")
        given = (self.report is not None) + bool(self.acknowledge_key)
        if self.proof == "stored" and given:
            raise ValueError("`proof: stored` asks nobody, so it takes neither `report` nor `acknowledge_key`")
        if self.proof != "stored" and given != 1:
            raise ValueError(
                "`report` or `acknowledge_key` is expected, one of them; "
                "`proof: stored` does without, and then nobody knows whether an instance uses what it can read"
            )


class StoreDistributor:
    """Instances that read a key of their own; the port `Distributor`."""

    def __init__(self, options: StoreOptions, context: DistributorContext) -> None:
        self._options = options
        self._context = context
        self._name = options.store or context.credential_store

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Make the version current at the key of the instance; where it is so already, nothing is written."""
        what = f"handing version {version} to {instance.id}"
        key = self._key(self._options.key, instance, what=what)
        store = self._context.store(self._name)
        asking.time_left(deadline, what=what)
        if not store.capabilities.versioned:
            store.promote(key, version, value, expected=None, deadline=deadline)
            return
        current = store.versions(key).current
        if self._options.acknowledge_key and current != version:
            self._forget(store, instance, deadline, what=what)
        _tidy(store, key, version)
        store.stage(key, version, value, deadline=deadline)
        store.promote(key, version, value, expected=current, deadline=deadline)

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Return what the instance reports, at its URL or in the store; or what the store holds."""
        options, what = self._options, f"looking what {instance.id} uses"
        if options.report is not None:
            line = asking.line(options.report, self._context)
            wanted = _wanted(options)
            return line.look(instance, value, path=options.report.path, version=version, wanted=wanted)
        try:
            store = self._context.store(self._name)
            if options.acknowledge_key:
                given = store.read(self._key(options.acknowledge_key, instance, what=what), CURRENT)
                return self._acknowledged(given, value, version)
            return _stored(store, self._key(options.key, instance, what=what), value, version)
        except PortError as error:
            return unknown(error.why)

    def _acknowledged(self, given: CredentialValue | None, value: CredentialValue, version: str) -> Proof:
        if given is None or given.secret is None:
            return Proof(Usage.OTHER, "it has acknowledged nothing yet")
        body = given.revealed().encode("utf-8", "replace")
        return reports.judged_by_itself(body, value, version, _wanted(self._options))

    def _forget(self, store: SecretStore, instance: Instance, deadline: Instant, *, what: str) -> None:
        """Take away an acknowledgement from before: it says nothing of the next time."""
        key = self._key(self._options.acknowledge_key, instance, what=what)
        there = store.read(key, CURRENT)
        said = None if there is None or there.secret is None else reports.read(there.revealed().encode())
        if said is None or said.get("version") in (None, ""):
            return
        expected, fresh = store.versions(key).current, str(uuid4())
        _tidy(store, key, fresh)
        store.promote(key, fresh, CredentialValue("", Secret(_AWAITED)), expected=expected, deadline=deadline)

    def _key(self, text: str, instance: Instance, *, what: str) -> str:
        key = texts.key(text, instance, self._context, what=what)
        if self._name == self._context.credential_store and key == self._context.credential_path:
            raise Rejected(what=what, why=f"the key of {instance.id} is that of the credential itself")
        return key


def _tidy(store: SecretStore, key: str, version: str) -> None:
    """Take away all but what is current, what was before, and what comes: it only repeats the credential."""
    held = store.versions(key)
    for each in held.versions:
        if each not in (held.current, held.previous, version):
            store.discard(key, each, destroy=True)


def _wanted(options: StoreOptions) -> Wanted:
    return "version" if options.proof == "version" else "fingerprint"


def _stored(store: SecretStore, key: str, value: CredentialValue, version: str) -> Proof:
    """Return what a store holds, which is not what an instance uses."""
    if not store.capabilities.readable:
        return unknown("the store does not show what it holds")
    held = store.read(key, CURRENT)
    is_same = held is not None and value.secret is not None and held.secret == value.secret
    if store.capabilities.versioned:
        is_same = is_same and store.versions(key).current == version
    if is_same:
        return Proof(Usage.USED, "the store holds the version for it; whether it uses that is not known")
    return Proof(Usage.OTHER, "the store holds another version for it, or none")


def _build(options: StoreOptions, context: DistributorContext) -> StoreDistributor:
    return StoreDistributor(options, context)


ADAPTER: Final = DistributorAdapter(
    name="store",
    summary="a key for each instance, in a store that the instance reads",
    options=StoreOptions,
    build=_build,
    store=lambda options: options.store,
)
